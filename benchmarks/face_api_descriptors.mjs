// Face descriptors by face-api's own JavaScript, for benchmarks/transfer_port.py to compare with.
//
//     node face_api_descriptors.mjs PACKAGE CROPS OUT
//
// PACKAGE is the unpacked npm package @vladmandic/face-api, CROPS raw RGB bytes of squares of 150
// pixels, OUT the JSON file to write: 128 numbers a square.
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

// The package's bundle with TensorFlow.js inside is made for browsers.
globalThis.window = globalThis;
globalThis.document = { createElement: () => ({ getContext: () => null }) };
for (const name of [
  "HTMLCanvasElement", "HTMLImageElement", "HTMLVideoElement", "ImageData", "Image",
  "CanvasRenderingContext2D",
]) globalThis[name] = class {};

const SIDE = 150;
const SIZE = SIDE * SIDE * 3;
const [, , folder, crops, out] = process.argv;
const faceapi = await import(resolve(folder, "dist/face-api.esm.js"));
await faceapi.tf.setBackend("cpu");
await faceapi.tf.ready();

const model = resolve(folder, "model/face_recognition_model");
const [{ weights }] = JSON.parse(readFileSync(`${model}-weights_manifest.json`));
const stored = new Uint8Array(readFileSync(`${model}.bin`)).buffer;
const network = faceapi.nets.faceRecognitionNet;
network.loadFromWeightMap(faceapi.tf.io.decodeWeights(stored, weights));

const bytes = readFileSync(crops);
const descriptors = [];
for (let start = 0; start < bytes.length; start += SIZE) {
  const pixels = new Float32Array(bytes.subarray(start, start + SIZE));
  const crop = faceapi.tf.tensor(pixels, [SIDE, SIDE, 3]);
  descriptors.push(Array.from(await network.computeFaceDescriptor(crop)));
}
writeFileSync(out, JSON.stringify(descriptors));
