// Pictures: sent one by one, shown with their faces, and kept together as one table.

import { request } from "./api.js";
import { Bars } from "./bars.js";
import { announce, button, make, notice, save } from "./dom.js";
import { nameOf, percent } from "./expressions.js";
import { progressLine } from "./intake.js";
import { drawFaces, faceAt } from "./overlay.js";
import { toCsv, toJsonl } from "./table.js";

export class Pictures {
  constructor(place) {
    this.place = place;
    this.items = []; // {file, url, result, error}
    this.chosen = -1;
    this.face = 0;
    this.queue = Promise.resolve();
  }

  /** Analyse more pictures; one that fails does not cost the others their results. */
  add(files) {
    const items = files.map((file) => ({ file, url: URL.createObjectURL(file) }));
    this.items.push(...items);
    this.build();
    this.queue = this.queue.then(() => this.work(items));
  }

  async work(items) {
    for (const [n, item] of items.entries()) {
      if (!this.items.includes(item)) continue; // cleared away meanwhile
      this.progress.set(n / items.length, `${n + 1} of ${items.length}: ${item.file.name}`);
      this.progress.element.hidden = false;
      await this.analyse(item);
      this.thumbnail(item);
      if (this.chosen < 0 || item === this.items[this.chosen]) this.show(this.items.indexOf(item));
    }
    this.progress.element.hidden = true;
    const failed = items.filter((item) => item.error).length;
    const pictures = `${items.length} ${items.length === 1 ? "picture" : "pictures"} read`;
    announce(failed ? `${pictures}, ${failed} failed` : pictures);
    this.updateDownloads();
  }

  async analyse(item) {
    const form = new FormData();
    form.append("file", item.file, item.file.name);
    try {
      const result = await (await request("v1/analyze", { method: "POST", body: form })).json();
      item.result = { ...result, source: item.file.name };
    } catch (error) {
      item.error = error.message;
    }
  }

  /** The frame of the room's picture part, filled later. */
  build() {
    this.progress ??= progressLine("Reading pictures");
    this.film ??= make("div", { class: "film", role: "group", "aria-label": "Pictures" });
    this.view ??= make("div", {});
    this.downloads ??= make("div", { class: "row" });
    for (const item of this.items) {
      if (item.thumb) continue;
      const index = this.items.indexOf(item);
      const select = () => this.show(index);
      const blank = (event) => event.target.replaceWith(make("span", { class: "blank" }));
      item.thumb = make(
        "button",
        { type: "button", class: "thumb waiting", on: { click: select } },
        make("img", { src: item.url, alt: "", on: { error: blank } }),
        make("span", {}, item.file.name),
      );
      this.film.append(item.thumb);
    }
    this.film.hidden = this.items.length < 2;
    this.place.replaceChildren(
      make("div", { class: "block" },
        this.progress.element, this.view, this.film, this.downloads),
    );
  }

  thumbnail({ thumb, result, error }) {
    thumb.classList.remove("waiting");
    thumb.classList.toggle("failed", Boolean(error));
    const face = result?.faces[0];
    const said = error ? "failed" : face ? `${face.expression} ${percent(face.confidence)}` : "no face";
    thumb.append(make("em", {}, said));
  }

  show(index) {
    const item = this.items[index];
    this.items.forEach(({ thumb }, i) => thumb.setAttribute("aria-pressed", i === index));
    this.chosen = index;
    this.face = 0;
    this.watcher?.disconnect();
    if (item.error) {
      this.view.replaceChildren(notice("error", item.file.name, item.error));
    } else if (!item.result) {
      this.view.replaceChildren(notice("wait", item.file.name, "Waiting for its turn"));
    } else {
      this.view.replaceChildren(this.viewer(item));
    }
  }

  viewer({ file, url, result }) {
    const words = result.faces.map((face, i) => `${nameOf(face, i)}: ${face.expression}`);
    const picture = make("img", { src: url, alt: `${file.name}. ${words.join(", ") || "No face"}` });
    const canvas = make("canvas", { "aria-hidden": "true" });
    const bars = new Bars();
    const chips = make("div", { class: "chips", role: "group", "aria-label": "Face" });
    const choose = (index) => {
      if (index >= 0) this.face = index;
      const face = result.faces[this.face];
      drawFaces(canvas, result, { chosen: this.face });
      bars.show(face, face ? nameOf(face, this.face) : "", "No face found");
      [...chips.children].forEach((chip, i) => chip.setAttribute("aria-pressed", i === this.face));
    };
    if (result.faces.length > 1) {
      chips.append(...result.faces.map((face, i) =>
        make("button", { type: "button", class: "chip", on: { click: () => choose(i) } }, nameOf(face, i))));
    }
    canvas.addEventListener("click", (event) => choose(faceAt(canvas, event, result)));
    this.watcher = new ResizeObserver(() => choose(-1));
    this.watcher.observe(canvas);
    const still = make("div", { class: "still" }, picture, canvas);
    picture.addEventListener("error", () => {
      // TIFF, for one: the figures are there all the same.
      still.replaceChildren(notice("empty", file.name, "This browser cannot show pictures of this kind."));
    });
    choose(0);
    return make(
      "figure",
      { class: "live" },
      make("div", { class: "stage-column" }, still, make("figcaption", { class: "hint" },
        `${file.name} · ${result.width} × ${result.height}`)),
      make("div", { class: "side" }, chips, bars.element),
    );
  }

  updateDownloads() {
    const results = this.items.filter((item) => item.result).map((item) => item.result);
    const download = (write, suffix) => () =>
      save(new Blob([write(results)], { type: "text/plain" }), `pictures.${suffix}`);
    this.downloads.replaceChildren(
      ...(results.length
        ? [button("CSV", download(toCsv, "csv")), button("JSONL", download(toJsonl, "jsonl"))]
        : []),
      button("Clear", () => this.clear(), "quiet"),
    );
  }

  clear() {
    for (const { url } of this.items) URL.revokeObjectURL(url);
    this.items = [];
    this.chosen = -1;
    this.film.replaceChildren();
    this.view.replaceChildren();
    this.place.replaceChildren();
  }
}
