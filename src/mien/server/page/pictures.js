// Pictures: sent one by one, shown with their faces, and kept together as one table.

import { request } from "./api.js";
import { Bars } from "./bars.js";
import { announce, button, make, notice, save } from "./dom.js";
import { nameOf, percent } from "./expressions.js";
import { progressLine } from "./intake.js";
import { drawFaces, faceAt } from "./overlay.js";
import { csvParts, jsonlParts } from "./table.js";

const TRIES = 24; // of a picture for which the server has no room: two minutes

export class Pictures {
  constructor(place) {
    this.place = place;
    this.progress = progressLine("Reading pictures",
      button("Stop here", () => this.stop(), "quiet"));
    this.view = make("div", {});
    this.film = make("div", { class: "film", role: "group", "aria-label": "Pictures" });
    this.downloads = make("div", { class: "row" });
    this.element = make("div", { class: "block" },
      this.progress.element, this.view, this.film, this.downloads);
    this.queue = Promise.resolve(); // one batch after the other
    this.clear();
  }

  /** Forget all pictures; one that is being read is not waited for. */
  clear() {
    for (const { url } of this.items ?? []) URL.revokeObjectURL(url);
    this.items = []; // {file, url, thumb, result, error}
    this.chosen = null;
    this.watcher?.disconnect();
    this.progress.element.hidden = true;
    for (const part of [this.view, this.film, this.downloads]) part.replaceChildren();
    this.element.remove();
  }

  /** Leave out those that wait; what was read stays. */
  stop() {
    const waiting = this.items.filter(({ result, error }) => !result && !error);
    for (const { url, thumb } of waiting) {
      URL.revokeObjectURL(url);
      thumb.remove();
    }
    this.items = this.items.filter((item) => !waiting.includes(item));
    if (!this.items.length) {
      this.clear();
      return;
    }
    if (waiting.includes(this.chosen)) this.show(this.items[0]);
    this.progress.element.hidden = true;
    this.updateDownloads();
  }

  /** Analyse more pictures; one that fails does not cost the others their results. */
  add(files) {
    const items = files.map((file) => this.item(file));
    this.items.push(...items);
    this.film.append(...items.map(({ thumb }) => thumb));
    this.film.hidden = this.items.length < 2;
    this.place.append(this.element);
    this.queue = this.queue.then(() => this.work(new Batch(items, this))).catch(reportError);
  }

  item(file) {
    const item = { file, url: URL.createObjectURL(file) };
    const blank = (event) => event.target.replaceWith(make("span", { class: "blank" }));
    item.thumb = make(
      "button",
      { type: "button", class: "thumb waiting", on: { click: () => this.show(item) } },
      make("img", { src: item.url, alt: "", on: { error: blank } }),
      make("span", {}, file.name),
    );
    return item;
  }

  async work(batch) {
    await batch.read((item) => {
      this.label(item);
      if (!this.chosen || item === this.chosen) this.show(item);
    });
    if (!batch.left.length) return; // cleared away
    announce(batch.outcome());
    this.updateDownloads();
  }

  label({ thumb, result, error }) {
    thumb.classList.remove("waiting");
    thumb.classList.toggle("failed", Boolean(error));
    thumb.append(make("em", {}, error ? "failed" : inShort(result.faces)));
  }

  show(item) {
    for (const one of this.items) one.thumb.setAttribute("aria-pressed", one === item);
    this.chosen = item;
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
    let chosen = 0;
    const choose = (index) => {
      if (index >= 0) chosen = index;
      const face = result.faces[chosen];
      drawFaces(canvas, result, { chosen });
      bars.show(face, face ? nameOf(face, chosen) : "", "No face found");
      [...chips.children].forEach((chip, i) => chip.setAttribute("aria-pressed", i === chosen));
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
      make("div", { class: "side" }, bars.element, chips),
    );
  }

  updateDownloads() {
    const results = this.items.filter((item) => item.result).map((item) => item.result);
    const download = (write, suffix) => () =>
      save(new Blob(write(results), { type: "text/plain" }), `pictures.${suffix}`);
    this.downloads.replaceChildren(
      ...(results.length
        ? [button("CSV", download(csvParts, "csv")), button("JSONL", download(jsonlParts, "jsonl"))]
        : []),
      button("Clear", () => this.clear(), "quiet"),
    );
  }
}

/** What a picture shows, in the few words that a small one has room for. */
function inShort([face, ...others]) {
  if (!face) return "no face";
  if (others.length) return `${others.length + 1} faces`;
  return `${face.expression}${face.uncertain ? "?" : ""} ${percent(face.confidence)}`;
}

/** Pictures that came together; those that are cleared away meanwhile are left out. */
class Batch {
  constructor(items, room) {
    this.items = items;
    this.room = room;
  }

  /** Those that are still wanted. */
  get left() {
    return this.items.filter((item) => this.room.items.includes(item));
  }

  /** Read one after the other; calls `done(item)` for each. */
  async read(done) {
    const { progress } = this.room;
    for (const [n, item] of this.items.entries()) {
      if (!this.left.includes(item)) continue;
      const share = n / this.items.length;
      const place = `${n + 1} of ${this.items.length}: ${item.file.name}`;
      progress.set(share, place);
      progress.element.hidden = false;
      await this.analyse(item, (text) => progress.set(share, `${place}. ${text}`));
      if (this.left.includes(item)) done(item);
    }
    progress.element.hidden = true;
  }

  /** Send a picture, again and again while the server has no room for it. */
  async analyse(item, say) {
    const form = new FormData();
    form.append("file", item.file, item.file.name);
    for (let tries = 1; this.left.includes(item); tries += 1) {
      try {
        const result = await (await request("v1/analyze", { method: "POST", body: form })).json();
        item.result = { ...result, source: item.file.name };
        return;
      } catch (error) {
        if (error.status !== 503 || tries === TRIES) {
          item.error = error.message;
          return;
        }
        say(`The server is busy: sent again in ${error.retry_s} s`);
        await new Promise((go) => setTimeout(go, 1000 * error.retry_s));
      }
    }
  }

  outcome() {
    const failed = this.left.filter((item) => item.error).length;
    const good = this.left.length - failed;
    const read = `${good} ${good === 1 ? "picture" : "pictures"} read`;
    return failed ? `${read}, ${failed} failed` : read;
  }
}
