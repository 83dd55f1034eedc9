/** A picture: ImageData, or RGBA bytes. */
export interface Picture {
  data: Uint8ClampedArray | Uint8Array;
  width: number;
  height: number;
}
/** Milliseconds of the last run. */
export interface Times {
  prepare: number;
  run: number;
}
export interface Facts {
  task: "classify";
  name: string;
  classes: string[];
  /** Channels, height, width. */
  input: [number, number, number];
  outputs: number;
  multiply_adds: number;
  parameters: number;
  top1_error: number | null;
}
export interface Network {
  readonly facts: Facts;
  readonly classes: string[];
  readonly times: Times;
  /** The probability of each class. */
  run(picture: Picture): Float32Array;
  /** The network's input: float32 planes. A view that the next call overwrites. */
  prepare(picture: Picture): Float32Array;
}
export interface NetworkInWorker {
  readonly facts: Facts;
  readonly classes: string[];
  readonly times: Times;
  /** The probability of each class. The picture's bytes move to the worker. */
  run(picture: Picture): Promise<Float32Array>;
  close(): void;
}
/** network.wasm's URL, whose sibling files are read too; or the files' bytes by name. Default: beside this module. */
export type Place = string | URL | Record<string, Uint8Array>;
export function build(): "relaxed" | "simd";
export function load(place?: Place): Promise<Network>;
export function loadInWorker(place?: Place): Promise<NetworkInWorker>;
