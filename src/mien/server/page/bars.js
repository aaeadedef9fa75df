// What one face shows, in figures: the word, how sure, and a bar for every class.

import { make } from "./dom.js";
import { colourOf, percent } from "./expressions.js";
import { swatch } from "./chart.js";

/** A panel that `show(face, name)` fills; the rows stay, so that a screen reader keeps its place. */
export class Bars {
  constructor() {
    this.element = make("div", { class: "reading" });
    this.show(null);
  }

  /** Show a face, or say why there is none. */
  show(face, name = "", why = "No face in sight") {
    if (!face) {
      this.labels = "";
      this.element.replaceChildren(
        make("p", { class: "reading-name" }, name || " "),
        make("p", { class: "reading-word muted" }, why),
      );
      return;
    }
    const labels = Object.keys(face.probs);
    if (labels.join() !== this.labels) this.build(labels);
    const { uncertain, expression, confidence } = face;
    this.name.textContent = name;
    this.word.textContent = expression;
    this.word.classList.toggle("unsure", uncertain);
    this.sure.textContent = percent(confidence);
    this.dot.style.background = colourOf(expression);
    this.dot.classList.toggle("unsure", uncertain);
    this.doubt.textContent = uncertain ? "Uncertain: take it as no answer" : "";
    for (const label of labels) this.setRow(label, face.probs[label], label === expression);
  }

  build(labels) {
    this.labels = labels.join();
    this.name = make("p", { class: "reading-name" });
    this.dot = make("i", { class: "dot", "aria-hidden": "true" });
    this.word = make("span", {});
    this.sure = make("span", { class: "sure" });
    this.doubt = make("p", { class: "doubt" });
    this.rows = new Map(labels.map((label) => [label, row(label)]));
    this.element.replaceChildren(
      this.name,
      make("p", { class: "reading-word" }, this.dot, this.word, this.sure),
      this.doubt,
      make("ul", { class: "bars" }, ...[...this.rows.values()].map(({ item }) => item)),
    );
  }

  setRow(label, p, leading) {
    const { item, meter, fill, figure } = this.rows.get(label);
    item.classList.toggle("leading", leading);
    fill.style.transform = `scaleX(${p.toFixed(4)})`;
    meter.setAttribute("aria-valuenow", Math.round(100 * p));
    figure.textContent = percent(p);
  }
}

function row(label) {
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
