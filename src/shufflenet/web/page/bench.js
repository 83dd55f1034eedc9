const $ = (id) => document.getElementById(id);
const OURS = "compiled", THEIRS = "onnxruntime-web";
const WARM_UP_MS = 600, ROUND_MS = 20, ROUNDS = 40; // the clock may be as coarse as a millisecond

let ours, theirs, picture, pixels, busy = false;

function complain(message) {
  $("errors").replaceChildren(Object.assign(document.createElement("p"), { textContent: message }));
}

/** A picture where none was given: no two pixels are alike. */
function noise(side) {
  const data = new Uint8ClampedArray(4 * side * side);
  for (let i = 0, state = 1; i < data.length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    data[i] = i % 4 === 3 ? 255 : (state >> 16) & 255;
  }
  return { data, width: side, height: side };
}

async function open() {
  if (location.protocol === "file:") throw new Error("This page needs a file server, such as `shufflenet web … --serve`.");
  const module = await import("./shufflenet.js");
  pixels = module.pixels;
  ours = await module.load(new URL("network.wasm", location.href));
  picture = noise(256);
}

async function openTheirs(script, wasm) {
  const address = (file, type) => URL.createObjectURL(new Blob([file], { type }));
  const { default: bundle, ...names } = await import(address(script, "text/javascript"));
  const ort = bundle ?? names;
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await wasm.arrayBuffer();
  const answer = await fetch("bench.onnx");
  if (!answer.ok) throw new Error(`bench.onnx cannot be loaded: ${answer.status} ${answer.statusText}.`);
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };
  const session = await ort.InferenceSession.create(await answer.arrayBuffer(), options);
  return (input) => {
    const shape = [1, ...ours.facts.input];
    return async () => {
      const outputs = await session.run({ [session.inputNames[0]]: new ort.Tensor("float32", input, shape) });
      return session.outputNames.map((name) => outputs[name].data);
    };
  };
}

/** How far two runtimes' outputs are apart, as a share of the largest number. */
function distance(found, expected) {
  const most = Math.max(...expected.flatMap((numbers) => numbers.reduce((a, b) => Math.max(a, Math.abs(b)), 0)));
  return Math.max(...expected.map((numbers, i) => numbers.reduce((a, b, j) => Math.max(a, Math.abs(b - found[i][j])), 0))) / most;
}

async function milliseconds(call, runs) {
  const begin = performance.now();
  for (let i = 0; i < runs; i++) await call();
  return (performance.now() - begin) / runs;
}

/** Median and least milliseconds of each call, in turn, so that what disturbs one disturbs the others. */
async function measure(calls) {
  const runs = {}, times = {};
  for (const [name, call] of Object.entries(calls)) {
    let warm = 0, each = 0;
    for (; warm < WARM_UP_MS; warm += each) each = await milliseconds(call, 1);
    runs[name] = Math.max(1, Math.round(ROUND_MS / (await milliseconds(call, 3))));
    times[name] = [];
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, call] of Object.entries(calls)) times[name].push(await milliseconds(call, runs[name]));
    $("verdict").textContent = `Measuring … ${Math.round((100 * (round + 1)) / ROUNDS)}%`;
    await new Promise((done) => setTimeout(done)); // the page answers between rounds
  }
  const sorted = Object.entries(times).map(([name, values]) => [name, values.toSorted((a, b) => a - b)]);
  return Object.fromEntries(sorted.map(([name, values]) => [name, { median: values[values.length >> 1], fastest: values[0] }]));
}

async function run() {
  if (busy) return;
  busy = $("again").disabled = true;
  $("detail").textContent = "";
  try {
    const input = ours.prepare(picture).slice();
    const calls = { [OURS]: () => ours.infer(), ...(theirs && { [THEIRS]: theirs(input) }) };
    const apart = theirs ? distance(calls[OURS](), await calls[THEIRS]()) : null;
    report(await measure(calls), apart);
  } catch (error) {
    complain(error.message);
    $("verdict").textContent = "";
  }
  busy = $("again").disabled = false;
}

function report(times, apart) {
  $("rows").replaceChildren(...Object.entries(times).map(([name, { median, fastest }]) => {
    const row = document.createElement("tr");
    row.append(Object.assign(document.createElement("th"), { scope: "row", textContent: name }));
    for (const value of [median, fastest]) row.append(Object.assign(document.createElement("td"), { textContent: `${value.toFixed(2)} ms` }));
    return row;
  }));
  const ratio = theirs ? times[THEIRS].median / times[OURS].median : null;
  $("verdict").textContent = theirs ? `Compiled, it is ${ratio.toFixed(2)} times as fast.` : "onnxruntime-web has not been dropped yet.";
  $("detail").textContent = theirs ? `Their outputs are ${apart.toExponential(1)} of the largest number apart.` : "";
  document.body.dataset.report = JSON.stringify({ ...times, ratio, apart });
}

async function take(files) {
  $("errors").replaceChildren();
  const script = files.find(({ name }) => /^ort\.wasm\..*mjs$/.test(name)), wasm = files.find(({ name }) => /^ort-wasm.*\.wasm$/.test(name));
  const shown = files.find(({ type }) => type.startsWith("image/"));
  try {
    if (!shown && !(script && wasm))
      throw new Error("These are neither ort.wasm.bundle.min.mjs with ort-wasm-simd-threaded.wasm, nor a picture; drop both files together.");
    if (script && wasm) theirs = await openTheirs(script, wasm);
    if (shown) picture = pixels(await createImageBitmap(shown, { imageOrientation: "from-image" }));
  } catch (error) {
    return complain(error.message);
  }
  await run();
}

$("choose").onclick = () => $("files").click();
$("again").onclick = run;
$("files").onchange = async () => {
  await take([...$("files").files]);
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
  take([...event.dataTransfer.files]);
});

try {
  await open();
  $("choose").disabled = false;
  await run();
} catch (error) {
  complain(error.message);
  $("verdict").textContent = "";
}
document.body.dataset.ready = "true";
