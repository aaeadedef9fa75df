// @vladmandic/face-api on WebAssembly, for peers.py:
//
//     node face_api.mjs NODE_MODULES TASK STARTED DETECTOR
//
// detectAllFaces(…).withFaceLandmarks().withFaceExpressions() with the detector's own settings.
// DETECTOR is "ssd", which it takes by default, or "tiny".
import { resolve } from "node:path";
import { WASM, best, folder, load, measure } from "./frames.mjs";

const began = performance.now();
const tf = load("@tensorflow/tfjs");
const wasm = load("@tensorflow/tfjs-backend-wasm");
const faceapi = load("@vladmandic/face-api/dist/face-api.node-wasm.js");
const tiny = process.argv[5] === "tiny";

async function open() {
  wasm.setWasmPaths(WASM);
  await tf.setBackend("wasm");
  await tf.ready();
  const { nets } = faceapi;
  const networks = [
    tiny ? nets.tinyFaceDetector : nets.ssdMobilenetv1, nets.faceLandmark68Net, nets.faceExpressionNet,
  ];
  const models = resolve(folder, "@vladmandic/face-api/model");
  for (const network of networks) await network.loadFromDisk(models);
  const options = tiny ? new faceapi.TinyFaceDetectorOptions() : new faceapi.SsdMobilenetv1Options();
  return [tf, async (tensor) => {
    const faces = await faceapi.detectAllFaces(tensor, options).withFaceLandmarks().withFaceExpressions();
    return faces.map(({ detection: { box }, expressions }) => (
      [[box.x, box.y, box.width, box.height], best(expressions)]));
  }];
}

await measure(began, open, ["@vladmandic/face-api", "@tensorflow/tfjs-backend-wasm"]);
