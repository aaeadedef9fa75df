// How fast the live view is: frames a second, delay, and frames that the server left out.

import { get } from "./dom.js";

const WINDOW_MS = 2000;
const SHOW_MS = 500;

export class Pace {
  constructor() {
    this.clear();
  }

  clear() {
    this.times = [];
    this.latencies = [];
    this.shown = -Infinity;
    for (const id of ["fps", "latency", "dropped", "model"]) get(id).textContent = "–";
  }

  /** Book an answer; the figures are renewed twice a second. */
  add(message, latency) {
    const now = performance.now();
    this.times.push(now);
    if (latency !== null) this.latencies.push(latency);
    while (this.times[0] < now - WINDOW_MS) this.times.shift();
    this.latencies = this.latencies.slice(-this.times.length);
    if (now - this.shown < SHOW_MS || this.times.length < 2) return;
    this.shown = now;
    const fps = (1000 * (this.times.length - 1)) / (now - this.times[0]);
    const middle = [...this.latencies].sort((a, b) => a - b)[Math.floor(this.latencies.length / 2)];
    get("fps").textContent = fps.toFixed(fps < 10 ? 1 : 0);
    get("latency").textContent = middle === undefined ? "–" : `${Math.round(middle)} ms`;
    const share = message.received ? message.dropped / message.received : 0;
    get("dropped").textContent = `${message.dropped} of ${message.received}`;
    get("dropped").title = `${(100 * share).toFixed(1)}% of the frames that were sent`;
  }
}
