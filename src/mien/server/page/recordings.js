// The list of recorded sessions: rename, download, delete. Below the live view.

import { request } from "./api.js";
import { choose } from "./compare.js";
import { announce, ask, button, dismissible, get, make, notice, save, sureButton } from "./dom.js";
import { clock } from "./expressions.js";
import { Recording } from "./recorder.js";
import { Rows } from "./rows.js";
import { deleteSession, keepSession, listSessions, sessionResults } from "./store.js";
import { csvParts, jsonlParts } from "./table.js";

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
    this.warning = make("div", {});
    this.rows = new Rows("None yet. Press Record while the camera runs.");
    place.append(this.said, this.warning, this.rows.element);
    this.running = new Set(); // ids of recordings that go on: not to be changed yet
    this.unkept = new Map(); // recordings that the browser cannot keep: alive while the page is
  }

  begin() {
    get("recording-badge").hidden = false;
    const recording = new Recording();
    this.running.add(recording.head.id);
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
    this.running.delete(recording.head.id);
    await this.show();
  }

  async show() {
    let kept = [];
    try {
      kept = await listSessions();
    } catch {
      // Storage may be forbidden: what is recorded is then listed as not kept.
    }
    const unkept = [...this.unkept.values()].map(({ head }) => head);
    // Of one that could not be kept there may be a beginning that was.
    kept = kept.filter(({ id }) => !this.running.has(id) && !this.unkept.has(id));
    if (!unkept.length) this.warning.replaceChildren();
    else if (!this.warning.childElementCount) {
      this.warning.append(notice("error", "This browser keeps nothing",
        "Download a recording before you leave the page."));
    }
    this.rows.show([...unkept, ...kept].map((head) => (
      { id: head.id, said: JSON.stringify(head), build: () => this.item(head) })));
  }

  complain(title, text) {
    this.said.append(dismissible("error", title, text));
  }

  item(head) {
    const name = make("input", { class: "name", value: head.name, "aria-label": "Name of the recording" });
    const tools = make("div", { class: "row", role: "group", "aria-label": head.name },
      button("CSV", () => this.download(head, "csv")),
      button("JSONL", () => this.download(head, "jsonl")),
      button("Report", () => this.report(head)),
      this.unkept.has(head.id) ? null : make("a",
        { class: "button", href: "#compare", on: { click: () => choose(head.id) } }, "Compare"),
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
    try {
      const results = await this.resultsOf(head);
      const parts = suffix === "csv" ? csvParts(results) : jsonlParts(results);
      save(new Blob(parts, { type: "text/plain" }), `${fileName(head)}.${suffix}`);
    } catch (error) {
      this.complain("No download", error.message);
    }
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
      const parts = jsonlParts(await this.resultsOf(head));
      const body = new FormData();
      body.append("file", new Blob(parts), `${fileName(head)}.jsonl`);
      const path = `v1/reports?${new URLSearchParams(wanted)}`;
      const answer = await request(path, { method: "POST", body, signal: stopper.signal });
      save(await answer.blob(), `${fileName(head)}.html`);
      box.remove();
      announce("The report is made");
    } catch (error) {
      box.remove();
      if (error.name !== "AbortError") this.complain("No report", error.message);
    }
  }

  async rename(head, name) {
    head.name = name;
    if (this.unkept.has(head.id)) return;
    try {
      await keepSession(head);
    } catch (error) {
      this.complain("The name is not kept", error.message);
    }
  }

  async remove(head) {
    const unkept = this.unkept.delete(head.id);
    const error = await deleteSession(head.id).then(() => null, (found) => found);
    if (error && !unkept) this.complain(`${head.name} is not deleted`, error.message);
    else announce(`${head.name} is deleted`);
    await this.show();
  }
}

/** For whom a report is and what for: resolves to `{view, purpose}`, or to null. */
function askForReport(name) {
  get("report-name").textContent = name;
  return ask("report", () => (
    { view: get("report-view").value, purpose: get("report-purpose").value.trim() }));
}
