// The live connection to the server: frames out, results in, opened again when it breaks.

import { ensureAccess, socketAddress } from "./api.js";

const IN_FLIGHT = 2; // frames on their way at once: one is worked on while the next one travels
const IDLE = 4408; // the close code for a client that sends nothing
const FIRST_WAIT_S = 1;
const LONGEST_WAIT_S = 16;
const SILENT_S = 20; // without an answer to what was sent: a dead network closes no socket for minutes

/**
 * Calls `on.hello(message)`, `on.result(message, latency_ms)`, `on.said(message)` for everything
 * else, `on.error(message)`, `on.denied(text)` where the reader gave no key, or the browser keeps no
 * cookie for it, `on.lost(seconds, reason)` when the server is gone and will be tried again, and
 * `on.slept()` when it has let go of a page that sent nothing: `wake()` then opens the connection
 * again.
 */
export class LiveConnection {
  constructor(on) {
    this.on = on;
    this.sent = new Map(); // time_s of a frame on its way -> when it was taken, by the page's clock
    this.refusal = ""; // what the server said before it closed
    this.wait_s = FIRST_WAIT_S;
    this.attempts = 0;
    this.closed = false;
    this.ready = this.asleep = false;
    this.open();
  }

  async open() {
    clearTimeout(this.timer);
    const attempt = ++this.attempts;
    try {
      await ensureAccess();
    } catch (error) {
      if (this.closed || attempt !== this.attempts) return;
      if (error.status === 401) this.on.denied(error.message);
      else this.lose(error.status ? error.message : "The server does not answer.");
      return;
    }
    if (this.closed || attempt !== this.attempts) return; // another one is on its way
    if (this.ready) return; // the one before was answered meanwhile
    this.socket?.close(); // of an attempt before, which may yet be answered
    const socket = new WebSocket(socketAddress("v1/live"));
    this.socket = socket;
    socket.onmessage = (event) => socket === this.socket && this.hear(JSON.parse(event.data));
    socket.onclose = ({ code }) => {
      if (socket !== this.socket) return;
      if (code === IDLE) this.sleep();
      else this.lose(this.refusal);
    };
  }

  /** Whether another frame may go. */
  get free() {
    return this.ready && this.sent.size < IN_FLIGHT;
  }

  /** Send a JPEG (an ArrayBuffer) of `time_s`; `taken` is its `performance.now()`. */
  send(time_s, jpeg, taken) {
    if (!this.ready) return;
    const message = new Uint8Array(8 + jpeg.byteLength);
    new DataView(message.buffer).setFloat64(0, time_s, true);
    message.set(new Uint8Array(jpeg), 8);
    this.sent.set(time_s, taken);
    if (this.sent.size === 1) this.watch();
    this.socket.send(message);
  }

  /** Ask for something that is no frame: `{type: "reset"}` and the like. */
  ask(message) {
    if (this.ready) this.socket.send(JSON.stringify(message));
  }

  close() {
    this.closed = true;
    this.ready = false;
    clearTimeout(this.timer);
    clearTimeout(this.watching);
    this.socket?.close();
  }

  hear(message) {
    if (message.type === "hello") {
      this.ready = true;
      this.refusal = "";
      this.wait_s = FIRST_WAIT_S;
      this.on.hello(message);
    } else if (message.type === "result") {
      this.on.result(message, this.arrived(message.result.time_s));
    } else if (message.type === "error") {
      if (message.about !== "baseline") this.sent.clear();
      if (!this.ready) this.refusal = message.message;
      this.on.error(message);
    } else {
      this.on.said(message);
    }
    this.watch();
  }

  /** From now on wait for an answer, if there is one to come, but not for ever. */
  watch() {
    clearTimeout(this.watching);
    if (this.sent.size) this.watching = setTimeout(() => this.abandon(), 1000 * SILENT_S);
  }

  /** Nothing comes from this socket any more, though nobody has closed it. */
  abandon() {
    const { socket } = this;
    this.socket = null; // what it still says counts no longer
    socket.close();
    this.lose(`The server has not answered for ${SILENT_S} seconds.`);
  }

  /** Milliseconds that a frame took. Those before it, which the server left out, are done too. */
  arrived(time_s) {
    const began = this.sent.get(time_s);
    for (const earlier of this.sent.keys()) {
      if (earlier <= time_s) this.sent.delete(earlier);
    }
    return began === undefined ? null : performance.now() - began;
  }

  sleep() {
    this.ready = false;
    this.forget();
    if (this.closed) return;
    this.asleep = true;
    this.on.slept();
  }

  /** Wait for no answer: none will come. */
  forget() {
    this.sent.clear();
    clearTimeout(this.watching);
  }

  /** There is something to send again. */
  wake() {
    if (!this.asleep) return;
    this.asleep = false;
    this.open();
  }

  lose(reason) {
    this.ready = false;
    this.forget();
    if (this.closed) return;
    this.on.lost(this.wait_s, reason);
    this.timer = setTimeout(() => this.open(), 1000 * this.wait_s);
    this.wait_s = Math.min(2 * this.wait_s, LONGEST_WAIT_S);
  }
}
