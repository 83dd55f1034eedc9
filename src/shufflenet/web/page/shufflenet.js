// A compiled network in WebAssembly. `load` gives one that runs where it is called, `loadInWorker` one in a worker of its own.
// Where files are fetched from is the caller's; nothing else is ever asked for.

// (func (param v128 v128 v128) (result v128)) of f32x4.relaxed_madd: valid only where the engine has relaxed SIMD.
const RELAXED = [0, 97, 115, 109, 1, 0, 0, 0, 1, 8, 1, 96, 3, 123, 123, 123, 1, 123, 3, 2, 1, 0,
  10, 13, 1, 11, 0, 32, 0, 32, 1, 32, 2, 253, 133, 2, 11];
const PAGE_BYTES = 65536, BOX_BYTES = 24;

/** Which build this engine runs. */
export function build() {
  if (typeof WebAssembly !== "object") throw new Error("This browser has no WebAssembly, which the network needs.");
  return WebAssembly.validate(new Uint8Array(RELAXED)) ? "relaxed" : "simd";
}

/** `place` is the URL of network.wasm, whose sibling files are read too; or the files themselves, as bytes by name. */
export async function load(place) {
  const wasmFile = build() === "relaxed" ? "network.relaxed.wasm" : "network.wasm";
  const files = await located(place);
  const facts = JSON.parse(new TextDecoder().decode(await read(files["network.json"])));
  const [wasm, weights] = await Promise.all([read(files[wasmFile]), read(files["network.weights"])]);
  const { instance } = await WebAssembly.instantiate(wasm, {}).catch((error) => {
    throw new Error(`This browser's WebAssembly cannot run the network: it needs SIMD (${error.message}).`);
  });
  const kind = facts.task === "detect" ? Detector : Classifier;
  return new kind(facts, instance.exports, facts.weights === "float24" ? widened(weights, facts.float24_numbers) : new Uint8Array(weights));
}

/** The network's files by name: addresses, or bytes. */
async function located(place) {
  // Each is spelled out, so that bundlers take it along.
  if (place === undefined)
    return {
      "network.json": new URL("network.json", import.meta.url).href,
      "network.weights": new URL("network.weights", import.meta.url).href,
      "network.wasm": new URL("network.wasm", import.meta.url).href,
      "network.relaxed.wasm": new URL("network.relaxed.wasm", import.meta.url).href,
    };
  if (!(place instanceof URL || typeof place === "string")) return place;
  const here = globalThis.location?.href ?? (await import("node:url")).pathToFileURL("./").href;
  const stem = new URL(place, here).href.replace(/wasm$/, "");
  return Object.fromEntries(["json", "weights", "wasm", "relaxed.wasm"].map((end) => [`network.${end}`, stem + end]));
}

async function read(file) {
  if (typeof file !== "string") return file;
  if (file.startsWith("file:") && typeof process === "object") return (await import("node:fs/promises")).readFile(new URL(file));
  const answer = await fetch(file);
  if (!answer.ok) throw new Error(`${file} cannot be loaded: ${answer.status} ${answer.statusText}.`);
  return answer.arrayBuffer();
}

/** float32 again: the first numbers lack their lowest byte, the others are float16. */
function widened(file, precise) {
  const bytes = new Uint8Array(file), half = new Uint16Array(bytes.slice(3 * precise).buffer);
  const bits = new Uint32Array(precise + half.length), number = new Float32Array(bits.buffer);
  for (let i = 0, j = 0; i < precise; i++, j += 3) bits[i] = (bytes[j] << 8) | (bytes[j + 1] << 16) | (bytes[j + 2] << 24);
  for (let i = 0; i < half.length; i++) {
    const sign = (half[i] & 0x8000) << 16, exponent = (half[i] >> 10) & 31, fraction = half[i] & 1023;
    if (exponent) bits[precise + i] = sign | ((exponent + 112) << 23) | (fraction << 13);
    else number[precise + i] = (sign ? -1 : 1) * fraction * 2 ** -24;
  }
  return new Uint8Array(bits.buffer);
}

/** The RGBA bytes of whatever a canvas draws (an image, a video, an ImageBitmap, …), on white. */
export function pixels(source) {
  const width = source.naturalWidth ?? source.videoWidth ?? source.width;
  const height = source.naturalHeight ?? source.videoHeight ?? source.height;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0);
  return context.getImageData(0, 0, width, height);
}

class Network {
  constructor(facts, exports, weights) {
    this.facts = facts;
    this.classes = facts.classes;
    this.exports = exports;
    this.memory = exports.memory;
    this.times = { prepare: 0, run: 0 };
    exports._initialize?.();
    this.weights = this.allocate(weights.length);
    new Uint8Array(this.memory.buffer, this.weights, weights.length).set(weights);
    this.inputLength = facts.input.reduce((a, b) => a * b);
    this.input = this.allocate(4 * this.inputLength);
    this.outputs = facts.outputs.map((length) => this.allocate(4 * length));
    this.arena = this.allocate(facts.arena_bytes);
    this.boxes = this.allocate(BOX_BYTES * facts.most_boxes);
    this.room = { start: this.memory.buffer.byteLength, bytes: 0 }; // for a picture, behind all else
  }

  allocate(bytes) {
    const start = this.memory.buffer.byteLength;
    this.memory.grow(Math.ceil((bytes + 64) / PAGE_BYTES));
    return start;
  }

  /** Where so many bytes of a picture may lie. */
  roomFor(bytes) {
    if (bytes > this.room.bytes) {
      this.memory.grow(Math.ceil((bytes - this.room.bytes) / PAGE_BYTES));
      this.room.bytes = this.memory.buffer.byteLength - this.room.start;
    }
    return this.room.start;
  }

  /** Fill the network's input with a picture (ImageData, or anything with RGBA bytes in `data`, `width` and `height`). */
  prepare({ data, width, height }) {
    const start = this.roomFor(data.length + this.exports.network_prepare_bytes(height, width));
    new Uint8Array(this.memory.buffer, start, data.length).set(data);
    this.exports.network_prepare(start, 4 * width, 4, height, width, this.input, start + data.length);
    return new Float32Array(this.memory.buffer, this.input, this.inputLength);
  }

  /** The network alone, on what `prepare` left: its outputs. Views that the next call overwrites. */
  infer() {
    this.exports.network_run(this.weights, this.input, ...this.outputs, this.arena);
    return this.outputs.map((start, i) => new Float32Array(this.memory.buffer, start, this.facts.outputs[i]));
  }
}

class Classifier extends Network {
  /** The probability of each class. `times` then says how many milliseconds preparing the picture and the network took. */
  run(imageData) {
    const begin = performance.now();
    this.prepare(imageData);
    const prepared = performance.now();
    const [logits] = this.infer();
    this.times = { prepare: prepared - begin, run: performance.now() - prepared };
    const most = logits.reduce((a, b) => Math.max(a, b));
    const powers = logits.map((x) => Math.exp(x - most));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((x) => x / sum);
  }
}

class Detector extends Network {
  /** The objects in a picture, the surest first. `times.run` is from pixels to boxes, `times.prepare` the copy of the pixels before. */
  run({ data, width, height }) {
    if (width > this.facts.max_width)
      throw new Error(`The picture is ${width} pixels wide, and this detector takes ${this.facts.max_width} at most; make it smaller first.`);
    const begin = performance.now();
    const start = this.roomFor(3 * width * height);
    layOnWhite(data, new Uint8Array(this.memory.buffer, start, 3 * width * height));
    const prepared = performance.now();
    const found = this.exports.network_detect_rgb8(
      this.weights, start, height, width, 3 * width, this.boxes, this.facts.most_boxes, this.arena);
    this.times = { prepare: prepared - begin, run: performance.now() - prepared };
    return Array.from({ length: found }, (_, i) => {
      const [x1, y1, x2, y2, score] = new Float32Array(this.memory.buffer, this.boxes + BOX_BYTES * i, 5);
      const [label] = new Int32Array(this.memory.buffer, this.boxes + BOX_BYTES * i + 20, 1); // the background is 0
      return { x1, y1, x2, y2, score, index: label - 1, name: this.classes[label - 1] };
    });
  }
}

/** RGBA → RGB. */
function layOnWhite(from, to) {
  for (let i = 0, j = 0; j < to.length; i += 4, j += 3) {
    const alpha = from[i + 3], white = 255 * (255 - alpha) + 127;
    for (let c = 0; c < 3; c++) to[j + c] = alpha === 255 ? from[i + c] : (from[i + c] * alpha + white) / 255;
  }
}

/** As `load`, in a worker: `run` gives a promise, and the page never waits. It takes ImageBitmaps too. */
export async function loadInWorker(place) {
  const options = { type: "module", name: "shufflenet" };
  const alone = import.meta.url.startsWith("data:"); // in a page that is one file
  const worker = alone ? new Worker(import.meta.url, options) : new Worker(new URL("shufflenet.js", import.meta.url), options);
  const waiting = [];
  const ask = (message, moved = []) =>
    new Promise((resolve, reject) => {
      waiting.push({ resolve, reject });
      worker.postMessage(message, moved);
    });
  worker.onmessage = ({ data }) => {
    const { resolve, reject } = waiting.shift();
    if (data.error) reject(new Error(data.error));
    else resolve(data);
  };
  worker.onerror = (event) => waiting.splice(0).forEach(({ reject }) => reject(new Error(`The worker failed: ${event.message}.`)));
  const { facts } = await ask({ files: await located(place) });
  return {
    facts,
    classes: facts.classes,
    times: { prepare: 0, run: 0 },
    async run(picture) {
      const { data, width, height } = picture;
      const { result, times } = await (data ? ask({ picture: { data, width, height } }, [data.buffer]) : ask({ picture }, [picture]));
      this.times = times;
      return result;
    },
    close: () => worker.terminate(),
  };
}

if (globalThis.WorkerGlobalScope && self instanceof WorkerGlobalScope && self.name === "shufflenet") {
  let network;
  self.onmessage = async ({ data: { files, picture } }) => {
    try {
      if (files) {
        network = await load(files);
        postMessage({ facts: network.facts });
      } else {
        const result = network.run(picture.data ? picture : pixels(picture));
        picture.close?.();
        postMessage({ result, times: network.times });
      }
    } catch (error) {
      postMessage({ error: error.message });
    }
  };
}
