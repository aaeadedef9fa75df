// @vladmandic/human on WebAssembly, for peers.py:
//
//     node human.mjs NODE_MODULES TASK STARTED
//
// Its face detector, mesh and emotion network, and none of its others. At most 20 faces. Between
// the frames of a video it keeps answers as it does by default; not between pictures.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { WASM, folder, load, measure, task } from "./frames.mjs";

// It fetches its models, and node's fetch opens no files.
globalThis.fetch = async (url) => new Response(readFileSync(fileURLToPath(String(url))));

const began = performance.now();
const { Human } = load("@vladmandic/human/dist/human.node-wasm.js");
const off = { enabled: false };

async function open() {
  const human = new Human({
    backend: "wasm",
    wasmPath: WASM,
    modelBasePath: `${pathToFileURL(resolve(folder, "@vladmandic/human/models"))}/`,
    debug: false,
    ...(task.is_video ? {} : { cacheSensitivity: 0 }),
    filter: off, gesture: off, body: off, hand: off, object: off, segmentation: off,
    face: {
      enabled: true, detector: { maxDetected: 20 }, mesh: { enabled: true }, emotion: { enabled: true },
      iris: off, description: off, antispoof: off, liveness: off,
    },
  });
  await human.load();
  return [human.tf, async (tensor) => {
    const { error, face } = await human.detect(tensor);
    if (error) throw new Error(error);
    return face.map(({ box, emotion }) => [box, emotion?.[0]?.emotion ?? "none"]);
  }];
}

await measure(began, open, ["@vladmandic/human", "@tensorflow/tfjs-backend-wasm"]);
