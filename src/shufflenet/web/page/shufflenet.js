// A compiled network in WebAssembly. `load` gives one that runs where it is called, `loadInWorker` one in a worker of its own.
// Where files are fetched from is the caller's; nothing else is ever asked for.

// (func (param v128 v128 v128) (result v128)) of f32x4.relaxed_madd: valid only where the engine has relaxed SIMD.
const RELAXED = [0, 97, 115, 109, 1, 0, 0, 0, 1, 8, 1, 96, 3, 123, 123, 123, 1, 123, 3, 2, 1, 0,
  10, 13, 1, 11, 0, 32, 0, 32, 1, 32, 2, 253, 133, 2, 11];

/** Which build this engine runs. */
export function build() {
  return WebAssembly.validate(new Uint8Array(RELAXED)) ? "relaxed" : "simd";
}

/** `place` is the URL of network.wasm, whose sibling files are read too; or the files themselves, as bytes by name. */
export async function load(place = new URL("network.wasm", import.meta.url)) {
  if (typeof WebAssembly !== "object") throw new Error("This browser has no WebAssembly, which the network needs.");
  const read = reader(place);
  const facts = JSON.parse(new TextDecoder().decode(await read("json")));
  const [wasm, weights] = await Promise.all([read(build() === "relaxed" ? "relaxed.wasm" : "wasm"), read("weights")]);
  const { instance } = await WebAssembly.instantiate(wasm, {}).catch((error) => {
    throw new Error(`This browser's WebAssembly cannot run the network: it needs SIMD (${error.message}).`);
  });
  return new Network(facts, instance.exports, facts.weights === "float16" ? widened(weights) : new Uint8Array(weights));
}

function reader(place) {
  if (!(place instanceof URL || typeof place === "string")) return async (suffix) => place[`network.${suffix}`];
  const base = String(place).replace(/wasm$/, "");
  return async (suffix) => {
    if (base.startsWith("file:") && typeof process === "object") {
      const { readFile } = await import("node:fs/promises");
      return readFile(new URL(base + suffix));
    }
    const answer = await fetch(base + suffix);
    if (!answer.ok) throw new Error(`${base + suffix} cannot be loaded: ${answer.status} ${answer.statusText}.`);
    return answer.arrayBuffer();
  };
}

/** float16 → float32, exactly. */
function widened(file) {
  const bytes = new Uint8Array(file);
  const half = new Uint16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  const bits = new Uint32Array(half.length), number = new Float32Array(bits.buffer);
  for (let i = 0; i < half.length; i++) {
    const sign = (half[i] & 0x8000) << 16, exponent = (half[i] >> 10) & 31, fraction = half[i] & 1023;
    if (exponent) bits[i] = sign | ((exponent + 112) << 23) | (fraction << 13);
    else number[i] = (sign ? -1 : 1) * fraction * 2 ** -24;
  }
  return new Uint8Array(bits.buffer);
}

class Network {
  constructor(facts, exports, weights) {
    this.facts = facts;
    this.classes = facts.classes;
    this.exports = exports;
    this.memory = exports.memory;
    exports._initialize?.();
    this.weights = this.allocate(weights.length);
    new Uint8Array(this.memory.buffer, this.weights, weights.length).set(weights);
    const [channels, height, width] = facts.input;
    this.input = this.allocate(4 * channels * height * width);
    this.output = this.allocate(4 * facts.outputs);
    this.arena = this.allocate(facts.arena_bytes);
    this.room = { start: this.memory.buffer.byteLength, bytes: 0 }; // for a picture: memory that only grows
    this.times = { prepare: 0, run: 0 };
  }

  allocate(bytes) {
    const start = this.memory.buffer.byteLength;
    this.memory.grow(Math.ceil((bytes + 64) / 65536));
    return start;
  }

  /** Fill the network's input with a picture (ImageData, or anything with RGBA bytes in `data`, `width` and `height`). */
  prepare({ data, width, height }) {
    const scratch = data.length + this.exports.network_prepare_bytes(height, width);
    if (scratch > this.room.bytes) {
      this.memory.grow(Math.ceil((scratch - this.room.bytes) / 65536));
      this.room.bytes = this.memory.buffer.byteLength - this.room.start;
    }
    new Uint8Array(this.memory.buffer, this.room.start, data.length).set(data);
    const { start } = this.room;
    this.exports.network_prepare(start, 4 * width, 4, height, width, this.input, start + data.length);
    const [channels, rows, columns] = this.facts.input;
    return new Float32Array(this.memory.buffer, this.input, channels * rows * columns);
  }

  /** The probability of each class. `times` then says how many milliseconds preparing the picture and the network took. */
  run(imageData) {
    const begin = performance.now();
    this.prepare(imageData);
    const prepared = performance.now();
    this.exports.network_run(this.weights, this.input, this.output, this.arena);
    this.times = { prepare: prepared - begin, run: performance.now() - prepared };
    const logits = new Float32Array(this.memory.buffer, this.output, this.facts.outputs);
    const most = logits.reduce((a, b) => Math.max(a, b));
    const powers = logits.map((x) => Math.exp(x - most));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((x) => x / sum);
  }
}

/** As `load`, in a worker: `run` gives a promise, and the page never waits. */
export async function loadInWorker(place = new URL("network.wasm", import.meta.url)) {
  const worker = new Worker(import.meta.url, { type: "module", name: "shufflenet" });
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
  const { facts } = await ask({ place: place instanceof URL ? place.href : place });
  return {
    facts,
    classes: facts.classes,
    times: { prepare: 0, run: 0 },
    async run(imageData) {
      const { data, width, height } = imageData;
      const answer = await ask({ picture: { data, width, height } }, [data.buffer]);
      this.times = answer.times;
      return answer.scores;
    },
    close: () => worker.terminate(),
  };
}

if (globalThis.WorkerGlobalScope && self instanceof WorkerGlobalScope && self.name === "shufflenet") {
  let network;
  self.onmessage = async ({ data: { place, picture } }) => {
    try {
      if (place) postMessage({ facts: (network = await load(place)).facts });
      else postMessage({ scores: network.run(picture), times: network.times });
    } catch (error) {
      postMessage({ error: error.message });
    }
  };
}
