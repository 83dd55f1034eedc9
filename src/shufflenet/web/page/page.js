const $ = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const percent = (share) => `${(100 * share).toFixed(1)}%`;

const CLASSES_SHOWN = 5, RUNS_KEPT = 200, WARM_UP_RUNS = 10, LARGEST_PIXELS = 64e6;
const SMALL_SIDE = 240, LARGE_SIDE = 720; // of a picture as it is shown: beside its classes, and under boxes
// Tableau's ten, as `shufflenet detect predict` draws with.
const COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"];

function complain(message) {
  $("errors").append(make("p", { textContent: message }));
}

// The network. One file opened from disk brings everything along in base64; a site has it beside itself.

async function open() {
  const inside = $("data") && JSON.parse($("data").textContent);
  if (!inside) {
    if (location.protocol === "file:")
      throw new Error("This page needs a file server, such as `shufflenet web … --serve`; `--single-file` makes one that opens from disk.");
    return { module: await import("./shufflenet.js"), place: new URL("network.wasm", location.href) };
  }
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const files = Object.fromEntries(Object.entries(inside).map(([name, text]) => [name, bytes(text)]));
  // Pages from disk get no module worker from a blob.
  const module = await import(`data:text/javascript;base64,${inside["shufflenet.js"]}`);
  return { module, place: files, files };
}

let network, files;
try {
  const opened = await open();
  const build = opened.module.build();
  files = opened.files;
  network = await opened.module.loadInWorker(opened.place);
  describe(network.facts, build);
  // An engine compiles in steps: the first runs are not what it can do.
  for (let i = 0; i < WARM_UP_RUNS; i++) await network.run(new ImageData(8, 8));
  for (const id of ["choose", "camera"]) $(id).disabled = false;
} catch (error) {
  complain(error.message);
}

function describe(facts, build) {
  const [, height, width] = facts.input;
  const error = facts.task === "detect"
    ? ["Average precision", facts.average_precision === null ? "not measured" : facts.average_precision.toFixed(3)]
    : ["Top-1 error", facts.top1_error === null ? "not measured" : `${facts.top1_error.toFixed(1)}%`];
  const rows = [
    ["Network", facts.name],
    ["Classes", facts.classes.length],
    ["Input", `${height} × ${width}`],
    ["Multiply-adds", `${(facts.multiply_adds / 1e6).toFixed(1)} million`],
    ["Parameters", `${(facts.parameters / 1e6).toFixed(2)} million`],
    error,
    ["Weights", `${(facts.weights_bytes / 1e6).toFixed(2)} MB (${facts.weights})`],
    ["WebAssembly", build === "relaxed" ? "relaxed SIMD" : "SIMD"],
  ];
  for (const [name, value] of rows) $("facts").append(make("dt", { textContent: name }), make("dd", { textContent: value }));
  $("sure").hidden = facts.task !== "detect";
  $("try").hidden = facts.samples.length === 0;
  for (const { file, name } of facts.samples) {
    const src = files ? URL.createObjectURL(new Blob([files[file]])) : file;
    const content = async () => (files ? files[file] : (await fetch(file)).blob());
    const onclick = async () => look([new File([await content()], name)]);
    $("samples").append(make("button", { type: "button", title: name, onclick }, make("img", { src, alt: `Sample: ${name}` })));
  }
}

// Pictures.

async function look(chosen) {
  $("errors").replaceChildren();
  if (!network) return complain("The network could not be loaded, so no picture can be looked at; load the page again.");
  for (const file of chosen) {
    try {
      await lookAt(file);
    } catch (error) {
      complain(error.message);
    }
  }
}

async function lookAt(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" });
  } catch {
    throw new Error(`${file.name} is not a picture that this browser can read; JPEG, PNG, WebP, GIF and BMP are.`);
  }
  const { width, height } = bitmap;
  if (width * height > LARGEST_PIXELS) throw new Error(`${file.name} is ${width} × ${height} pixels, too large for this page; make it smaller first.`);
  const card = makeCard(file.name);
  keep(card, bitmap);
  card.result = await network.run(bitmap);
  show(card);
  $("results").prepend(card);
  time(network.times);
}

function makeCard(title) {
  const card = make("article", { className: network.facts.task === "detect" ? "card found" : "card result" });
  card.append(make("canvas"), make("div", {}, make("h2", { textContent: title }), make("ol")));
  card.querySelector("canvas").setAttribute("aria-hidden", "true");
  return card;
}

/** Keep a picture, as large as it will be shown, to draw it again and again. */
function keep(card, source) {
  const { width, height } = source;
  const most = network.facts.task === "detect" ? Math.min(LARGE_SIDE, $("drop").clientWidth) : SMALL_SIDE;
  card.scale = Math.min(Math.max(1, most / 2 / Math.max(width, height)), most / Math.max(width, height));
  card.picture ??= document.createElement("canvas");
  card.picture.width = Math.max(1, Math.round(width * card.scale));
  card.picture.height = Math.max(1, Math.round(height * card.scale));
  const context = card.picture.getContext("2d");
  context.imageSmoothingEnabled = card.scale < 1;
  context.drawImage(source, 0, 0, card.picture.width, card.picture.height);
}

function show(card) {
  const canvas = card.querySelector("canvas"), list = card.querySelector("ol");
  const { width, height } = Object.assign(canvas, { width: card.picture.width, height: card.picture.height });
  const context = canvas.getContext("2d");
  context.drawImage(card.picture, 0, 0, width, height);
  if (network.facts.task === "classify") {
    const best = [...card.result.keys()].sort((a, b) => card.result[b] - card.result[a]).slice(0, CLASSES_SHOWN);
    list.replaceChildren(...best.map((index) => row(network.classes[index], card.result[index], index)));
    return;
  }
  const boxes = card.result.filter(({ score }) => score >= $("threshold").value / 100);
  for (const box of boxes.toReversed()) drawBox(context, box, card.scale);
  list.replaceChildren(...boxes.map((box) => boxRow(box)));
  if (!boxes.length) list.append(make("li", { className: "soft", textContent: `Nothing is surer than ${$("threshold").value}%.` }));
}

function row(name, share, index) {
  const bar = make("span", { className: "bar" }, make("i"));
  bar.firstChild.style.width = percent(share);
  const item = make("li", {}, make("span", { textContent: name }), make("span", { textContent: percent(share) }), bar);
  Object.assign(item.dataset, { index, probability: share });
  return item;
}

function boxRow({ name, index, score, x1, y1, x2, y2 }) {
  const item = make("li", {}, make("span", { textContent: name }), make("span", { textContent: percent(score) }));
  item.style.setProperty("--colour", COLOURS[index % COLOURS.length]);
  Object.assign(item.dataset, { index, probability: score, box: [x1, y1, x2, y2] });
  return item;
}

function drawBox(context, { name, index, score, x1, y1, x2, y2 }, scale) {
  const colour = COLOURS[index % COLOURS.length], text = `${name} ${Math.round(100 * score)}%`, line = 18;
  const [left, top, right, bottom] = [x1, y1, x2, y2].map((value) => value * scale);
  Object.assign(context, { strokeStyle: colour, fillStyle: colour, lineWidth: 2, font: "600 13px system-ui, sans-serif" });
  context.strokeRect(left, top, right - left, bottom - top);
  const width = context.measureText(text).width + 8;
  const x = Math.max(0, Math.min(left - 1, context.canvas.width - width)), y = top >= line ? top - line : top;
  context.fillRect(x, y, width, line);
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  context.fillStyle = 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "black" : "white";
  context.fillText(text, x + 4, y + 13);
}

$("threshold").oninput = () => {
  $("threshold-shown").textContent = `${$("threshold").value}%`;
  for (const card of document.querySelectorAll("article")) if (card.result) show(card);
};

// Times.

const durations = [];

function time({ run }) {
  durations.push(run);
  if (durations.length > RUNS_KEPT) durations.shift();
  const sorted = durations.toSorted((a, b) => a - b), median = sorted[sorted.length >> 1];
  const BINS = 24, end = Math.max(2 * median, sorted[Math.floor(sorted.length * 0.95)], 0.1), bins = Array(BINS).fill(0);
  for (const value of sorted) bins[Math.min(BINS - 1, Math.floor((value / end) * BINS))]++;
  const most = Math.max(...bins), step = 200 / BINS;
  const bar = (count, i) => `<rect x="${i * step}" y="${50 - (50 * count) / most}" width="${step - 1}" height="${(50 * count) / most}"/>`;
  $("last").textContent = `${run.toFixed(2)} ms`;
  $("times").textContent = `Median ${median.toFixed(2)} ms of ${durations.length} ${durations.length === 1 ? "run" : "runs"}`;
  $("histogram").innerHTML = bins.map(bar).join("");
  $("histogram").setAttribute("aria-label", `Histogram of ${durations.length} runs from 0 to ${end.toFixed(1)} milliseconds`);
  $("scale-start").textContent = "0";
  $("scale-end").textContent = `${end.toFixed(1)} ms`;
}

// Ways for pictures to come in.

$("choose").onclick = () => $("files").click();
$("files").onchange = async () => {
  await look([...$("files").files]);
  $("files").value = "";
};
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
addEventListener("dragleave", () => $("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  look([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) look([...event.clipboardData.files]);
});

// The camera: a frame is taken when the one before is done; those between are dropped.

let camera;
$("camera").onclick = async () => {
  if (camera) return stopCamera();
  $("errors").replaceChildren();
  try {
    if (!navigator.mediaDevices) throw new DOMException("", "NotSupportedError");
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    complain({
      NotAllowedError: "The camera was refused; allow it in the browser's settings of this page.",
      NotFoundError: "There is no camera on this device.",
      NotReadableError: "The camera does not start; another program may be using it.",
      NotSupportedError: "The browser gives a camera only to pages from https or from this machine.",
    }[error.name] ?? `The camera does not start: ${error.message}.`);
    return;
  }
  $("camera").textContent = "Turn the camera off";
  $("camera").setAttribute("aria-pressed", "true");
  const card = Object.assign(makeCard("Camera"), { id: "live" });
  card.setAttribute("aria-live", "off");
  card.dataset.frames = 0;
  $("results").prepend(card);
  const video = make("video", { muted: true, playsInline: true, srcObject: camera });
  try {
    await video.play();
    while (camera) await lookAtFrame(card, video);
  } catch (error) {
    if (camera) complain(error.message); // else it was turned off while a frame was on its way
    stopCamera();
  }
};

async function lookAtFrame(card, video) {
  await new Promise((done) => (video.requestVideoFrameCallback ? video.requestVideoFrameCallback(done) : requestAnimationFrame(done)));
  if (!camera) return;
  const frame = await createImageBitmap(video);
  keep(card, frame);
  card.result = await network.run(frame);
  show(card);
  card.dataset.frames++;
  time(network.times);
}

function stopCamera() {
  camera?.getTracks().forEach((track) => track.stop());
  camera = undefined;
  $("live")?.remove();
  $("camera").textContent = "Turn the camera on";
  $("camera").setAttribute("aria-pressed", "false");
}

document.body.dataset.ready = "true";
