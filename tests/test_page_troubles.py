"""The page of the server in Chromium where things happen at once, are missing, or go wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from mien.report.views import VIEWS
from mien.results import read_results
from mien.types import EXPRESSIONS, UInt8Array
from tests.browsing import (
    CONTRASTS,
    NAMELESS,
    Server,
    Visit,
    keep,
    launch,
    picture,
    press,
    saved,
    start_camera,
    until,
)
from tests.test_page import PAGE

pytest.importorskip("playwright.sync_api", reason="needs playwright (the extra dev)")
for module in ("fastapi", "uvicorn", "websockets"):
    pytest.importorskip(module, reason="needs the extra server")

FACE: Final = {
    "track_id": 7, "box": [8, 8, 40, 40], "score": 0.9, "landmarks": [[0, 0]] * 5,
    "expression": "sad", "confidence": 0.4, "uncertain": False,
    "probs": dict.fromkeys(EXPRESSIONS, 1 / 7), "quality": {"score": 1, "reasons": []},
}  # fmt: skip


def test_reports_of_all_views_can_be_asked_for() -> None:
    offered = re.findall(r'<option value="(\w+)">(.+)</option>', (PAGE / "index.html").read_text())
    assert offered == [(view.name, view.title) for view in VIEWS.values()]


# ---- live ----


def test_a_baseline_is_set_when_the_server_says_so(visit: Visit) -> None:
    """No clock of the page decides, and an error about a frame is not one about the baseline."""
    tab = visit.open()
    sockets: list[Any] = []
    asked: list[Any] = []

    def hear(sent: str | bytes) -> None:
        if isinstance(sent, str):
            asked.append(sent)

    def connect(socket: Any) -> None:
        sockets.append(socket)
        socket.on_message(hear)

    tab.route_web_socket("**/v1/live", connect)

    def say(kind: str, **more: Any) -> None:
        sockets[0].send(json.dumps({"type": kind, **more}))

    def answer(time_s: float, *faces: dict[str, Any]) -> None:
        frame = {"schema": "mien/1", "source": "live", "frame": 0, "time_s": time_s, "width": 64}
        result = {**frame, "height": 64, "model": "m", "faces": faces}
        say("result", result=result, received=1, dropped=0, wait_ms=0, work_ms=0)

    press(tab, "Start the camera")
    while not sockets:
        tab.wait_for_timeout(50)
    say("hello", model="m", labels=EXPRESSIONS, max_px=1280, max_fps=30)
    tab.locator("#baseline:enabled").click()
    while not asked:
        tab.wait_for_timeout(50)
    assert json.loads(asked[0]) == {"type": "baseline", "seconds": 3}
    say("baseline", seconds=3)
    tab.get_by_text("Look into the camera", exact=True).nth(1).wait_for()
    answer(0.5)
    answer(60.0)
    say("error", message="not a picture", about="frame", frame=3)
    tab.get_by_text("The server refused a frame").wait_for()
    assert tab.inner_text("#countdown") == "Look into the camera"
    answer(61.0, FACE)
    tab.get_by_text("The server refused a frame").wait_for(state="detached")
    until(tab, "document.getElementById('countdown').textContent === 'Look neutral: 3'")
    answer(62.5, FACE)
    until(tab, "document.getElementById('countdown').textContent === 'Look neutral: 2'")
    answer(90.0, FACE)  # it is not over before the server says so
    until(tab, "document.getElementById('countdown').textContent === 'Look neutral: 1'")
    assert tab.is_visible("#countdown")
    say("baseline_set", track_ids=[7])
    tab.locator("#countdown").wait_for(state="hidden")
    assert tab.inner_text("#announcer") == "The baseline is set for face 7"
    press(tab, "Set baseline")
    say("error", message="the model has no class neutral", about="baseline")
    tab.get_by_text("No baseline was set").wait_for()
    say("baseline", seconds=3)
    tab.locator("#countdown").wait_for()
    sockets[0].close(code=1011)
    tab.get_by_text("No connection to the server").wait_for()
    assert not tab.is_visible("#countdown")


def test_a_paused_camera_gives_up_its_place_and_takes_it_again(
    browser: Any, tmp_path: Path
) -> None:
    server = Server(tmp_path / "data", "--live-idle-s", "2")
    visit = Visit(browser, server.url)
    tab = visit.open()
    start_camera(tab)
    press(tab, "Record")
    until(tab, "/[1-9]\\d* f/.test(document.getElementById('recording-badge').textContent)")
    press(tab, "Pause")
    tab.get_by_text("The connection rests").wait_for()
    tab.get_by_role("button", name="Record", exact=True).wait_for()  # faces get new numbers
    assert tab.is_disabled("#baseline")
    assert tab.locator("#recordings li").count() == 1
    assert tab.evaluate(CONTRASTS) == []
    keep(tab, "live-rests")
    press(tab, "Go on")
    tab.locator("#baseline:enabled").wait_for()
    tab.wait_for_selector(".reading:not(.nobody)")
    assert tab.inner_text("#live-note .notice-title") == "The recording ended"
    press(tab, "Dismiss")
    assert tab.inner_text("#live-note") == ""
    visit.end()
    server.stop()


def test_a_server_that_falls_silent_is_no_answer_and_is_called_again(visit: Visit) -> None:
    """A dead network closes no socket: the last answer must not stand over a moving picture."""
    tab = visit.open()
    # Four times as fast, so that nobody waits for long.
    tab.evaluate(
        "() => { const wait = setTimeout; window.setTimeout = (act, ms) => wait(act, ms / 4); }"
    )
    start_camera(tab)
    tab.evaluate("WebSocket.prototype.send = () => {}")
    until(
        tab,
        "document.getElementById('reading').innerText.includes('No answer')"
        " && !document.getElementById('live-note').innerText",
    )
    tab.get_by_text("The server has not answered for 20 seconds").wait_for()
    tab.get_by_role("button", name="Try now").wait_for()
    visit.end()


def test_another_camera_can_be_chosen(driver: Any, server: Server) -> None:
    two = launch(driver, "--use-fake-device-for-media-stream=device-count=2")
    visit = Visit(two, server.url)
    tab = visit.open()
    press(tab, "Start the camera")
    until(tab, "document.querySelectorAll('#choose-camera option').length === 2")
    used = "document.getElementById('camera').srcObject?.getVideoTracks()[0].getSettings().deviceId"
    first = tab.evaluate(used)
    assert tab.input_value("#choose-camera") == first
    tab.select_option("#choose-camera", index=1)
    until(tab, f"![undefined, '{first}'].includes({used})")
    until(tab, f"document.getElementById('choose-camera').value === {used}")
    until(tab, "document.getElementById('model').textContent.startsWith('mien')")
    visit.end()
    two.close()


# ---- files ----

#: Answers about pictures wait for `go()`, if `hold` is set; if `full` is, there is no room for one.
HELD: Final = """() => {
  const { fetch } = window;
  window.fetch = async (url, options) => {
    if (!url.pathname.endsWith("analyze")) return fetch(url, options);
    if (window.full) {
      window.full = false;
      const headers = { "Retry-After": "1" };
      return new Response('{"error": "too many pictures"}', { status: 503, headers });
    }
    if (window.hold) await new Promise((go) => (window.go = go));
    return fetch(url, options);
  };
}"""


def test_pictures_are_cleared_while_one_is_read_and_sent_again_to_a_full_server(
    visit: Visit, portrait: UInt8Array, tmp_path: Path
) -> None:
    tab = visit.open("files")
    tab.evaluate(HELD)
    tab.set_input_files("#choose", picture(portrait, "a.png"))
    tab.locator("#pictures").get_by_role("button", name="CSV").wait_for()
    tab.evaluate("window.hold = true")
    tab.set_input_files("#choose", picture(portrait, "b.png"))
    until(tab, "Boolean(window.go)")  # a function by itself would be called
    press(tab, "Clear")
    assert tab.inner_text("#pictures") == ""
    tab.evaluate("() => { window.hold = false; window.full = true; window.go() }")
    tab.set_input_files("#choose", picture(portrait, "c.png"))
    tab.get_by_text("1 of 1: c.png. The server is busy: sent again in 1 s").wait_for()
    assert tab.locator("#pictures").get_by_role("button", name="CSV").count() == 0
    results = list(read_results(saved(tab, lambda: press(tab, "CSV"), tmp_path)))
    assert [result.source for result in results] == ["c.png"]
    assert tab.locator(".thumb span").all_inner_texts() in (["c.png"], [""])  # one needs no film


def test_pictures_are_stopped_and_those_that_were_read_stay(
    visit: Visit, portrait: UInt8Array, tmp_path: Path
) -> None:
    tab = visit.open("files")
    tab.evaluate(HELD)
    tab.set_input_files("#choose", picture(portrait, "a.png"))
    tab.locator("#pictures").get_by_role("button", name="CSV").wait_for()
    tab.evaluate("window.hold = true")
    tab.set_input_files("#choose", [picture(portrait, f"{name}.png") for name in "bc"])
    until(tab, "Boolean(window.go)")
    press(tab, "Stop here")
    assert not tab.is_visible("#pictures progress")
    assert tab.locator(".thumb").count() == 1
    tab.evaluate("() => { window.hold = false; window.go() }")
    results = list(read_results(saved(tab, lambda: press(tab, "CSV"), tmp_path)))
    assert [result.source for result in results] == ["a.png"]


#: Drops a file beside the room; whether the browser may open it, and what the page says of it.
DROP: Final = """() => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File(["x"], "a.txt"));
  const drop = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
  return [document.body.dispatchEvent(drop), document.getElementById("files-status").textContent];
}"""


@pytest.mark.parametrize(("room", "said"), [("live", ""), ("files", "a.txt: not a picture")])
def test_a_file_that_is_dropped_beside_does_not_replace_the_page(
    visit: Visit, room: str, said: str
) -> None:
    opens, status = visit.open(room).evaluate(DROP)
    assert not opens
    assert status[:20] == said


#: Draws a face that has two others to its right, one higher and one lower: what is written.
NAMES: Final = """async (face) => {
  const { drawFaces } = await import("/page/overlay.js");
  const canvas = document.createElement("canvas");
  canvas.style.cssText = "position: fixed; left: 0; top: 0; width: 400px; height: 300px";
  document.body.append(canvas);
  const written = [];
  canvas.getContext("2d").fillText = (words) => written.push(words);
  const boxes = [[150, 100, 40, 40], [200, 70, 40, 40], [200, 130, 40, 40]];
  const faces = boxes.map((box, i) => ({ ...face, track_id: i + 1, box }));
  drawFaces(canvas, { width: 400, height: 300, faces }, { chosen: 1 });
  return written;
}"""


def test_a_name_that_would_hide_another_face_is_cut_to_its_number(visit: Visit) -> None:
    written = visit.open("files").evaluate(NAMES, FACE)
    assert written == ["Face 2 · sad 40%", "1", "Face 3 · sad 40%"]  # the chosen one comes first


#: A job that is on its way, as it is listed before, while and after it is followed.
FOLLOWED: Final = """async () => {
  const job = { id: "1", name: "one.mp4", state: "running", progress: 0, frames: 3, files: [],
    created_s: 0 };
  let end = () => {};
  window.fetch = async ({ pathname: path }) => {
    if (path.endsWith("videos")) return Response.json({ videos: [job], next: null });
    await new Promise((free) => (end = free));
    job.state = "cancelled";
    return Response.json(job);
  };
  const { Jobs } = await import("/page/jobs.js");
  const [place, stage] = [document.createElement("div"), document.createElement("div")];
  document.body.append(place, stage);
  const jobs = new Jobs(place, stage);
  const buttons = () => [...place.querySelectorAll("button")].map((one) => one.textContent);
  await jobs.show();
  const seen = [buttons()];
  place.querySelector("button").click();
  seen.push(document.activeElement.textContent, buttons());
  await jobs.show();
  seen.push(buttons(), stage.querySelectorAll("progress").length);
  end();
  while (stage.querySelector("progress")) await new Promise((wait) => setTimeout(wait, 10));
  await jobs.show();
  seen.push(place.querySelector("[role=group]").getAttribute("aria-label"));
  return seen;
}"""


#: Keys that a reader gives where the server refuses all: which were said to be wrong, and the end.
KEYS: Final = """async (keys) => {
  window.fetch = async (_, { headers } = {}) => {
    new Headers(headers); // as the real one does
    return Response.json({ error: "no" }, { status: 401 });
  };
  const { onKeyNeeded, request } = await import("/page/api.js");
  const refused = [];
  onKeyNeeded(async (wrong) => {
    refused.push(wrong);
    return keys.shift() ?? null;
  });
  return [refused, await request("v1/session").catch((error) => error.message)].flat();
}"""


def test_a_key_that_no_header_can_hold_is_a_wrong_key(visit: Visit) -> None:
    tab = visit.open("files")
    assert tab.evaluate(KEYS, ["ключ", "wrong"]) == [False, True, True, "No"]
    assert tab.get_attribute("#key", "aria-describedby") == "key-hint"


#: A reader with the right key, whose browser keeps no cookie: what is said, and how often the key
#: is asked for.
COOKIELESS: Final = """async () => {
  let asked = 0;
  window.fetch = async (url, { method } = {}) => {
    if (method === "POST") return Response.json({});
    const session = String(url).endsWith("v1/session");
    const body = session ? { signed_in: false, key_required: true } : { error: "no" };
    return Response.json(body, { status: session ? 200 : 401 });
  };
  const { ensureAccess, onKeyNeeded, request } = await import("/page/api.js");
  onKeyNeeded(async () => ((asked += 1) < 9 ? "right" : null));
  const said = ({ message, status }) => `${status} ${message.slice(0, 29)}`;
  const ways = [ensureAccess, () => request("v1/videos")];
  const heard = [];
  for (const way of ways) heard.push(await way().then(() => "let in", said));
  return [...heard, asked];
}"""


def test_a_browser_that_keeps_no_cookie_is_not_asked_for_ever(visit: Visit) -> None:
    said = "401 The browser keeps no cookie of"
    assert visit.open("files").evaluate(COOKIELESS) == [said[:33], said[:33], 2]


#: A browser that loads nothing of a video, as phones do: whether the server's copy is played.
SILENT: Final = """async () => {
  Object.defineProperty(HTMLMediaElement.prototype, "src", { set() {} });
  const { setTimeout: later } = window;
  window.setTimeout = (act, ms) => later(act, ms / 100);
  const { Jobs } = await import("/page/jobs.js");
  const jobs = new Jobs(document.createElement("div"), document.createElement("div"));
  jobs.local.set("1", new File(["x"], "a.mp4"));
  const source = jobs.sourceOf({ id: "1", files: ["annotated.mp4"] });
  return Promise.race([source.then(({ drawn }) => drawn), new Promise((end) => later(end, 5000))]);
}"""


def test_a_browser_that_says_nothing_of_a_file_plays_the_servers_copy(visit: Visit) -> None:
    assert visit.open("files").evaluate(SILENT) is True


#: A video whose upload is cancelled while access to the server is asked for: what is left of it.
CANCELLED: Final = """async () => {
  let [sent, allow] = [0, () => {}];
  window.fetch = () => new Promise((answer) => {
    allow = () => answer(Response.json({ signed_in: true, key_required: false }));
  });
  XMLHttpRequest.prototype.send = () => { sent += 1; };
  const { Jobs } = await import("/page/jobs.js");
  const stage = document.createElement("div");
  const jobs = new Jobs(document.createElement("div"), stage);
  const uploading = jobs.upload(new File(["x"], "a.mp4"), false);
  stage.querySelector("button").click();
  allow();
  const waited = new Promise((end) => setTimeout(end, 5000, "waits"));
  return [await Promise.race([uploading, waited]), sent, stage.textContent];
}"""


def test_an_upload_can_be_cancelled_before_it_begins(visit: Visit) -> None:
    assert visit.open("files").evaluate(CANCELLED) == [None, 0, ""]


def test_a_video_is_followed_once(visit: Visit) -> None:
    tab = visit.open("files")
    assert tab.evaluate(FOLLOWED) == [
        ["Follow", "Delete"], "Stop here", ["Delete"], ["Delete"], 1, "one.mp4",
    ]  # fmt: skip


#: Seven videos followed at once, one of which cannot be told of at first and one of which is gone:
#: which are told of, and how many requests were open at a time.
MANY_FOLLOWED: Final = """async () => {
  let [open, most, busy] = [0, 0, true];
  window.fetch = async ({ pathname: path }) => {
    most = Math.max(most, ++open);
    await new Promise((wait) => setTimeout(wait, 5));
    open -= 1;
    const id = path.split("/")[3];
    if (id === "5" && busy) {
      busy = false;
      return Response.json({ error: "busy" }, { status: 503 });
    }
    return id === "6" ? Response.json({ error: "gone" }, { status: 404 })
      : Response.json({ id, state: "done" });
  };
  const { follow } = await import("/page/following.js");
  const told = [];
  const all = [..."1234567"].map((id) => follow(id, (job) => told.push(job.id)));
  const ends = (await Promise.allSettled(all)).map((end) => end.value?.state ?? end.reason.message);
  await follow("8", (job) => told.push(job.id)); // begins anew
  return [told.join(""), ends, most];
}"""


def test_many_videos_are_followed_by_one_request_at_a_time(visit: Visit) -> None:
    """A browser opens six connections to a server: none may be kept for a video."""
    tab = visit.open("files")
    ends = ["done"] * 5 + ["Gone", "done"]
    assert tab.evaluate(MANY_FOLLOWED) == ["1234758", ends, 1]


#: Two videos that are read, and one whose results come when `go()` is called.
JOBS: Final = """async () => {
  const job = (id) => ({ id, name: `${id}.mp4`, state: "running", progress: 0, files: [] });
  const done = (id) => ({ ...job(id), state: "done", files: ["results.jsonl"] });
  const idOf = (path) => path.split("/")[3];
  let go = () => {};
  window.fetch = async ({ pathname: path }) => {
    if (path.split("/").length === 4) return Response.json(done(idOf(path)));
    if (!path.endsWith("jsonl")) return Response.json({ videos: [], next: null });
    if (idOf(path) === "slow") await new Promise((free) => (go = free));
    const frame = { schema: "mien/1", source: "x", frame: 0, time_s: 0, width: 4, height: 4 };
    return new Response(JSON.stringify({ ...frame, faces: [] }));
  };
  const { Jobs } = await import("/page/jobs.js");
  const stage = document.getElementById("video");
  stage.replaceChildren();
  const jobs = new Jobs(document.createElement("div"), stage);
  const seen = [];
  const note = () => seen.push([stage.querySelector("h2")?.textContent,
    document.activeElement.textContent === stage.querySelector("h2")?.textContent]);
  await jobs.follow(job("one"));
  note();
  await jobs.follow(job("two"));
  note();
  seen.push(stage.querySelector(".notice").textContent);
  stage.querySelector(".notice button").click();
  while (stage.querySelector("h2")?.textContent !== "two.mp4" || jobs.player === null) {
    await new Promise((wait) => setTimeout(wait, 10));
  }
  note();
  const slow = jobs.open(done("slow"));
  await jobs.open(done("one"));
  go();
  await slow;
  note();
  seen.push(stage.querySelector(".notice.error, .notice.wait"));
  await jobs.remove(done("one"));
  note();
  return seen;
}"""


def test_a_video_that_is_looked_at_stays(visit: Visit) -> None:
    tab = visit.open("files")
    assert tab.evaluate(JOBS) == [
        ["one.mp4", False],
        ["one.mp4", False],  # somebody looks at it
        "two.mp4 is readOpenDismiss",
        ["two.mp4", True],
        ["one.mp4", False],  # opened after the slow one
        None,
        [None, False],
    ]


#: A server with 130 videos.
MANY: Final = """() => {
  const all = Array.from({ length: 130 }, (_, i) => ({ id: `${i}`, name: `${i}.mp4`, state: "done",
    created_s: 0, frames: 1, files: ["results.jsonl"] }));
  const { fetch } = window;
  window.fetch = async (url, options) => {
    if (url.pathname !== "/v1/videos") return fetch(url, options);
    const [limit, from] = ["limit", "before"].map((name) => Number(url.searchParams.get(name)));
    const next = from + limit;
    const videos = all.slice(from, next);
    return Response.json({ videos, next: next < all.length ? next : null });
  };
}"""


@pytest.mark.parametrize(
    ("room", "entries"), [("Files", "#jobs li"), ("Compare", "#compare-choice li")]
)
def test_older_videos_can_be_reached(visit: Visit, room: str, entries: str) -> None:
    tab = visit.open()
    tab.evaluate(MANY)
    tab.get_by_role("link", name=room, exact=True).first.click()
    older = tab.get_by_role("button", name="Show older videos")
    for count in (50, 100):
        until(tab, f"document.querySelectorAll('{entries}').length === {count}")
        older.click()
    until(tab, f"document.querySelectorAll('{entries}').length === 130")
    assert older.count() == 0 or not older.is_visible()
    assert "129.mp4" in tab.locator(entries).last.inner_text()
    assert tab.evaluate(NAMELESS) == []
