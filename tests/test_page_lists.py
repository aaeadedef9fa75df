"""The lists of the server's page in Chromium: videos and recordings that come, change and go."""

from __future__ import annotations

from typing import Final

import pytest

from mien.types import EXPRESSIONS
from tests.browsing import Visit

pytest.importorskip("playwright.sync_api", reason="needs playwright (the extra dev)")
for module in ("fastapi", "uvicorn", "websockets"):
    pytest.importorskip(module, reason="needs the extra server")

#: A list of three, the second of which is about to be deleted; what becomes of it and of the focus.
ROWS: Final = """async () => {
  const { Rows } = await import("/page/rows.js");
  const { make, sureButton } = await import("/page/dom.js");
  const rows = new Rows("Nothing");
  document.body.append(rows.element);
  const show = (...said) => rows.show(said.map((text) => ({ id: text[0], said: text, build: () =>
    make("li", {}, make("input", {}), sureButton("Delete", "For good?", () => {})) })));
  const focused = () => document.activeElement;
  const at = () => [...rows.list.children].findIndex((row) => row.contains(focused()));
  show("a", "b", "c");
  const armed = rows.list.children[1].querySelector("button");
  armed.focus();
  armed.click();
  show("d", "a changed", "b", "c");
  const seen = [focused() === armed, armed.textContent, at()];
  show("d", "a changed", "b changed", "c"); // another row, which asks anew
  seen.push(at(), focused().textContent);
  const deleted = (...left) => {
    focused().click();
    focused().click();
    show(...left);
    return [at(), focused().textContent];
  };
  seen.push(...deleted("d", "a changed", "c"), ...deleted("d", "a changed"), ...deleted());
  return seen;
}"""


def test_a_list_that_is_shown_anew_keeps_the_readers_place(visit: Visit) -> None:
    assert visit.open("files").evaluate(ROWS) == [
        True, "For good?", 2, 2, "Delete", 2, "Delete", 1, "Delete", -1, "Nothing",
    ]  # fmt: skip


#: A video under way that its reader deletes: what the page complains of and says aloud, and what
#: has the focus.
REMOVED: Final = """async () => {
  let there = true;
  const job = { id: "1", name: "one.mp4", state: "running", progress: 0, frames: 3, files: [],
    created_s: 0 };
  window.fetch = async ({ pathname: path }, { method } = {}) => {
    if (method === "DELETE") {
      there = false;
      await new Promise((wait) => setTimeout(wait, 1500)); // it is asked for meanwhile
      return new Response(null, { status: 204 });
    }
    if (path.endsWith("videos")) return Response.json({ videos: there ? [job] : [], next: null });
    return there ? Response.json(job) : Response.json({ error: "gone" }, { status: 404 });
  };
  const { Jobs } = await import("/page/jobs.js");
  const [place, stage] = [document.createElement("div"), document.createElement("div")];
  document.body.append(place, stage);
  const jobs = new Jobs(place, stage);
  await jobs.show();
  place.querySelector("button").click();
  await new Promise((wait) => setTimeout(wait, 100));
  const sure = [...place.querySelectorAll("button")].at(-1);
  sure.focus();
  sure.click();
  sure.click();
  const end = performance.now() + 20_000;
  const said = () => document.getElementById("announcer").textContent;
  while (!said().endsWith("deleted") && performance.now() < end) {
    await new Promise((wait) => setTimeout(wait, 50));
  }
  await jobs.show();
  return [stage.textContent, said(), document.activeElement.textContent];
}"""


def test_a_video_that_is_deleted_under_way_is_no_failure(visit: Visit) -> None:
    complaints, said, focused = visit.open("files").evaluate(REMOVED)
    assert complaints == ""
    assert said == "one.mp4 is deleted"
    assert focused.startswith("None.")


#: Two recordings, the second of which the browser cannot keep to its end: what is listed while one
#: goes on and when both have ended, and what is left when they are deleted.
RECORDED: Final = """async (face) => {
  const { startRecordings } = await import("/page/recordings.js");
  const { listSessions, sessionResults } = await import("/page/store.js");
  const list = startRecordings();
  const rows = () => [...list.rows.list.children].map((row) =>
    [...row.querySelectorAll("button, a")].map((one) => one.textContent).join(" "));
  const frames = (recording, n) => {
    for (let i = 0; i < n; i++) {
      recording.add({ time_s: i / 10, width: 64, height: 64, model: "m", faces: [face] });
    }
  };
  const first = list.begin();
  frames(first, 70);
  await first.writing;
  await list.show();
  const seen = [rows(), (await listSessions()).length];
  await list.end(first);
  seen.push(rows());
  const second = list.begin();
  frames(second, 70);
  await second.writing;
  const { put } = IDBObjectStore.prototype;
  const full = () => { throw new Error("The disk is full"); };
  IDBObjectStore.prototype.put = full;
  frames(second, 60);
  await second.writing;
  IDBObjectStore.prototype.put = put;
  await list.end(second);
  seen.push(rows(), (await sessionResults(second.head.id)).length, second.results.length);
  IDBObjectStore.prototype.put = full;
  const name = list.rows.list.children[1].querySelector("input");
  name.value = "mine";
  name.dispatchEvent(new Event("change"));
  while (!list.said.textContent) await new Promise((wait) => setTimeout(wait, 20));
  IDBObjectStore.prototype.put = put;
  const { getAll } = IDBObjectStore.prototype;
  IDBObjectStore.prototype.getAll = () => { throw new Error("It is gone"); };
  await list.download(first.head, "csv");
  IDBObjectStore.prototype.getAll = getAll;
  seen.push([...list.said.querySelectorAll("p")].map((one) => one.textContent));
  await list.remove(second.head);
  seen.push(rows(), (await listSessions()).map(({ id }) => id === first.head.id));
  return seen;
}"""


def test_a_recording_is_listed_once_and_when_it_has_ended(visit: Visit) -> None:
    face = {
        "track_id": 7, "box": [8, 8, 40, 40], "score": 0.9, "landmarks": [[0, 0]] * 5,
        "expression": "sad", "confidence": 0.4, "uncertain": False,
        "probs": dict.fromkeys(EXPRESSIONS, 1 / 7), "quality": {"score": 1, "reasons": []},
    }  # fmt: skip
    kept, unkept = "CSV JSONL Report Compare Delete", "CSV JSONL Report Delete"
    assert visit.open().evaluate(RECORDED, face) == [
        [], 1,
        [kept],
        [unkept, kept], 60, 130,
        ["The name is not kept", "The disk is full", "No download", "It is gone"],
        [kept], [True],
    ]  # fmt: skip
