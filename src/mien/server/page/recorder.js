// Records a live session: numbers its frames from nought, and keeps them in the browser as they come.

import { keepPart } from "./store.js";

const PART_FRAMES = 60; // written together, so that little is lost when a tab dies

/** One recording. `results` holds all of it; `trouble` is set where the browser cannot keep it. */
export class Recording {
  constructor(now = new Date()) {
    const day = now.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
    const time = now.toLocaleTimeString("en-GB");
    this.head = {
      id: crypto.randomUUID?.() ?? String(now.getTime()),
      name: `Live ${day}, ${time}`,
      begun: now.toISOString(),
      frames: 0, seconds: 0, faces: 0,
    };
    this.results = [];
    this.faces = new Set();
    this.written = 0;
    this.part = 0;
    this.trouble = null;
    this.writing = Promise.resolve();
  }

  /** Add a live result; its time and number then count from the recording's own beginning. */
  add(result) {
    this.begin_s ??= result.time_s;
    const time_s = result.time_s - this.begin_s;
    const { width, height, model, faces } = result;
    const frame = this.results.length;
    const source = this.head.name;
    this.results.push({ schema: "mien/1", source, frame, time_s, width, height, model, faces });
    for (const face of faces) this.faces.add(face.track_id);
    Object.assign(this.head, { frames: frame + 1, seconds: time_s, faces: this.faces.size });
    if (this.results.length - this.written >= PART_FRAMES) this.write();
  }

  /** End it; resolves once everything is kept. */
  async end() {
    if (this.results.length) this.write();
    await this.writing;
  }

  write() {
    const part = this.part++;
    const results = this.results.slice(this.written);
    this.written = this.results.length;
    const head = { ...this.head };
    this.writing = this.writing
      .then(() => this.keep(head, part, results))
      .catch((error) => (this.trouble = error));
  }

  /** After a part that could not be kept no more are: what is kept has no hole. */
  async keep(head, part, results) {
    if (!this.trouble) await keepPart(head, part, results);
  }
}
