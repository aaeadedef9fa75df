// A video with its faces: the picture, what the chosen face shows, and a timeline to jump along.

import { Bars } from "./bars.js";
import { areas, legend, shareText, timeAxis } from "./chart.js";
import { make, notice } from "./dom.js";
import { clock, colourOf, inkOn, labelsOf, percent } from "./expressions.js";
import { drawFaces } from "./overlay.js";
import { findSegments } from "./segments.js";
import { curve, facesOf, summarise } from "./summary.js";

const MOST = 12; // faces with a row, those longest in sight
const NEAR_S = 0.25; // an answer holds for so long, or longer where frames are rare

/** The player of one video. `source` is `{url, drawn}`: drawn where boxes are in the picture already. */
export class Player {
  constructor(results, source, name) {
    this.results = results;
    this.labels = labelsOf(results);
    this.faces = facesOf(results).slice(0, MOST);
    this.face = this.faces[0]?.number ?? null;
    this.drawn = source.drawn;
    this.begin_s = results[0]?.time_s ?? 0;
    this.end_s = Math.max(results.at(-1)?.time_s ?? 0, this.begin_s + 0.001);
    this.url = source.url;
    this.video = make("video", {
      src: source.url, controls: true, playsinline: true, preload: "auto", "aria-label": name,
    });
    this.canvas = make("canvas", { class: "through", "aria-hidden": "true" });
    const still = source.url
      ? make("div", { class: "still wide" }, this.video, this.canvas)
      : notice("empty", "No picture", "There is no copy of this video to play; its figures are below.");
    this.bars = new Bars();
    this.heads = [];
    this.element = make("div", {},
      make("div", { class: "live" },
        make("div", { class: "stage-column" }, still),
        make("div", { class: "side" }, this.bars.element)),
      this.timeline());
    this.video.addEventListener("loadedmetadata", () => {
      still.style.maxWidth = `calc(72vh * ${this.video.videoWidth / this.video.videoHeight})`;
    });
    for (const event of ["seeked", "loadeddata", "timeupdate"]) {
      this.video.addEventListener(event, () => this.draw());
    }
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this.canvas);
    this.follow();
  }

  /** Draw with every frame that is shown, where the browser tells. */
  follow() {
    this.video.requestVideoFrameCallback?.((_, { mediaTime }) => {
      this.draw(mediaTime);
      if (this.video.isConnected) this.follow();
    });
  }

  pause() {
    this.video.pause();
  }

  close() {
    this.watcher.disconnect();
    this.video.removeAttribute("src");
    this.video.load();
    if (String(this.url).startsWith("blob:")) URL.revokeObjectURL(this.url);
  }

  draw(time_s = this.video.currentTime) {
    const frame = this.frameAt(time_s);
    const index = frame ? frame.faces.findIndex((face) => face.track_id === this.face) : -1;
    drawFaces(this.canvas, this.drawn ? null : frame, { chosen: index });
    this.bars.show(frame?.faces[index], this.face === null ? "" : `Face ${this.face}`,
      this.face === null ? "No face in this video" : "Not in sight");
    const share = (time_s - this.begin_s) / (this.end_s - this.begin_s);
    for (const head of this.heads) head.style.left = `${100 * Math.min(1, Math.max(0, share))}%`;
  }

  /** The answer that holds at a time, found by halving. */
  frameAt(time_s) {
    let [low, high] = [0, this.results.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.results[middle].time_s <= time_s + 0.001) low = middle + 1;
      else high = middle;
    }
    const before = this.results[Math.max(0, low - 1)];
    const near = Math.max(NEAR_S, (1.5 * (this.end_s - this.begin_s)) / this.results.length);
    return before && Math.abs(before.time_s - time_s) <= near ? before : null;
  }

  jump(time_s, face) {
    this.choose(face);
    this.video.currentTime = time_s;
    this.draw(time_s);
  }

  choose(number) {
    this.face = number;
    for (const row of this.element.querySelectorAll(".face-row")) {
      const own = Number(row.dataset.face) === number;
      row.querySelector(".chip").setAttribute("aria-pressed", own);
    }
    this.draw();
  }

  timeline() {
    const segments = findSegments(this.results);
    const rows = this.faces.map(({ number, seen_s }) =>
      this.row(number, seen_s, segments.filter((segment) => segment.track_id === number)));
    if (!rows.length) return make("p", { class: "hint" }, "No face was found in this video.");
    return make("div", { class: "timeline" },
      make("p", { class: "hint" },
        "Press a stretch to jump to it; with the keyboard, arrow keys go from one to the next."),
      ...rows, timeAxis(this.begin_s, this.end_s), legend(this.labels));
  }

  /** One face: its name, its probabilities over time, its segments as buttons. */
  row(number, seen_s, segments) {
    const { labels, results, begin_s, end_s } = this;
    const own = results.map((result) =>
      ({ ...result, faces: result.faces.filter((face) => face.track_id === number) }));
    const points = curve(own, labels, { points: 300, begin_s, end_s });
    const picture = areas(points, labels, `Face ${number} over time`);
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      this.jump(begin_s + ((event.clientX - box.left) / box.width) * (end_s - begin_s), number);
    });
    const head = make("i", { class: "playhead", "aria-hidden": "true" });
    this.heads.push(head);
    const buttons = segments.map((segment, i) => this.segment(segment, number, i === 0));
    const band = make("div", { class: "band", role: "group", "aria-label": `Stretches of face ${number}` },
      ...buttons);
    band.addEventListener("keydown", (event) => rove(event, buttons));
    const chosen = String(number === this.face);
    const pick = make("button", { type: "button", class: "chip", "aria-pressed": chosen,
      on: { click: () => this.choose(number) } }, `Face ${number}`);
    return make("div", { class: "face-row", "data-face": number },
      make("p", { class: "row" }, pick,
        make("span", { class: "hint" }, `${clock(seen_s)} in sight · ${shareText(summarise(own))}`)),
      make("div", { class: "track" }, picture, band, head));
  }

  segment(segment, number, first) {
    const { expression, start_s, end_s, mean } = segment;
    const words = `${expression}, ${clock(start_s)} to ${clock(end_s)}, ${percent(mean)} on average`;
    const length = this.end_s - this.begin_s;
    const button = make("button", {
      type: "button", class: "segment", title: words, "aria-label": words, tabindex: first ? 0 : -1,
      on: { click: () => this.jump(start_s, number) },
    }, expression);
    button.style.left = `${(100 * (start_s - this.begin_s)) / length}%`;
    button.style.width = `${(100 * (end_s - start_s)) / length}%`;
    button.style.background = colourOf(expression);
    button.style.color = inkOn(expression);
    return button;
  }
}

/** Arrow keys within a row of buttons, of which one is in the order of tabs. With another key they are
 * the browser's: Alt and the left arrow lead back. */
function rove(event, buttons) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const at = buttons.indexOf(document.activeElement);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (at < 0 || to === undefined || !buttons[to]) return;
  event.preventDefault();
  buttons[at].tabIndex = -1;
  buttons[to].tabIndex = 0;
  buttons[to].focus();
}
