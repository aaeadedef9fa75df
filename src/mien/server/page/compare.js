// The room to compare sessions, or groups of them: recordings of this browser, videos of the server,
// dropped tables.

import { request } from "./api.js";
import { areas, legend, shareBar, shareText, swatch, timeAxis } from "./chart.js";
import { announce, button, get, make, notice } from "./dom.js";
import { clock, percent } from "./expressions.js";
import { takeDrops } from "./intake.js";
import { listSessions, sessionResults } from "./store.js";
import { curve, meanCurve, meanSummary, summarise } from "./summary.js";
import { readTable, recordingsOf } from "./table.js";
import { newestVideos, sent } from "./videos.js";

const PAGE = 50; // videos of the server that the list begins with, and by which it grows
const chosen = new Set(); // the ids of the sessions that are compared

/** Have a session be one of those that are compared. */
export function choose(id) {
  chosen.add(id);
}

/** Bring the room to life. */
export function startCompare() {
  const room = new Compare();
  return { enter: () => room.list() };
}

/** Its sessions are `{id, name, hint, load}`, with `results` and `summary` once they are loaded. */
class Compare {
  constructor() {
    this.dropped = [];
    this.sessions = [];
    this.groups = new Map(); // session id -> the group it was put into
    this.names = make("datalist", { id: "groups" });
    this.listed = make("ul", { class: "list choices" });
    this.trouble = make("div", {});
    this.most = PAGE;
    this.older = button("Show older videos", () => this.grow(), "quiet");
    const input = make("input", {
      type: "file", class: "unseen", multiple: true, accept: ".jsonl,.json,.csv",
      on: {
        change: (event) => {
          this.take([...event.target.files]);
          event.target.value = ""; // the same file may be chosen again
        },
      },
    });
    const drop = make("div", { class: "drop small" },
      make("p", {}, "Drop tables that mien wrote (.jsonl, .json, .csv)"),
      make("label", { class: "button" }, "Choose tables", input));
    get("compare-choice").append(
      make("fieldset", { class: "plain" }, make("legend", {}, "Sessions"), this.listed, this.older,
        this.names),
      drop, this.trouble);
    takeDrops(get("compare"), drop, (files) => this.take(files));
  }

  /** Read dropped tables; one that cannot be read does not cost the others theirs. */
  async take(files) {
    this.trouble.replaceChildren();
    for (const file of files) {
      try {
        for (const { name, results } of sessionsOf(file.name, readTable(file.name, await file.text()))) {
          const id = `file:${crypto.randomUUID?.() ?? Math.random()}`;
          const hint = `${results.length} frames, from a file`;
          this.dropped.push({ id, name, hint, load: async () => results });
          chosen.add(id);
        }
      } catch (error) {
        this.trouble.append(notice("error", file.name, error.message));
      }
    }
    await this.list();
  }

  /** Everything there is to choose from. */
  async list() {
    const [recorded, { videos, more }] = await Promise.all([recordings(), serverVideos(this.most)]);
    this.older.hidden = !more;
    const known = new Map(this.sessions.map((session) => [session.id, session]));
    this.sessions = [...recorded, ...videos, ...this.dropped].map((session) =>
      Object.assign(known.get(session.id) ?? session, { name: session.name, hint: session.hint }));
    this.listed.replaceChildren(...this.sessions.map((session) => this.choice(session)));
    if (!this.sessions.length) {
      this.listed.append(make("li", { class: "empty-line" },
        "Nothing yet: record a session under Live, have a video read under Files, or drop a table."));
    }
    await this.show();
  }

  grow() {
    this.most += PAGE;
    return this.list();
  }

  choice(session) {
    const box = make("input", {
      type: "checkbox", checked: chosen.has(session.id),
      on: { change: () => this.toggle(session.id, box.checked, group) },
    });
    const name = make("input", {
      type: "text", list: "groups", autocomplete: "off", maxlength: 60, placeholder: "its own",
      value: this.groups.get(session.id) ?? "",
      on: { change: () => this.put(session.id, name.value.trim()) },
    });
    const group = make("label", { class: "pick", hidden: !box.checked },
      make("span", {}, "Group", make("span", { class: "unseen" }, ` of ${session.name}`)), name);
    const label = make("label", {}, box,
      make("span", { class: "grow" }, session.name), make("span", { class: "hint" }, session.hint));
    return make("li", {}, label, group);
  }

  toggle(id, on, group) {
    group.hidden = !on;
    if (on) chosen.add(id);
    else chosen.delete(id);
    return this.show();
  }

  put(id, group) {
    if (group) this.groups.set(id, group);
    else this.groups.delete(id);
    return this.show();
  }

  /** Load what was chosen and set it side by side. */
  async show() {
    const wanted = this.sessions.filter(({ id }) => chosen.has(id));
    const names = new Set(this.groups.values());
    this.names.replaceChildren(...[...names].map((value) => make("option", { value })));
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const note = get("compare-note");
    if (wanted.length < 2) {
      const text = wanted.length ? "Choose one more." : "Choose two or more sessions above.";
      note.replaceChildren(notice("empty", "Nothing to compare yet", text));
      get("comparison").replaceChildren();
      return;
    }
    note.replaceChildren(notice("wait", "Reading the sessions…", ""));
    const problems = [];
    for (const session of wanted) {
      try {
        session.results ??= await session.load();
        session.summary ??= summarise(session.results);
      } catch (error) {
        problems.push(notice("error", session.name, error.message));
      }
    }
    if (turn !== this.turn) return; // the choice has changed meanwhile
    note.replaceChildren(...problems);
    const ready = wanted.filter(({ summary }) => summary);
    const columns = columnsOf(ready, this.groups);
    get("comparison").replaceChildren(...(ready.length ? comparison(columns) : []));
    const groups = columns.length < ready.length ? ` in ${columns.length} groups` : "";
    announce(`${ready.length} sessions${groups} side by side`);
  }
}

/** The sessions of a table: each of its videos, and all of its pictures together. */
function sessionsOf(name, table) {
  const recordings = recordingsOf(table);
  const sessions = recordings.filter((frames) => frames.length > 1).map((results) =>
    ({ name: `${name}: ${lastPart(results[0].source)}`, results }));
  const pictures = recordings.filter((frames) => frames.length === 1).flat();
  if (pictures.length) sessions.push({ name: `${name}: pictures`, results: pictures });
  return sessions.length > 1 ? sessions : [{ name, results: table }];
}

/** A source without its folders, nor what an address tells to its server alone. */
function lastPart(source) {
  const isAddress = source.includes("://");
  const path = isAddress ? source.split("?")[0] : source.replaceAll("\\", "/");
  const last = path.replace(/\/+$/, "").split("/").at(-1);
  return isAddress ? last.split("@").at(-1) : last;
}

async function recordings() {
  try {
    return (await listSessions()).map(({ id, name, seconds, frames }) => ({
      id, name, hint: `${clock(seconds)}, ${frames} frames, recorded here`,
      load: async () => (await sessionResults(id)).map((result) => ({ ...result, source: name })),
    }));
  } catch {
    return []; // storage may be forbidden
  }
}

async function serverVideos(count) {
  try {
    const { videos, more } = await newestVideos(count);
    const read = videos.filter(({ files }) => files.includes("results.jsonl")).map((job) => ({
      id: job.id, name: job.name, hint: `${job.frames} frames, video sent ${sent(job)}`,
      load: async () => {
        const text = await (await request(`v1/videos/${job.id}/files/results.jsonl`)).text();
        return readTable("results.jsonl", text);
      },
    }));
    return { videos: read, more };
  } catch {
    return { videos: [], more: false }; // the other sessions can be compared all the same
  }
}

/**
 * What stands side by side: `{title, grouped, sessions, summary}`, the means of a group's sessions. A
 * session without a group is one of its own.
 */
function columnsOf(sessions, groups) {
  const columns = new Map();
  for (const session of sessions) {
    const group = groups.get(session.id);
    const key = group ? `group:${group}` : session.id;
    if (!columns.has(key)) columns.set(key, { group, sessions: [] });
    columns.get(key).sessions.push(session);
  }
  return [...columns.values()].map(({ group, sessions: members }) => {
    const summary = meanSummary(members.map((member) => member.summary));
    const { n, seen } = summary;
    const counted = `n = ${n}${seen < n ? `, ${seen} with a face` : ""}`;
    const title = group ? `${group} (${counted})` : members[0].name;
    return { title, grouped: Boolean(group), sessions: members, summary };
  });
}

function comparison(columns) {
  const labels = [...new Set(columns.flatMap(({ summary }) => summary.labels))];
  const means = columns.some(({ grouped }) => grouped)
    ? make("p", { class: "hint" }, "Of a group: means over its n sessions, each of which counts once.")
    : null;
  return [
    block("What was shown", means, sharesOf(columns), legend(labels, "hatched")),
    block("Over time", ...timesOf(columns)),
    block("In figures", figuresOf(columns, labels)),
  ];
}

function block(title, ...content) {
  return make("div", { class: "block" }, make("h2", {}, title), ...content);
}

function sharesOf(columns) {
  return make("ul", { class: "shares" }, ...columns.map(({ title, summary }) =>
    make("li", {},
      make("p", {}, make("strong", {}, title), " ",
        make("span", { class: "hint" }, shareText(summary))),
      shareBar(summary))));
}

/** One drawing a session or group, all on the same clock. */
function timesOf(columns) {
  const timed = ({ sessions }) => sessions.filter(({ summary }) => summary.unit === "time");
  const moving = columns.filter((column) => timed(column).length);
  if (!moving.length) return [make("p", { class: "hint" }, "Pictures have no time.")];
  const lengths = moving.flatMap(timed).map(({ summary }) => summary.end_s - summary.begin_s);
  const longest = Math.max(...lengths, 0.1);
  const rows = moving.map((column) => {
    const { title, summary } = column;
    const curves = timed(column).map(({ results, summary: { begin_s } }) =>
      curve(results, summary.labels, { points: 300, begin_s, end_s: begin_s + longest }));
    return make("div", { class: "time-row" }, make("p", {}, title),
      areas(meanCurve(curves), summary.labels, `${title} over time: ${shareText(summary)}`));
  });
  return [...rows, timeAxis(0, longest)];
}

function figuresOf(columns, labels) {
  const share = (summary, label) =>
    label === "uncertain" ? summary.uncertain : (summary.shares[label] ?? 0);
  const two = columns.length === 2 ? columns.map(({ summary }) => summary) : null;
  const row = (label) => {
    const cells = columns.map(({ summary }) => {
      const p = share(summary, label);
      return make("td", { class: p ? null : "muted" }, percent(p));
    });
    if (two) cells.push(make("td", {}, points(share(two[1], label) - share(two[0], label))));
    return make("tr", {}, make("th", { scope: "row" }, swatch(label), label), ...cells);
  };
  const plain = (title, say) => make("tr", { class: "foot-row" }, make("th", { scope: "row" }, title),
    ...columns.map(({ summary }) => make("td", {}, say(summary))), two ? make("td", {}) : null);
  const count = (number) => number.toLocaleString("en", { maximumFractionDigits: 1 });
  const heads = ["Expression", ...columns.map(({ title }) => title), ...(two ? ["Difference"] : [])];
  return make("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": "In figures" },
    make("table", {},
      make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, ...[...labels, "uncertain"].map(row),
        plain("Length", (s) => (s.unit === "time" ? clock(s.end_s - s.begin_s) : "–")),
        plain("Time in sight", (s) => (s.unit === "time" ? clock(s.total) : "–")),
        plain("Frames", (s) => count(s.frames)),
        plain("Faces", (s) => count(s.faces)))));
}

/** A difference in percentage points: "+12", "−3". */
function points(difference) {
  const whole = Math.round(100 * difference);
  return `${whole > 0 ? "+" : whole < 0 ? "−" : "±"}${Math.abs(whole)}`;
}
