// Videos: sent, followed while the server works, listed, opened, deleted.

import { address, ensureAccess, request } from "./api.js";
import { announce, besides, button, dismissible, make, notice, sureButton } from "./dom.js";
import { percent } from "./expressions.js";
import { follow, OVER } from "./following.js";
import { progressLine } from "./intake.js";
import { Player } from "./player.js";
import { Rows } from "./rows.js";
import { readTable } from "./table.js";
import { upload } from "./upload.js";
import { newestVideos, sent } from "./videos.js";

const PAGE = 50; // videos that the list begins with, and by which it grows
const PLAYABLE_MS = 5000; // until when a browser has said whether it can play a file

export class Jobs {
  /** `place` holds the list of the server's videos, `stage` the ones under way and the open one. */
  constructor(place, stage) {
    this.place = place;
    this.local = new Map(); // job id -> the file it was made from, while the page lives
    this.following = new Set(); // ids of the jobs that are shown on their way
    this.removed = new Set(); // ids of those that the reader has deleted
    this.rows = new Rows("None. Videos that you send appear here.");
    this.older = button("Show older videos", () => this.grow(), "quiet");
    this.under = make("div", { class: "under" });
    this.opened = make("div", {});
    this.turn = 0; // of what is opened: one that is overtaken while it is read is not shown
    this.most = PAGE;
    stage.append(this.under, this.opened);
  }

  /** Send a video, follow it, open it. With `anonymize` faces are hidden in the server's copy. */
  async upload(file, anonymize) {
    const stopper = new AbortController();
    const line = progressLine(file.name, button("Cancel", () => stopper.abort(), "quiet"));
    this.under.append(line.element);
    const said = (share) => line.set(share, `Uploading${share === null ? "" : `, ${percent(share)}`}`);
    said(0);
    try {
      await ensureAccess();
      const job = await upload(`v1/videos?anonymize=${anonymize}`, file, said, stopper.signal);
      line.element.remove();
      this.local.set(job.id, file);
      this.show();
      await this.follow(job);
    } catch (error) {
      line.element.remove();
      if (error.name !== "AbortError") this.complain(file.name, error.message);
    }
  }

  /** Say what went wrong; with `focus` the reader goes on there. */
  complain(name, text, { focus = false } = {}) {
    const box = dismissible("error", name, text);
    this.under.append(box);
    if (focus) box.querySelector("button").focus();
  }

  /** Show how far a job is until it ends; then open it if nothing is open, or say why not. With
   * `focus` the reader begins there. */
  async follow(job, { focus = false } = {}) {
    this.following.add(job.id);
    const stop = () => request(`v1/videos/${job.id}/cancel`, { method: "POST" })
      .catch((error) => this.complain(job.name, error.message));
    const stopper = button("Stop here", stop, "quiet");
    const line = progressLine(job.name, stopper);
    this.under.append(line.element);
    if (focus) stopper.focus();
    const tell = (now) => {
      const frames = now.frame_count ? `${now.frames} of ${now.frame_count}` : now.frames;
      line.set(now.progress, now.state === "waiting" ? "Waiting for its turn" : `${frames} frames read`);
    };
    tell(job);
    let [latest, held] = [null, false];
    try {
      latest = await follow(job.id, tell);
    } catch (error) {
      if (!this.removed.has(job.id)) throw error;
    } finally {
      held = line.element.contains(document.activeElement);
      this.following.delete(job.id);
      line.element.remove();
      this.show();
    }
    if (this.removed.has(job.id)) return; // it is gone because the reader wished it
    if (latest.state === "failed") {
      this.complain(job.name, latest.error, { focus: held });
      return;
    }
    const read = latest.files.includes("results.jsonl"); // not if it was stopped before its turn
    announce(`${job.name} ${read ? "is read" : "was stopped"}`);
    if (!read) return;
    if (this.opened.childElementCount) this.offer(latest, { focus: held });
    else await this.open(latest, { focus: held });
  }

  /** Somebody looks at another one: leave it to them when to open this one. */
  offer(job, { focus = false } = {}) {
    const open = () => {
      box.remove();
      return this.open(job, { focus: true });
    };
    const box = dismissible("empty", `${job.name} is read`, "", button("Open", open));
    this.under.append(box);
    if (focus) box.querySelector("button").focus();
  }

  /** A job with its player, its timeline and its files; with `focus` the reader begins there. */
  async open(job, { focus = false } = {}) {
    this.shut();
    const { turn } = this;
    this.shown = job.id;
    this.opened.replaceChildren(notice("wait", job.name, "Reading the results"));
    const head = make("h2", { tabindex: -1 }, job.name);
    const downloads = make("div", { class: "row downloads" },
      make("span", { class: "hint" }, "Download"), ...job.files.map((name) => this.download(job, name)));
    try {
      const text = await (await request(this.path(job, "results.jsonl"))).text();
      const results = readTable(job.name, text, "jsonl");
      const source = await this.sourceOf(job);
      if (turn !== this.turn) {
        URL.revokeObjectURL(source.url);
        return;
      }
      this.player = new Player(results, source, job.name);
      this.opened.replaceChildren(make("div", { class: "block" }, head, this.player.element, downloads));
    } catch (error) {
      if (turn !== this.turn) return;
      this.opened.replaceChildren(notice("error", job.name, error.message), downloads);
    }
    if (focus) head.focus();
  }

  /** Nothing is open. */
  shut() {
    this.turn += 1;
    this.player?.close();
    this.player = this.shown = null;
    this.opened.replaceChildren();
  }

  /** The reader goes elsewhere. */
  pause() {
    this.player?.pause();
  }

  path(job, name) {
    return `v1/videos/${encodeURIComponent(job.id)}/files/${name}`;
  }

  /** The reader's own file where the browser can play it and faces may be seen, else the server's copy. */
  async sourceOf(job) {
    const file = this.local.get(job.id);
    if (file && !job.anonymize && (await playable(file))) {
      return { url: URL.createObjectURL(file), drawn: false };
    }
    if (job.files.includes("annotated.mp4")) {
      return { url: address(this.path(job, "annotated.mp4")), drawn: true };
    }
    return { url: null, drawn: true };
  }

  download(job, name) {
    const file = `${job.name.replace(/\.\w+$/, "")}.${name}`;
    return make("a", { class: "button", href: address(this.path(job, name)), download: file }, name);
  }

  /** The list of what is on the server. */
  async show() {
    try {
      const { videos, more } = await newestVideos(this.most);
      const { element } = this.rows;
      this.rows.show(videos.map((job) => {
        const known = OVER.includes(job.state) ? job : job.state; // how far it is, is not listed
        const said = JSON.stringify([known, this.following.has(job.id)]);
        return { id: job.id, said, build: () => this.item(job) };
      }));
      if (element.parentElement !== this.place) this.place.replaceChildren(element);
      if (!more) this.older.remove();
      else if (this.older.parentElement !== this.place) this.place.append(this.older);
    } catch (error) {
      const again = button("Try again", () => this.show());
      this.place.replaceChildren(notice("error", "The list cannot be read", error.message, again));
    }
  }

  grow() {
    this.most += PAGE;
    return this.show();
  }

  item(job) {
    const over = OVER.includes(job.state);
    const followed = this.following.has(job.id);
    const states = { done: [], failed: ["failed"], cancelled: ["stopped early"] };
    const said = [
      ...(followed ? ["under way"] : states[job.state] ?? [job.state]),
      ...(over ? [`${job.frames} frames`] : []),
      ...(job.anonymize ? ["faces hidden"] : []),
      sent(job),
    ];
    const readable = job.files.includes("results.jsonl");
    const follow = (event) => {
      event.target.remove();
      this.rows.forget(job.id);
      this.follow(job, { focus: true }).catch((error) => this.complain(job.name, error.message));
    };
    return make("li", {},
      make("div", { class: "grow" }, make("p", { class: "notice-title" }, job.name),
        make("p", { class: "hint" }, said.join(" · ")),
        job.error ? make("p", { class: "doubt" }, besides(job.name, job.error)) : null),
      make("div", { class: "row", role: "group", "aria-label": job.name },
        over && readable ? button("Open", () => this.open(job, { focus: true })) : null,
        over || followed ? null : button("Follow", follow),
        sureButton("Delete", "Delete for good?", () => this.remove(job))));
  }

  async remove(job) {
    this.removed.add(job.id);
    try {
      await request(`v1/videos/${job.id}`, { method: "DELETE" });
      if (job.id === this.shown) this.shut();
      announce(`${job.name} is deleted`);
    } catch (error) {
      this.removed.delete(job.id);
      this.complain(job.name, error.message);
    }
    await this.show();
  }
}

/** Whether this browser can play a file. Phones load no picture unasked: what is known in time counts. */
function playable(file) {
  const video = document.createElement("video");
  const url = URL.createObjectURL(file);
  return new Promise((resolve) => {
    const end = (good) => {
      URL.revokeObjectURL(url);
      resolve(good);
    };
    video.onloadeddata = () => end(video.videoWidth > 0);
    video.onerror = () => end(false);
    setTimeout(() => end(video.videoWidth > 0), PLAYABLE_MS);
    video.muted = true;
    video.preload = "auto";
    video.src = url;
  });
}
