// Milliseconds of a compiled network in Node and of the same network in onnxruntime-web, in turn, on one thread: see wasm.py.
//
//     node wasm.mjs NODE_MODULES NETWORK.wasm NETWORK.onnx NETWORK HEIGHT WIDTH ARENA_BYTES RUNS
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { setFlagsFromString } from "node:v8";

if (parseInt(process.versions.node) < 21) setFlagsFromString("--experimental-wasm-relaxed-simd");

const [nodeModules, wasm, onnx, name, ...numbers] = process.argv.slice(2);
const [height, width, arenaBytes, runs] = numbers.map(Number);
const CLASSES = 1000;

const picture = new Float32Array(3 * height * width);
for (let i = 0, state = 1; i < picture.length; i++) {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
  picture[i] = state / 0x40000000 - 1;
}

async function compiled() {
  const module = await WebAssembly.compile(fs.readFileSync(wasm));
  const { exports } = await WebAssembly.instantiate(module, {});
  const start = exports.memory.buffer.byteLength;
  const bytes = 4 * (picture.length + CLASSES) + arenaBytes;
  exports.memory.grow(Math.ceil(bytes / 65536));
  const input = new Float32Array(exports.memory.buffer, start, picture.length);
  const output = new Float32Array(exports.memory.buffer, start + 4 * picture.length, CLASSES);
  return async () => {
    input.set(picture);
    exports[`${name}_run`](start, start + 4 * picture.length, start + 4 * (picture.length + CLASSES));
    return output;
  };
}

async function onnxruntimeWeb() {
  const ort = createRequire(path.resolve(nodeModules, "from-here.js"))("onnxruntime-web");
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(onnx, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
  const input = new ort.Tensor("float32", picture, [1, 3, height, width]);
  return async () => (await session.run({ input })).logits.data;
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const calls = { compiled: await compiled(), "onnxruntime-web": await onnxruntimeWeb() };

const [ours, theirs] = [await calls.compiled(), await calls["onnxruntime-web"]()];
const largest = Math.max(...theirs.map(Math.abs));
const difference = Math.max(...theirs.map((value, i) => Math.abs(value - ours[i]))) / largest;
if (!(difference < 1e-4)) throw new Error(`the two differ by ${difference} of the largest output`);

// CPU time, so that other work on the machine disturbs it little. The first rounds are for the engine, which compiles as it goes.
const milliseconds = { compiled: [], "onnxruntime-web": [] };
for (let round = -2; round < runs / 10; round++)
  for (const [runtime, call] of Object.entries(calls))
    for (let i = 0; i < 10; i++) {
      const before = process.cpuUsage();
      await call();
      const { user, system } = process.cpuUsage(before);
      if (round >= 0) milliseconds[runtime].push((user + system) / 1000);
    }
const medians = Object.fromEntries(Object.entries(milliseconds).map(([runtime, values]) => [runtime, median(values)]));
console.log(JSON.stringify({ ...medians, difference, node: process.version }));
