// Light up for a smile: live expressions in JavaScript, without any package.
//
//     mien serve
//     node examples/live.mjs photo1.jpg photo2.jpg      (node 22 or newer)
//
// The key of a server that has one is taken from MIEN_API_KEY. In a browser, on a page that
// --allow-origin names, of a server without a key (a browser cannot show one from there):
//
//     import { follow, camera } from "./live.mjs";
//     const connection = await follow("ws://127.0.0.1:8080/v1/live", (result) => {
//       document.body.classList.toggle("smiling", smiling(result));
//     });
//     await camera(document.querySelector("video"), connection);

/** Whether somebody in a result smiles, beyond doubt. */
export function smiling(result) {
  return result.faces.some((face) => face.expression === "happy" && !face.uncertain);
}

/**
 * Connect, and call `react(result)` for every answer. Resolves, once the server has said hello, to
 * `{hello, send, close}`. `send(time_s, picture)` takes seconds since the beginning and the bytes of
 * a JPEG, PNG or WebP (ArrayBuffer or Uint8Array), and resolves when that picture is answered: wait
 * for it before you send the next one, and no picture is ever dropped. Both reject when the server
 * will not, or no longer, answer. `key` is the server's, for node alone: browsers can put no header
 * on a WebSocket.
 */
export function follow(address, react, { complain = console.error, key = "" } = {}) {
  return new Promise((resolve, reject) => {
    const more = key ? [{ headers: { Authorization: `Bearer ${key}` } }] : [];
    const socket = new WebSocket(address, ...more);
    let waiting = { resolve, reject }; // whoever waits for the server's next word
    let refusal = "";
    const send = (time_s, picture) => {
      if (socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error(ended()));
      const bytes = new Uint8Array(picture);
      const message = new Uint8Array(8 + bytes.length);
      new DataView(message.buffer).setFloat64(0, time_s, true);
      message.set(bytes, 8);
      socket.send(message);
      return new Promise((resolve, reject) => (waiting = { resolve, reject }));
    };
    const ended = () => refusal || `${address} does not answer any more. Is mien serve running?`;
    let greeted = false;
    socket.onmessage = (event) => {
      const said = JSON.parse(event.data);
      if (said.type === "hello") {
        greeted = true;
        return resolve({ hello: said, send, close: () => socket.close() });
      }
      if (!greeted) return (refusal = said.message); // it has no room, and will close
      if (said.type === "result") react(said.result);
      else complain(said.message);
      return waiting.resolve();
    };
    socket.onclose = () => waiting.reject(new Error(ended()));
  });
}

/** In a browser: show the camera in a <video> and send its pictures for as long as it plays. */
export async function camera(video, connection) {
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
  await video.play();
  const canvas = document.createElement("canvas");
  const began = performance.now();
  while (!video.paused && !video.ended) {
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    const time_s = (performance.now() - began) / 1000;
    const jpeg = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85));
    await connection.send(time_s, await jpeg.arrayBuffer());
  }
}

/** In node: pictures from files, as if a camera had taken one each second. */
async function main(files) {
  const { readFile } = await import("node:fs/promises");
  const address = process.env.MIEN_LIVE ?? "ws://127.0.0.1:8080/v1/live";
  const lamp = (result) => {
    const faces = result.faces.map((face) => (face.uncertain ? "unsure" : face.expression));
    const light = smiling(result) ? "ON " : "off";
    console.log(`${light}  ${files[result.frame]}: ${faces.join(", ") || "nobody"}`);
  };
  const connection = await follow(address, lamp, { key: process.env.MIEN_API_KEY });
  for (const [second, file] of files.entries()) await connection.send(second, await readFile(file));
  connection.close();
}

/** Whether node was told to run this very file. */
async function isProgram() {
  if (typeof process === "undefined" || !process.argv[1]) return false;
  const { pathToFileURL } = await import("node:url");
  return import.meta.url === pathToFileURL(process.argv[1]).href;
}

if (await isProgram()) await main(process.argv.slice(2));
