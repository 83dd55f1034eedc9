// Milliseconds of a compiled network in Node, float32 and int8, in turn, on one thread: see wasm.py.
//
//     node wasm_int8.mjs FLOAT32.wasm FLOAT32_ARENA_BYTES INT8.wasm INT8_ARENA_BYTES NETWORK HEIGHT WIDTH RUNS
import fs from "node:fs";
import { setFlagsFromString } from "node:v8";

if (parseInt(process.versions.node) < 21) setFlagsFromString("--experimental-wasm-relaxed-simd");

const [float32, float32Arena, int8, int8Arena, name, height, width, runs] = process.argv.slice(2);
const CLASSES = 1000;
const numbers = 3 * height * width;

async function network(file, arenaBytes) {
  const module = await WebAssembly.compile(fs.readFileSync(file));
  const { exports } = await WebAssembly.instantiate(module, {});
  const start = exports.memory.buffer.byteLength;
  const output = start + 4 * numbers;
  exports.memory.grow(Math.ceil((4 * (numbers + CLASSES) + Number(arenaBytes)) / 65536));
  const picture = new Float32Array(exports.memory.buffer, start, numbers);
  for (let i = 0, state = 1; i < numbers; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    picture[i] = state / 0x40000000 - 1;
  }
  return () => exports[`${name}_run`](start, output, output + 4 * CLASSES);
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const calls = { float32: await network(float32, float32Arena), int8: await network(int8, int8Arena) };
const milliseconds = { float32: [], int8: [] };
// CPU time, so that other work on the machine disturbs it little. The first rounds are for the engine, which compiles as it goes.
for (let round = -2; round < runs / 10; round++)
  for (const [element, call] of Object.entries(calls))
    for (let i = 0; i < 10; i++) {
      const before = process.cpuUsage();
      call();
      const { user, system } = process.cpuUsage(before);
      if (round >= 0) milliseconds[element].push((user + system) / 1000);
    }
const medians = Object.fromEntries(Object.entries(milliseconds).map(([element, values]) => [element, median(values)]));
console.log(JSON.stringify({ ...medians, node: process.version }));
