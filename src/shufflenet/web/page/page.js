const $ = (id) => document.getElementById(id);
const SHOWN = 5, KEPT = 200, LARGEST_PIXELS = 64e6;
const durations = [];

function say(message) {
  $("error").textContent = message;
}

// One file opened from disk brings everything along in base64; a site has it beside itself.
async function start() {
  const inside = $("data") && JSON.parse($("data").textContent);
  if (!inside) return { module: await import("./shufflenet.js"), place: new URL("network.wasm", location.href) };
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const url = `data:text/javascript;base64,${inside["shufflenet.js"]}`; // pages from disk get no module worker from a blob
  const place = Object.fromEntries(Object.entries(inside).filter(([name]) => name.startsWith("network.")).map(([name, text]) => [name, bytes(text)]));
  const samples = Object.fromEntries(Object.entries(inside).filter(([name]) => name.startsWith("samples/")).map(([name, text]) => [name, bytes(text)]));
  return { module: await import(url), place, samples };
}

let network, samples;
try {
  const { module, place, samples: within } = await start();
  samples = within;
  network = await module.loadInWorker(place);
  describe(network.facts, module.build());
} catch (error) {
  say(error.message);
  throw error;
}

function describe(facts, build) {
  const [, height, width] = facts.input;
  const rows = {
    Network: facts.name,
    Classes: facts.classes.length,
    Input: `${height} × ${width}`,
    "Multiply-adds": `${(facts.multiply_adds / 1e6).toFixed(1)} million`,
    Parameters: `${(facts.parameters / 1e6).toFixed(2)} million`,
    "Top-1 error": facts.top1_error === null ? "not measured" : `${facts.top1_error.toFixed(1)}%`,
    Weights: `${(facts.weights_bytes / 1e6).toFixed(2)} MB (${facts.weights})`,
    WebAssembly: build === "relaxed" ? "relaxed SIMD" : "SIMD",
  };
  for (const [name, value] of Object.entries(rows)) {
    $("facts").append(Object.assign(document.createElement("dt"), { textContent: name }));
    $("facts").append(Object.assign(document.createElement("dd"), { textContent: value }));
  }
  for (const { file, name } of facts.samples) {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const url = samples ? URL.createObjectURL(new Blob([samples[file]])) : file;
    button.append(Object.assign(document.createElement("img"), { src: url, alt: `Sample: ${name}` }));
    button.onclick = async () => classifyFiles([new File([samples ? samples[file] : await (await fetch(file)).blob()], name)]);
    $("samples").append(button);
  }
}

/** RGBA bytes of anything that can be drawn, on white. */
function pixels(source, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0);
  return context.getImageData(0, 0, width, height);
}

function drawn(source, width, height) {
  const scale = Math.min(1, 240 / Math.max(width, height));
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.max(1, width * scale), height: Math.max(1, height * scale) });
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  canvas.setAttribute("aria-hidden", "true");
  if (width < 64) canvas.className = "small";
  return canvas;
}

async function classifyFiles(files) {
  say("");
  for (const file of files) {
    try {
      await classifyFile(file);
    } catch (error) {
      say(error.message);
    }
  }
}

async function classifyFile(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" });
  } catch {
    throw new Error(`${file.name} is not a picture that this browser can read; JPEG, PNG, WebP, GIF and BMP are.`);
  }
  const { width, height } = bitmap;
  if (width * height > LARGEST_PIXELS) throw new Error(`${file.name} is ${width} × ${height} pixels, too large for this page; make it smaller first.`);
  const scores = await network.run(pixels(bitmap, width, height));
  const card = makeCard(file.name, drawn(bitmap, width, height));
  fill(card, scores);
  $("results").prepend(card);
  bitmap.close();
  time(network.times.run);
}

function makeCard(title, picture) {
  const card = Object.assign(document.createElement("article"), { className: "result card" });
  const words = document.createElement("div");
  words.append(Object.assign(document.createElement("h2"), { textContent: title }), document.createElement("ol"));
  card.append(picture, words);
  return card;
}

function fill(card, scores) {
  const best = [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, SHOWN);
  card.querySelector("ol").replaceChildren(...best.map((index) => {
    const row = document.createElement("li");
    row.dataset.index = index;
    row.dataset.probability = scores[index];
    const bar = Object.assign(document.createElement("span"), { className: "bar" });
    const part = document.createElement("i");
    part.style.width = `${100 * scores[index]}%`;
    bar.append(part);
    row.append(
      Object.assign(document.createElement("span"), { textContent: network.classes[index] }),
      Object.assign(document.createElement("span"), { textContent: `${(100 * scores[index]).toFixed(1)}%` }),
      bar,
    );
    return row;
  }));
}

function time(milliseconds) {
  durations.push(milliseconds);
  if (durations.length > KEPT) durations.shift();
  const sorted = durations.toSorted((a, b) => a - b), median = sorted[sorted.length >> 1];
  $("last").textContent = `${milliseconds.toFixed(2)} ms`;
  $("times").textContent = `Median ${median.toFixed(2)} ms of ${durations.length} ${durations.length === 1 ? "run" : "runs"}`;
  const BINS = 24, end = Math.max(2 * median, sorted[Math.floor(sorted.length * 0.95)], 0.1), bins = Array(BINS).fill(0);
  for (const value of sorted) bins[Math.min(BINS - 1, Math.floor((value / end) * BINS))]++;
  const most = Math.max(...bins), step = 200 / BINS;
  $("histogram").innerHTML = bins.map((n, i) => `<rect x="${i * step}" y="${50 - (50 * n) / most}" width="${step - 1}" height="${(50 * n) / most}"/>`).join("");
  $("histogram").setAttribute("aria-label", `Histogram of ${durations.length} runs from 0 to ${end.toFixed(1)} milliseconds`);
}

$("choose").onclick = () => $("files").click();
$("files").onchange = async () => {
  await classifyFiles([...$("files").files]);
  $("files").value = "";
};
addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
addEventListener("dragleave", () => $("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  classifyFiles([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) classifyFiles([...event.clipboardData.files]);
});

// The camera: a frame is taken when the one before is done; those between are dropped.
let camera;
$("camera").onclick = async () => {
  if (camera) return stopCamera();
  say("");
  try {
    if (!navigator.mediaDevices) throw new DOMException("", "NotSupportedError");
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    say({
      NotAllowedError: "The camera was refused; allow it in the browser's settings of this page.",
      NotFoundError: "There is no camera on this device.",
      NotSupportedError: "The browser gives a camera only to pages from https or from this machine.",
    }[error.name] ?? `The camera does not start: ${error.message}.`);
    return;
  }
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, srcObject: camera });
  video.setAttribute("aria-hidden", "true");
  const card = makeCard("Camera", video);
  card.id = "live";
  card.setAttribute("aria-live", "off");
  card.dataset.frames = 0;
  $("results").prepend(card);
  $("camera").textContent = "Turn the camera off";
  $("camera").setAttribute("aria-pressed", "true");
  await video.play();
  while (camera) {
    await new Promise((done) => (video.requestVideoFrameCallback ? video.requestVideoFrameCallback(done) : requestAnimationFrame(done)));
    if (!camera) break;
    try {
      fill(card, await network.run(pixels(video, video.videoWidth, video.videoHeight)));
    } catch (error) {
      say(error.message);
      stopCamera();
      break;
    }
    card.dataset.frames = Number(card.dataset.frames) + 1;
    time(network.times.run);
  }
};

function stopCamera() {
  camera?.getTracks().forEach((track) => track.stop());
  camera = undefined;
  $("live")?.remove();
  $("camera").textContent = "Turn the camera on";
  $("camera").setAttribute("aria-pressed", "false");
}

document.body.dataset.ready = "true";
