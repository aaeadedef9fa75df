// Drawings of a finished session, in SVG: probabilities over time, and shares as one bar.

import { draw, make } from "./dom.js";
import { clock, colourOf, percent } from "./expressions.js";

const WIDTH = 1000;
const HEIGHT = 100;

/**
 * Probabilities stacked on each other; blank where nobody was seen.
 *
 * `points` come from `summary.curve`. The drawing fills its box, and `title` says what it shows.
 */
export function areas(points, labels, title) {
  const picture = draw("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "areas",
    role: "img", "aria-label": title,
  });
  const step = WIDTH / points.length;
  for (const [from, to] of stretches(points)) {
    const part = points.slice(from, to);
    let floor = part.map(() => 0);
    labels.forEach((label, k) => {
      const top = part.map((point, i) => floor[i] + point.p[k]);
      picture.append(draw("polygon", { points: outline(from, step, floor, top), fill: colourOf(label) }));
      floor = top;
    });
  }
  return picture;
}

/** From where to where points have values. */
function stretches(points) {
  const found = [];
  points.forEach((point, i) => {
    if (!point.p) return;
    if (i && points[i - 1].p) found.at(-1)[1] = i + 1;
    else found.push([i, i + 1]);
  });
  return found;
}

/** The shape between two heights; a point fills the whole of its stretch of time. */
function outline(from, step, floor, top) {
  const at = (i, height) => `${((from + i) * step).toFixed(1)},${(HEIGHT * (1 - height)).toFixed(2)}`;
  const edge = (heights) => heights.flatMap((height, i) => [at(i, height), at(i + 1, height)]);
  return [...edge(top), ...edge(floor).reverse()].join(" ");
}

/** Words below a drawing, from its left edge to its right. */
export function axis(words) {
  const spans = words.map((word) => make("span", {}, word));
  return make("p", { class: "axis", "aria-hidden": "true" }, ...spans);
}

/** The same with times. */
export function timeAxis(begin_s, end_s) {
  return axis([0, 0.25, 0.5, 0.75, 1].map((part) => clock(begin_s + part * (end_s - begin_s))));
}

/** The shares of a session as one bar; what is uncertain is hatched. */
export function shareBar(summary) {
  const bar = make("div", { class: "share-bar", role: "img", "aria-label": shareText(summary) });
  for (const label of summary.labels) {
    const part = make("span", { title: `${label} ${percent(summary.shares[label])}` });
    part.style.width = `${100 * summary.shares[label]}%`;
    part.style.background = colourOf(label);
    bar.append(part);
  }
  const rest = make("span", { class: "hatched", title: `uncertain ${percent(summary.uncertain)}` });
  rest.style.width = `${100 * summary.uncertain}%`;
  bar.append(rest);
  return bar;
}

/** The same in words, the largest first. */
export function shareText(summary) {
  const shares = [...Object.entries(summary.shares), ["uncertain", summary.uncertain]];
  const shown = shares.filter(([, share]) => share >= 0.005).sort((a, b) => b[1] - a[1]);
  return shown.map(([name, share]) => `${name} ${percent(share)}`).join(", ") || "no face";
}

/** A small square in an expression's colour. */
export function swatch(label) {
  const square = make("i", { class: label === "uncertain" ? "swatch hatched" : "swatch" });
  square.setAttribute("aria-hidden", "true");
  if (label !== "uncertain") square.style.background = colourOf(label);
  return square;
}

/** Which colour is which; `uncertain` is how the drawing shows that (`hatched`, `thin`), if it does. */
export function legend(labels, uncertain = "") {
  const items = labels.map((label) => make("li", {}, swatch(label), label));
  const sign = make("i", { class: `swatch ${uncertain}`, "aria-hidden": "true" });
  if (uncertain) items.push(make("li", {}, sign, "uncertain"));
  return make("ul", { class: "legend", "aria-label": "Colours" }, ...items);
}
