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
  task: "classify" | "detect";
  name: string;
  classes: string[];
  /** Channels, height, width. */
  input: [number, number, number];
  /** How many numbers each output has. */
  outputs: number[];
  /** How they are stored. */
  weights: "float24" | "float32" | "int8";
  weights_bytes: number;
  multiply_adds: number;
  parameters: number;
  /** In percent; of classifiers. */
  top1_error: number | null;
  /** COCO's, from 0 to 1; of detectors. */
  average_precision: number | null;
}
/** An object: its corners in pixels of the picture, how sure the detector is (0 to 1), and its class. */
export interface Box {
  x1: number;
  y1: number;
  x2: number;
  y2: number;
  score: number;
  index: number;
  name: string;
}
interface Loaded {
  readonly facts: Facts;
  readonly classes: string[];
  readonly times: Times;
}
interface Network extends Loaded {
  /** The network's input, float32 planes. A view that the next call overwrites. */
  prepare(picture: Picture): Float32Array;
  /** The network alone, on what `prepare` left. Views that the next call overwrites. */
  infer(): Float32Array[];
}
export interface Classifier extends Network {
  /** The probability of each class. */
  run(picture: Picture): Float32Array;
}
export interface Detector extends Network {
  /** The objects in the picture, the surest first. */
  run(picture: Picture): Box[];
}
/** A network in a worker. The picture's bytes, or the bitmap, move there. */
export interface InWorker<Result> extends Loaded {
  run(picture: Picture | ImageBitmap): Promise<Result>;
  close(): void;
}
/** network.wasm's URL, whose sibling files are read too; or the files' bytes by name. Default: beside this module. */
export type Place = string | URL | Record<string, Uint8Array>;
/** Which build this engine runs. Throws where there is no WebAssembly. */
export function build(): "relaxed" | "simd";
export function load(place?: Place): Promise<@NETWORK@>;
export function loadInWorker(place?: Place): Promise<InWorker<ReturnType<@NETWORK@["run"]>>>;
/** The RGBA bytes of whatever a canvas draws, on white. */
export function pixels(source: HTMLImageElement | HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas | ImageBitmap): ImageData;
