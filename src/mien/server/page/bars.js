// What one face shows, in figures: the word, how sure, and a bar for every class.

import { swatch } from "./chart.js";
import { make } from "./dom.js";
import { colourOf, EXPRESSIONS, percent } from "./expressions.js";

/** A panel that `show(face, name)` fills; its rows stay, so that a screen reader keeps its place. */
export class Bars {
  constructor(labels = EXPRESSIONS) {
    this.name = make("p", { class: "reading-name" });
    this.dot = make("i", { class: "dot", "aria-hidden": "true" });
    this.word = make("span", {});
    this.sure = make("span", { class: "sure" });
    this.line = make("p", { class: "reading-word" }, this.dot, this.word, this.sure);
    this.doubt = make("p", { class: "doubt" });
    this.list = make("ul", { class: "bars" });
    this.element = make("div", { class: "reading" }, this.name, this.line, this.doubt, this.list);
    this.setLabels(labels);
    this.show(null);
  }

  /** Show a face, or say why there is none. */
  show(face, name = "", why = "No face in sight") {
    const uncertain = face?.uncertain ?? false;
    if (face) this.setLabels(Object.keys(face.probs));
    this.element.classList.toggle("nobody", !face);
    this.name.textContent = name || "\u00a0";
    this.word.textContent = face ? face.expression : why;
    this.word.classList.toggle("unsure", uncertain);
    this.sure.textContent = face ? percent(face.confidence) : "";
    this.dot.style.background = face ? colourOf(face.expression) : "";
    this.dot.hidden = !face;
    this.dot.classList.toggle("unsure", uncertain);
    const wrong = face?.quality?.reasons ?? [];
    const said = [
      uncertain ? "Uncertain: take it as no answer" : "",
      wrong.length ? `Hard to read: ${wrong.join(", ")}` : "",
    ];
    this.doubt.textContent = said.filter(Boolean).join(". ");
    for (const [label, row] of this.rows) {
      setRow(row, face ? face.probs[label] : null, label === face?.expression);
    }
  }

  setLabels(labels) {
    if (this.rows && [...this.rows.keys()].join() === labels.join()) return;
    this.rows = new Map(labels.map((label) => [label, makeRow(label)]));
    this.list.replaceChildren(...[...this.rows.values()].map(({ item }) => item));
  }
}

function makeRow(label) {
  const fill = make("span", { class: "fill" });
  fill.style.background = colourOf(label);
  const meter = make(
    "span",
    { class: "meter", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100,
      "aria-valuenow": 0 },
    fill,
  );
  const figure = make("span", { class: "figure" });
  const item = make("li", {}, make("span", { class: "label" }, swatch(label), label), meter, figure);
  return { item, meter, fill, figure };
}

function setRow({ item, meter, fill, figure }, p, leading) {
  item.classList.toggle("leading", leading);
  fill.style.width = `${(100 * (p ?? 0)).toFixed(2)}%`;
  meter.setAttribute("aria-valuenow", Math.round(100 * (p ?? 0)));
  figure.textContent = p === null ? "" : percent(p);
}
