// The faces that a camera sees and has seen in the last minute: which one is chosen, and their strips.

import { announce, make } from "./dom.js";
import { axis, legend } from "./chart.js";
import { Strip } from "./strip.js";

const PATIENCE_S = 1.5; // the chosen face may be out of sight for so long before another takes over
const PAINT_S = 0.1;
const STEADY_S = 0.8; // an expression is announced when it has lasted so long,
const QUIET_S = 3; // and not more often than this
const MOST = 6; // faces with a strip; a new one takes the place of one that has left

export class Crowd {
  /** `chips` and `minute` are the elements to fill; `changed()` is called on another choice. */
  constructor(chips, minute, changed) {
    Object.assign(this, { chips, minute, changed });
    this.rows = make("div", { class: "strips" });
    this.clear([]);
  }

  /** Forget everybody. */
  clear(labels) {
    this.labels = labels;
    this.strips = new Map(); // track_id -> {strip, row}
    this.chosen = null;
    this.seen_s = this.painted_s = this.spoke_s = -Infinity;
    this.spoken = "";
    this.steady = { word: "", since: 0 };
    this.shown = "";
    this.chips.replaceChildren();
    this.rows.replaceChildren();
    this.minute.replaceChildren(
      make("p", { class: "hint" }, "A line for each face appears here once one is in sight."),
    );
  }

  /** Take in a frame's answers. */
  see(frame) {
    for (const face of frame.faces) {
      this.stripOf(face.track_id, frame.time_s)?.add(frame.time_s, face);
    }
    const here = new Set(frame.faces.map((face) => face.track_id));
    for (const [number, { strip }] of this.strips) {
      if (!here.has(number)) strip.leave(frame.time_s);
    }
    this.chooseBest(frame);
    this.showChips(frame);
    this.speak(frame);
    if (frame.time_s - this.painted_s >= PAINT_S) this.paint(frame.time_s);
  }

  /** The index of the chosen face in a frame, or -1. */
  chosenIndex(frame) {
    return frame.faces.findIndex((face) => face.track_id === this.chosen);
  }

  /** Seconds since the chosen face was last in sight. */
  unseen_s(frame) {
    return frame.time_s - this.seen_s;
  }

  /** The reader's choice; it holds while this face is in sight. */
  choose(number) {
    this.chosen = number;
    this.markChips();
    this.changed();
  }

  /** Keep the chosen one while it is here, else take the largest. */
  chooseBest(frame) {
    if (this.chosenIndex(frame) >= 0) {
      this.seen_s = frame.time_s;
      return;
    }
    if (frame.time_s - this.seen_s < PATIENCE_S || !frame.faces.length) return;
    const size = ({ box }) => box[2] * box[3];
    const largest = frame.faces.reduce((a, b) => (size(b) > size(a) ? b : a));
    this.chosen = largest.track_id;
    this.seen_s = frame.time_s;
  }

  /** A face's strip; null where all of them belong to faces in sight. */
  stripOf(number, now_s) {
    if (this.strips.has(number)) return this.strips.get(number).strip;
    if (!this.strips.size) {
      const words = axis(["60 s ago", "45", "30", "15", "now"]);
      this.minute.replaceChildren(this.rows, words, legend(this.labels, "thin"));
    }
    if (this.strips.size >= MOST) {
      const last = ([, { strip }]) => strip.points.at(-1).t;
      const oldest = [...this.strips].reduce((a, b) => (last(b) < last(a) ? b : a));
      if (now_s - last(oldest) < PATIENCE_S) return null;
      this.drop(oldest[0]);
    }
    const strip = new Strip(this.labels);
    const row = make("div", { class: "strip-row" }, make("span", {}, `Face ${number}`), strip.element);
    this.strips.set(number, { strip, row });
    this.rows.append(row);
    return strip;
  }

  drop(number) {
    this.strips.get(number).row.remove();
    this.strips.delete(number);
  }

  paint(now_s) {
    this.painted_s = now_s;
    for (const [number, { strip }] of [...this.strips]) {
      if (!strip.forget(now_s)) this.drop(number);
      else strip.paint(now_s);
      strip.element.setAttribute("aria-label", strip.describe(`Face ${number}`));
    }
  }

  /** A button for each face in sight, where there are several. */
  showChips(frame) {
    const numbers = frame.faces.map((face) => face.track_id).sort((a, b) => a - b);
    const shown = numbers.length > 1 ? numbers.join() : "";
    if (shown !== this.shown) {
      this.shown = shown;
      const had = this.chips.contains(document.activeElement);
      this.chips.replaceChildren(...(shown ? numbers.map((number) => this.chip(number)) : []));
      if (had) this.chips.querySelector("button")?.focus();
    }
    this.markChips();
  }

  chip(number) {
    const choose = () => this.choose(number);
    const attributes = { type: "button", class: "chip", "data-face": number, on: { click: choose } };
    return make("button", attributes, `Face ${number}`);
  }

  markChips() {
    for (const chip of this.chips.children) {
      chip.setAttribute("aria-pressed", Number(chip.dataset.face) === this.chosen);
    }
  }

  /** Tell listeners what the chosen face shows, when it lasts. */
  speak(frame) {
    const face = frame.faces[this.chosenIndex(frame)];
    const word = face ? (face.uncertain ? "uncertain" : face.expression) : "no face in sight";
    const now = frame.time_s;
    if (word !== this.steady.word) this.steady = { word, since: now };
    const lasted = now - this.steady.since >= STEADY_S && now - this.spoke_s >= QUIET_S;
    if (word === this.spoken || !lasted) return;
    this.spoken = word;
    this.spoke_s = now;
    announce(face ? `Face ${face.track_id}: ${word}` : word);
  }
}
