// The list of recorded sessions: rename, download, delete. Below the live view.

import { request } from "./api.js";
import { choose } from "./compare.js";
import { announce, ask, button, dismissible, get, make, notice, save, sureButton } from "./dom.js";
import { clock } from "./expressions.js";
import { Recording } from "./recorder.js";
import { deleteSession, keepSession, listSessions, sessionResults } from "./store.js";
import { toCsv, toJsonl } from "./table.js";

/** Bring the list to life. */
export function startRecordings() {
  const list = new Recordings(get("recordings"));
  list.show();
  return list;
}

/** A recording's name as that of a file. */
function fileName(head) {
  return head.name.replace(/[^\p{L}\p{N}.-]+/gu, "-");
}

class Recordings {
  constructor(place) {
    this.said = make("div", {}); // reports that are being made, and those that failed
    this.list = make("div", {});
    place.append(this.said, this.list);
    this.unkept = new Map(); // recordings that the browser cannot keep: alive while the page is
  }

  begin() {
    get("recording-badge").hidden = false;
    const recording = new Recording();
    this.tick(recording);
    return recording;
  }

  /** Show how long it has been recording. */
  tick(recording) {
    const { seconds, frames } = recording.head;
    get("recording-badge").lastElementChild.textContent = `${clock(seconds)} · ${frames} frames`;
  }

  async end(recording) {
    get("recording-badge").hidden = true;
    await recording.end();
    if (recording.trouble && recording.results.length) this.unkept.set(recording.head.id, recording);
    await this.show();
  }

  async show() {
    let kept = [];
    try {
      kept = await listSessions();
    } catch {
      // Storage may be forbidden: what is recorded is then listed as not kept.
    }
    const unkept = [...this.unkept.values()];
    const items = [...unkept.map(({ head }) => this.item(head)), ...kept.map((head) => this.item(head))];
    const warning = unkept.length
      ? [notice("error", "This browser keeps nothing", "Download a recording before you leave the page.")]
      : [];
    const empty = make("p", { class: "empty-line" }, "None yet. Press Record while the camera runs.");
    this.list.replaceChildren(
      ...warning,
      items.length ? make("ul", { class: "list" }, ...items) : empty,
    );
  }

  item(head) {
    const name = make("input", { class: "name", value: head.name, "aria-label": "Name of the recording" });
    const tools = make("div", { class: "row", role: "group", "aria-label": head.name },
      button("CSV", () => this.download(head, "csv")),
      button("JSONL", () => this.download(head, "jsonl")),
      button("Report", () => this.report(head)),
      make("a", { class: "button", href: "#compare", on: { click: () => choose(head.id) } }, "Compare"),
      sureButton("Delete", "Delete for good?", () => this.remove(head)));
    name.addEventListener("change", () => {
      name.value = name.value.trim() || head.name; // without a name it keeps its old one
      tools.setAttribute("aria-label", name.value);
      return this.rename(head, name.value);
    });
    const faces = `${head.faces} ${head.faces === 1 ? "face" : "faces"}`;
    return make(
      "li",
      {},
      make("div", { class: "grow" }, name,
        make("p", { class: "hint" }, `${clock(head.seconds)} · ${head.frames} frames · ${faces}`)),
      tools,
    );
  }

  async resultsOf(head) {
    const results = this.unkept.get(head.id)?.results ?? (await sessionResults(head.id));
    return results.map((result) => ({ ...result, source: head.name }));
  }

  async download(head, suffix) {
    const results = await this.resultsOf(head);
    const text = suffix === "csv" ? toCsv(results) : toJsonl(results);
    save(new Blob([text], { type: "text/plain" }), `${fileName(head)}.${suffix}`);
  }

  /** Have the server make a page of it, which it does not keep. */
  async report(head) {
    const wanted = await askForReport(head.name);
    if (!wanted) return;
    const stopper = new AbortController();
    const box = make("div", {}, notice("wait", "Making the report", head.name,
      button("Cancel", () => stopper.abort(), "quiet")));
    this.said.append(box);
    announce("Making the report");
    try {
      // Line by line: all of it would be one very long text.
      const lines = (await this.resultsOf(head)).map((result) => toJsonl([result]));
      const body = new FormData();
      body.append("file", new Blob(lines), `${fileName(head)}.jsonl`);
      const path = `v1/reports?${new URLSearchParams(wanted)}`;
      const answer = await request(path, { method: "POST", body, signal: stopper.signal });
      save(await answer.blob(), `${fileName(head)}.html`);
      box.remove();
      announce("The report is made");
    } catch (error) {
      box.remove();
      if (error.name !== "AbortError") this.said.append(dismissible("error", "No report", error.message));
    }
  }

  async rename(head, name) {
    head.name = name;
    if (!this.unkept.has(head.id)) await keepSession(head);
  }

  async remove(head) {
    if (!this.unkept.delete(head.id)) await deleteSession(head.id);
    await this.show();
  }
}

/** For whom a report is and what for: resolves to `{view, purpose}`, or to null. */
function askForReport(name) {
  get("report-name").textContent = name;
  return ask("report", () => (
    { view: get("report-view").value, purpose: get("report-purpose").value.trim() }));
}
