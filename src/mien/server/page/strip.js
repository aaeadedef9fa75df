// The last minute of one face: probabilities stacked on each other, and what it showed as a band.

import { make } from "./dom.js";
import { colourOf, percent } from "./expressions.js";

const SPAN_S = 60;
const STEP_S = 0.1; // answers within it are averaged: a minute is 600 points at most
const HOLD_S = 3; // an answer holds until the next frame, but not longer than this
const BAND = 0.2; // part of the height that the band takes

/** A canvas that `add` feeds and `paint` draws. */
export class Strip {
  constructor(labels) {
    this.labels = labels;
    this.points = [];
    this.element = make("canvas", { class: "strip", role: "img" });
  }

  /** Add an answer of this face. */
  add(time_s, face) {
    const step = Math.floor(time_s / STEP_S);
    const values = this.labels.map((label) => face.probs[label] ?? 0);
    const last = this.points.at(-1);
    if (last?.step === step && last.left === null) {
      last.n += 1;
      last.p = last.p.map((p, k) => p + (values[k] - p) / last.n);
      Object.assign(last, { expression: face.expression, uncertain: face.uncertain });
      return;
    }
    const { expression, uncertain } = face;
    this.points.push({ step, t: time_s, left: null, n: 1, p: values, expression, uncertain });
  }

  /** The face is not in the frame of this time. */
  leave(time_s) {
    const last = this.points.at(-1);
    if (last) last.left ??= time_s;
  }

  /** Forget what is older than a minute; whether anything is left. */
  forget(now_s) {
    const first = this.points.findIndex((point) => point.t >= now_s - SPAN_S);
    this.points = first < 0 ? [] : this.points.slice(first);
    return this.points.length > 0;
  }

  /** Draw the minute before `now_s`. */
  paint(now_s) {
    const canvas = this.element;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
    if (canvas.width !== Math.round(width)) canvas.width = Math.round(width);
    if (canvas.height !== Math.round(height)) canvas.height = Math.round(height);
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    const at = (t) => width * (1 - (now_s - t) / SPAN_S);
    const body = height * (1 - BAND);
    const ends = this.points.map((point, i) => this.endOf(i, point, now_s));
    this.labels.forEach((label, k) => {
      pen.fillStyle = colourOf(label);
      this.points.forEach((point, i) => {
        const below = point.p.slice(0, k).reduce((sum, p) => sum + p, 0);
        // A hair wider than its time, so that no light shows between two columns.
        const wide = at(ends[i]) - at(point.t) + 0.6;
        pen.fillRect(at(point.t), body * (1 - below - point.p[k]), wide, body * point.p[k] + 0.6);
      });
    });
    pen.clearRect(0, body, width, height - body);
    this.points.forEach((point, i) => {
      pen.fillStyle = colourOf(point.expression);
      const [top, tall] = point.uncertain ? [0.62, 0.12] : [0.3, 0.7];
      const wide = at(ends[i]) - at(point.t) + 0.6;
      pen.fillRect(at(point.t), body + (height - body) * top, wide, (height - body) * tall);
    });
  }

  /** Until when a point holds: to the next one, or to the frame without this face. */
  endOf(i, point, now_s) {
    return Math.min(point.left ?? this.points[i + 1]?.t ?? now_s, point.t + HOLD_S);
  }

  /** What the minute held, in words. */
  describe(name) {
    const counts = new Map();
    for (const { uncertain, expression } of this.points) {
      const said = uncertain ? "uncertain" : expression;
      counts.set(said, (counts.get(said) ?? 0) + 1);
    }
    const shares = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3);
    const words = shares.map(([said, n]) => `${said} ${percent(n / this.points.length)}`);
    return `${name} over the last minute: ${words.join(", ")}`;
  }
}
