// The part of program.py that node's programs share: reads a task's frames, measures, prints JSON.
import { openSync, readFileSync, readSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

export const [, , folder, taskFile, started] = process.argv;
export const task = JSON.parse(readFileSync(taskFile, "utf-8"));

// What is installed in the folder; a file of a package by its path, whether it is exported or not.
const require = createRequire(resolve(folder, "any.js"));
export const load = (path) => require(resolve(folder, path));
export const versionOf = (name) =>
  JSON.parse(readFileSync(resolve(folder, name, "package.json"), "utf-8")).version;

export const WASM = `${resolve(folder, "@tensorflow/tfjs-backend-wasm/dist")}/`;

// The program has been imported since `began` (milliseconds); `open` opens its models and returns
// the tensor library and a function from a tensor int32 (H, W, 3) to [[x, y, w, h], class] a face.
export async function measure(began, open, packages) {
  const importS = (performance.now() - began) / 1000;
  const [tf, read] = await open();
  const file = openSync(task.raw);
  const readFrame = async (index, position) => {
    const [width, height] = task.sizes[index];
    const bytes = new Uint8Array(3 * width * height);
    readSync(file, bytes, 0, bytes.length, position);
    const tensor = tf.tensor(bytes, [height, width, 3], "int32");
    const faces = await read(tensor);
    tf.dispose(tensor);
    return [faces, position + bytes.length];
  };
  await readFrame(0, 0);
  const firstS = Date.now() / 1000 - Number(started);
  const found = [];
  const clock = performance.now();
  let position = 0;
  for (let index = 0; index < task.sizes.length; index += 1) {
    const [faces, next] = await readFrame(index, position);
    position = next;
    found.push(faces);
    if (performance.now() - clock > 1000 * task.limit_s) break;
  }
  const tookS = (performance.now() - clock) / 1000;
  const status = readFileSync("/proc/self/status", "utf-8");
  const answer = {
    rate: found.length / tookS,
    faces: found,
    import_s: importS,
    first_s: firstS,
    peak_mb: (Number(/VmHWM:\s+(\d+)/.exec(status)[1]) * 1024) / 1e6,
    versions: {
      node: process.versions.node,
      ...Object.fromEntries(packages.map((name) => [name, versionOf(name)])),
    },
  };
  process.stdout.write(`\n${JSON.stringify(answer)}\n`);
}

export const best = (scores) =>
  Object.entries(scores).reduce((a, b) => (b[1] > a[1] ? b : a))[0];
