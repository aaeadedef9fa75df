"""The page of the server in a real Chromium: what a person sees, presses and hears there."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from mien.annotate import COLOURS, OTHER_COLOURS
from mien.events import find_segments
from mien.results import read_results
from mien.types import EXPRESSIONS, RESULT_COLUMNS, FaceResult, UInt8Array
from tests.browsing import (
    BROKEN_WORDS,
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
from tests.test_events import CROWD, face, film, hidden, save, show

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (the extra dev)")
for module in ("fastapi", "uvicorn", "websockets"):
    pytest.importorskip(module, reason="needs the extra server")

PAGE = Path(__file__).parents[1] / "src" / "mien" / "server" / "page"
KEY: Final = "open sesame, if you please"
SCRIPT_NAME: Final = "<img src=x onerror=document.title='broken'>.png"


# ---- what needs no browser ----


def test_the_colours_are_those_of_the_drawings() -> None:
    text = (PAGE / "expressions.js").read_text("utf-8")
    listed = dict(re.findall(r'^  (\w+): "(#\w{6})",$', text, re.M))
    assert list(listed) == [*EXPRESSIONS, "contempt"]
    assert listed == {
        name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in COLOURS.items()
    }
    others = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in OTHER_COLOURS]
    assert re.findall(r"#\w{6}", text.partition("OTHERS = [")[2].partition("]")[0]) == others


def test_the_page_loads_nothing_from_elsewhere_and_puts_no_text_in_as_markup() -> None:
    for file in PAGE.iterdir():
        text = file.read_text("utf-8")
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`]*", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, file.name
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, (file.name, way)
        assert len(text.splitlines()) <= 400, file.name
        if file.suffix == ".js":
            assert text.startswith("// "), file.name
    markup = (PAGE / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\son\w+=|javascript:", markup)


# ---- live ----


def test_a_camera_is_read_and_recorded(visit: Visit, tmp_path: Path) -> None:
    tab = visit.open()
    keep(tab, "live-before")
    place = """() => document.querySelector("#reading .bars").getBoundingClientRect().top
        - document.querySelector("#reading").getBoundingClientRect().top"""
    before = tab.evaluate(place)
    assert "Nothing leaves the machine" in tab.inner_text("#privacy")
    start_camera(tab)
    assert tab.inner_text(".reading-word span") == "happy"  # she smiles
    assert tab.evaluate(place) == pytest.approx(before, abs=1)  # faces may come and go
    figures = tab.locator("#reading .figure").all_inner_texts()
    assert len(figures) == 7
    assert abs(sum(int(figure.rstrip("%")) for figure in figures) - 100) <= 4
    drawn = """() => { const c = document.getElementById("camera-faces");
        return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v > 0) }"""
    until(tab, drawn)
    until(tab, "document.getElementById('latency').textContent.endsWith('ms')")

    strip = tab.get_by_role("img", name=re.compile("^Face 1 over the last minute: happy"))
    strip.wait_for()
    painted = "(c) => c.getContext('2d').getImageData(c.width - 3, 0, 1, c.height).data"
    assert any(strip.evaluate(f"(c) => Array.from(({painted})(c))"))
    press(tab, "Record")
    frames = "document.querySelector('#recording-badge span').textContent.match(/(\\d+) f/)[1]"
    until(tab, f"Number({frames}) >= 5")
    keep(tab, "live")
    press(tab, "Stop recording")
    rows = saved(tab, lambda: press(tab, "CSV"), tmp_path)
    lines = saved(tab, lambda: press(tab, "JSONL"), tmp_path)
    assert tuple(rows.read_text("utf-8").splitlines()[0].split(",")) == RESULT_COLUMNS
    results = list(read_results(rows))
    assert results == list(read_results(lines))
    assert len(results) >= 5
    assert [result.frame for result in results] == list(range(len(results)))
    assert results[0].time_s == 0 < results[-1].time_s
    assert {face.expression for result in results for face in result.faces} == {"happy"}
    press(tab, "Report")
    dialog = tab.get_by_role("dialog", name="Report")
    dialog.get_by_label("Kind").select_option("wellbeing")
    dialog.get_by_label("Purpose").fill("A trial & its <test>")
    assert tab.evaluate(NAMELESS) == []
    assert tab.evaluate(CONTRASTS) == []
    keep(tab, "report")
    report = saved(tab, lambda: press(tab, "Make the report"), tmp_path)
    assert report.suffix == ".html"
    text = report.read_text("utf-8")
    assert "happy" in text
    assert "Well-being over time" in text
    assert "A trial &amp; its &lt;test&gt;" in text
    until(tab, "document.querySelector('#recordings .notice') === null")

    tab.reload()  # recordings outlive the page
    tab.locator("#recordings").get_by_role("link", name="Compare").click()
    tab.locator("#compare-choice li input:checked").wait_for()
    assert re.match(
        "Live .* recorded here", tab.inner_text("#compare-choice li").replace("\n", " ")
    )
    tab.goto(f"{visit.url}#live")
    press(tab, "Delete")
    press(tab, "Delete for good?")
    tab.get_by_text("None yet.").wait_for()


def test_the_camera_pauses_mirrors_and_stops(visit: Visit) -> None:
    tab = visit.open()
    start_camera(tab)
    mirrored = "getComputedStyle(document.getElementById('camera')).transform"
    assert tab.evaluate(mirrored) == "matrix(-1, 0, 0, 1, 0, 0)"
    press(tab, "Mirror")
    assert tab.evaluate(mirrored) == "none"
    press(tab, "Pause")
    assert tab.evaluate("document.getElementById('camera').paused")
    # Its name says what it does: pressed besides, it would say the opposite.
    assert tab.get_attribute("#pause", "aria-pressed") is None
    press(tab, "Go on")
    assert not tab.evaluate("document.getElementById('camera').paused")
    press(tab, "Set baseline")
    tab.get_by_text("Look neutral: ").wait_for()  # each of its numbers is there for a second
    tab.evaluate("""() => new MutationObserver(() => {
        const said = document.getElementById("announcer").textContent;
        window.said ??= said.match(/^The baseline is set for face .*/)?.[0];
    }).observe(document.getElementById("announcer"), { childList: true })""")
    tab.locator("#countdown").wait_for(state="hidden")
    until(tab, "window.said === 'The baseline is set for face 1'")
    press(tab, "Stop")
    assert tab.evaluate("document.getElementById('camera').srcObject") is None
    tab.get_by_role("button", name="Start the camera").wait_for()


def test_a_camera_that_is_allowed_too_late_stays_off(visit: Visit) -> None:
    tab = visit.open()
    tab.evaluate("""() => {
        const devices = navigator.mediaDevices;
        const open = devices.getUserMedia.bind(devices);
        devices.getUserMedia = async (wanted) => {
            await new Promise((allow) => (window.allow = allow));
            return (window.given = await open(wanted));
        } }""")
    press(tab, "Start the camera")
    tab.get_by_role("link", name="Files", exact=True).click()
    tab.get_by_role("heading", name="Files", exact=True).wait_for()
    tab.evaluate("window.allow()")
    until(tab, "window.given?.getTracks().every((track) => track.readyState === 'ended') ?? false")
    assert tab.evaluate("document.getElementById('camera').srcObject") is None
    tab.get_by_role("link", name="Live", exact=True).click()
    press(tab, "Start the camera")
    tab.evaluate("window.allow()")
    tab.wait_for_selector(".reading:not(.nobody)")


def test_without_a_camera_there_is_a_way_on(driver: Any, server: Server) -> None:
    bare = launch(driver, "--use-fake-device-for-media-stream=device-count=0")
    visit = Visit(bare, server.url)
    tab = visit.open()
    press(tab, "Start the camera")
    tab.get_by_text("No camera found").wait_for()
    keep(tab, "no-camera")
    tab.get_by_role("link", name="Read files instead").click()
    tab.get_by_role("heading", name="Files").wait_for()  # the room changes after the click
    visit.end()
    bare.close()


def test_a_camera_that_is_not_allowed(visit: Visit) -> None:
    tab = visit.open(camera=False)
    press(tab, "Start the camera")
    tab.get_by_text("The camera was not allowed").wait_for()


def test_an_attempt_that_is_made_twice_opens_one_connection(visit: Visit) -> None:
    """Whoever presses Try now while the page tries by itself must not be answered twice."""
    tab = visit.open()
    hellos = tab.evaluate("""async () => {
        const { LiveConnection } = await import("./page/connection.js");
        let hellos = 0;
        const nothing = () => {};
        const on = { result: nothing, said: nothing, error: nothing, denied: nothing };
        const connection = new LiveConnection({ ...on, lost: nothing, hello: () => (hellos += 1) });
        const until = async (met) => {
            while (!met()) await new Promise((go) => setTimeout(go, 5));
        };
        await until(() => connection.socket);
        connection.open();
        await until(() => connection.ready);
        connection.open();
        await new Promise((go) => setTimeout(go, 500));
        connection.ask({ type: "reset" });
        connection.close();
        return hellos;
    }""")
    assert hellos == 1
    visit.end()


def test_a_key_is_asked_for_and_a_lost_server_found_again(browser: Any, tmp_path: Path) -> None:
    server = Server(tmp_path, key=KEY)
    visit = Visit(browser, server.url)
    tab = visit.open()
    press(tab, "Start the camera")
    dialog = tab.get_by_role("dialog", name="This server asks for a key")
    dialog.get_by_label("Key").fill("wrong")
    dialog.get_by_role("button", name="Use this key").click()
    tab.get_by_text("The server refused this key").wait_for()
    keep(tab, "key")
    dialog.get_by_label("Key").fill(KEY)
    dialog.get_by_role("button", name="Use this key").click()
    tab.wait_for_selector(".reading:not(.nobody)")
    assert KEY not in json.dumps(
        tab.evaluate("[document.cookie, {...localStorage}, {...sessionStorage}, location.href]")
    )

    server.stop()
    tab.get_by_text("No connection to the server").wait_for()
    keep(tab, "server-gone")
    server = Server(tmp_path, key=KEY, port=int(visit.url.split(":")[-1].rstrip("/")))
    tab.evaluate("document.querySelector('#live-note button')?.click()")  # or it did by itself
    tab.wait_for_selector(".reading:not(.nobody)")
    visit.end()
    server.stop()


# ---- files ----


def test_pictures_bad_ones_and_a_script_for_a_name(
    visit: Visit, portrait: UInt8Array, tmp_path: Path
) -> None:
    tab = visit.open("files")
    keep(tab, "files-empty")
    tab.set_input_files(
        "#choose",
        [
            picture(portrait, SCRIPT_NAME),
            {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xffno"},
            picture(np.concatenate([portrait, portrait[:, ::-1]], 1), "two.png"),
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"},
        ],
    )
    tab.get_by_text("notes.txt: not a picture or video").wait_for()
    tab.locator(".thumb:not(.waiting) em").nth(2).wait_for()
    assert tab.locator(".thumb em").all_inner_texts()[1] == "failed"
    assert tab.locator(".thumb span").first.inner_text() == SCRIPT_NAME
    assert tab.inner_text("#pictures .reading-word span") == "happy"
    keep(tab, "picture")
    tab.locator(".thumb").nth(1).click()
    title, said = tab.locator("#pictures .notice.error p").all_inner_texts()
    assert title == "broken.jpg"
    assert "broken.jpg" not in said.lower()  # it stands above
    tab.locator(".thumb").nth(2).focus()
    tab.keyboard.press("Enter")
    press(tab, "Face 2")
    assert tab.inner_text("#pictures .reading-name") == "Face 2"
    keep(tab, "two-faces")
    tab.get_by_text("2 pictures read, 1 failed").wait_for(state="attached")
    assert tab.title() == "mien: what faces show"  # the script in the name did not run

    results = list(read_results(saved(tab, lambda: press(tab, "CSV"), tmp_path)))
    assert [(result.source, len(result.faces)) for result in results] == [
        (SCRIPT_NAME, 1), ("two.png", 2),
    ]  # fmt: skip


def test_a_video_is_played_with_its_timeline(
    visit: Visit, films: Path, portrait: UInt8Array, tmp_path: Path
) -> None:
    tab = visit.open("files")
    tab.set_input_files("#choose", films / "clip.mp4")
    tab.wait_for_selector(".segment")
    address = tab.get_by_role("link", name="segments.csv").get_attribute("href")
    written = list(csv.DictReader(io.StringIO(tab.context.request.get(address).text())))
    shown = tab.locator(".segment").all_inner_texts()
    assert shown == [row["expression"] for row in written]
    assert len(shown) == 2  # she left for a second

    def time_s() -> float:
        return float(tab.evaluate("document.querySelector('#video video').currentTime"))

    keep(tab, "video")
    tab.locator(".segment").nth(1).click()
    assert time_s() == pytest.approx(float(written[1]["start_s"]), abs=0.05)
    tab.wait_for_selector("#video .reading:not(.nobody)")
    tab.locator(".segment").first.focus()
    tab.keyboard.press("Enter")
    assert time_s() == pytest.approx(float(written[0]["start_s"]), abs=0.05)
    tab.keyboard.press("Control+ArrowRight")  # the browser's own
    assert tab.locator(".segment").first.evaluate("(one) => one === document.activeElement")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Enter")
    assert time_s() == pytest.approx(float(written[1]["start_s"]), abs=0.05)

    tab.evaluate(
        "() => { const v = document.querySelector('#video video'); v.loop = true; v.play() }"
    )
    until(tab, "!document.querySelector('#video video').paused")
    tab.get_by_role("link", name="Compare", exact=True).first.click()
    until(tab, "document.querySelector('#video video').paused")  # it is not heard elsewhere
    tab.get_by_role("link", name="Files", exact=True).click()

    tab.reload()  # the file is no longer at hand: the server's copy is played
    press(tab, "Open")
    tab.wait_for_selector(".segment")
    assert "annotated.mp4" in tab.get_attribute("#video video", "src")

    tab.reload()  # where faces are to be hidden, the file at hand is not played either
    tab.get_by_label("Hide faces in copies of videos").check()
    tab.set_input_files("#choose", films / "clip.mp4")
    tab.wait_for_selector(".segment")
    assert "annotated.mp4" in tab.get_attribute("#video video", "src")
    assert "faces hidden" in tab.locator("#jobs li").first.inner_text()
    keep(tab, "video-hidden")
    for left in (1, 0):
        tab.get_by_role("button", name="Delete", exact=True).first.click()
        press(tab, "Delete for good?")
        until(tab, f"document.querySelectorAll('#jobs li').length === {left}")
    tab.get_by_text("None. Videos that you send appear here.").wait_for()


def test_a_video_that_is_none(visit: Visit) -> None:
    tab = visit.open("files")
    noise = {"name": "holiday.mp4", "mimeType": "video/mp4", "buffer": b"no video at all" * 99}
    tab.set_input_files("#choose", noise)
    notice = tab.locator("#video .notice.error")
    notice.wait_for()
    assert "holiday.mp4" in notice.inner_text()
    keep(tab, "bad-video")


def test_a_video_that_is_stopped_before_its_turn(visit: Visit) -> None:
    tab = visit.open("files")
    follow = """async () => {
        const job = { id: "1", name: "late.mp4", state: "waiting", progress: null, files: [] };
        const asked = [];
        window.fetch = async (url) => {
            asked.push(url.pathname);
            const listed = url.pathname.endsWith("videos");
            return Response.json(listed ? { videos: [] } : { ...job, state: "cancelled" });
        };
        const { Jobs } = await import("/page/jobs.js");
        const stage = document.createElement("div");
        await new Jobs(document.createElement("div"), stage).follow(job);
        return [stage.textContent, asked] }"""
    assert tab.evaluate(follow) == ["", ["/v1/videos/1", "/v1/videos"]]
    assert tab.inner_text("#announcer") == "late.mp4 was stopped"


# ---- compare ----


def figures(tab: Any) -> dict[str, list[str]]:
    """The cells of the comparison's table by the name of their row."""
    cells = [row.split("\t") for row in tab.inner_text("#comparison table").splitlines() if row]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in cells}


def test_two_tables_side_by_side(visit: Visit, tmp_path: Path) -> None:
    smile = film(*show("happy", *[0.9] * 11))
    turn = film(*show("happy", *[0.9] * 6), *show("sad", *[0.9] * 5))
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    tab = visit.open("compare")
    keep(tab, "compare-empty")
    files = [save(tmp_path / "smile.csv", smile), save(tmp_path / "turn.jsonl", turn)]
    tab.set_input_files("#compare input[type=file]", [*files, tmp_path / "notes.csv"])
    said = tab.locator("#compare .notice.error p")
    said.nth(1).wait_for()
    wrong = said.all_inner_texts()
    assert [wrong[0], wrong[1].split(";")[0]] == ["notes.csv", "Has no column schema"]
    tab.wait_for_selector("#comparison table")
    rows = figures(tab)
    assert rows["happy"] == ["100%", "60%", "\u221240"]
    assert rows["sad"] == ["0%", "40%", "+40"]
    assert rows["Time in sight"][:2] == ["1.0 s", "1.0 s"]
    assert tab.get_by_role("img", name="happy 60%, sad 40%", exact=True).count() == 1
    assert tab.evaluate("document.querySelector('#compare input[type=file]').value") == ""
    keep(tab, "compare")
    tab.get_by_role("checkbox", name="smile.csv").uncheck()
    tab.get_by_text("Choose one more.").wait_for()


def test_each_video_of_a_table_is_a_session(visit: Visit, tmp_path: Path) -> None:
    """Also one that is given twice; pictures are one session together."""
    smile = film(*show("happy", *[0.9] * 11), source="https://host/a.mp4?key=secret")
    turn = film(*show("sad", *[0.9] * 21), source="/films/b.mp4")
    pictures = [
        replace(film([face(None, "fear", 0.9)])[0], source=name) for name in ("a.jpg", "b.jpg")
    ]
    tab = visit.open("compare")
    for suffix in ("csv", "jsonl"):
        file = save(tmp_path / f"all.{suffix}", [*smile, *smile, pictures[0], *turn, pictures[1]])
        tab.set_input_files("#compare input[type=file]", file)
        names = ["a.mp4", "a.mp4", "b.mp4", "pictures"]
        until(tab, "document.querySelectorAll('#comparison thead th').length === 5")
        rows = figures(tab)
        assert rows["Expression"] == [f"all.{suffix}: {name}" for name in names]
        assert rows["happy"] == ["100%", "100%", "0%", "0%"]
        assert rows["fear"] == ["0%", "0%", "0%", "100%"]
        assert rows["Length"] == ["1.0 s", "1.0 s", "2.0 s", "\u2013"]
        assert rows["Time in sight"] == ["1.0 s", "1.0 s", "2.0 s", "\u2013"]
        assert rows["Frames"] == ["11", "11", "21", "2"]
        for box in tab.get_by_role("checkbox").all():
            box.uncheck()


def test_groups_side_by_side(visit: Visit, tmp_path: Path) -> None:
    """Each session counts once in its group's means, however long it is."""
    smile = film(*show("happy", *[0.9] * 11))
    turn = film(*show("happy", *[0.9] * 6), *show("sad", *[0.9] * 5))
    long = film(*show("happy", *[0.9] * 6), *show("sad", *[0.9] * 15))
    nobody = [replace(result, faces=()) for result in smile]
    films = {"smile.csv": smile, "turn.csv": turn, "long.csv": long, "nobody.csv": nobody}
    narrow = {"width": 360, "height": 740}
    tab = visit.open("compare", viewport=narrow, reduced_motion="reduce")
    tab.set_input_files(
        "#compare input[type=file]", [save(tmp_path / n, results) for n, results in films.items()]
    )
    tab.wait_for_selector("#comparison table")
    assert len(figures(tab)["happy"]) == 4
    tab.get_by_role("checkbox", name="nobody.csv").uncheck()
    assert tab.get_by_label("Group of nobody.csv").count() == 1
    assert not tab.get_by_label("Group of nobody.csv").is_visible()

    tab.get_by_role("checkbox", name="smile.csv").focus()
    tab.keyboard.press("Tab")
    tab.keyboard.type("before")
    tab.keyboard.press("Enter")
    tab.get_by_label("Group of long.csv").fill(" before ")
    tab.keyboard.press("Tab")
    until(tab, "document.getElementById('announcer').textContent.includes('in 2 groups')")
    rows = figures(tab)
    assert rows["Expression"] == ["before (n = 2)", "turn.csv", "Difference"]
    assert rows["happy"] == ["65%", "60%", "\u22125"]
    assert rows["sad"] == ["35%", "40%", "+5"]
    assert rows["Time in sight"][:2] == ["1.5 s", "1.0 s"]
    assert rows["Frames"][:2] == ["16", "11"]
    assert tab.evaluate(BROKEN_WORDS, "#comparison thead th") == []
    over_time = "before (n = 2) over time: happy 65%, sad 35%"
    assert tab.get_by_role("img", name=over_time, exact=True).count() == 1
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.evaluate(NAMELESS) == []
    for scheme in ("dark", "light"):
        tab.emulate_media(color_scheme=scheme)
        assert tab.evaluate(CONTRASTS) == []
        keep(tab, f"groups-{scheme}")

    tab.get_by_role("checkbox", name="nobody.csv").check()
    tab.get_by_label("Group of nobody.csv").fill("before")
    tab.keyboard.press("Tab")
    tab.get_by_text("before (n = 3, 2 with a face)").first.wait_for()
    assert figures(tab)["happy"] == ["65%", "60%", "\u22125"]
    tab.get_by_label("Group of long.csv").fill("")
    tab.keyboard.press("Tab")
    until(tab, "document.querySelectorAll('#comparison thead th').length === 4")


# ---- what holds in every room ----


def test_the_page_reads_writes_and_finds_as_mien_does(visit: Visit, tmp_path: Path) -> None:
    frames = [*CROWD, *show("sad", *np.linspace(0.2, 0.9, 9).tolist())]
    frames += hidden(show("fear", *[0.9] * 20), "covered")
    results = film(*frames, source='a,"b\n.mp4')
    tab = visit.open("compare")
    work = """async ([name, text]) => {
        const [table, { findSegments }] = await Promise.all(
          [import("/page/table.js"), import("/page/segments.js")]);
        const results = table.readTable(name, text);
        return [table.csvParts(results).join(""), table.jsonlParts(results).join(""),
          findSegments(results)] }"""
    for name in ("r.csv", "r.jsonl", "r.json"):
        file = save(tmp_path / name, results)
        rows, lines, segments = tab.evaluate(work, [name, file.read_text("utf-8")])
        (tmp_path / "back.csv").write_text(rows, "utf-8")
        (tmp_path / "back.jsonl").write_text(lines, "utf-8")
        written = list(read_results(file))
        assert list(read_results(tmp_path / "back.csv")) == written
        assert list(read_results(tmp_path / "back.jsonl")) == written
        wanted = find_segments(results)
        assert len(segments) == len(wanted) > 2
        for found, segment in zip(segments, wanted, strict=True):
            assert found == pytest.approx({key: getattr(segment, key) for key in found}), name
    twice = [replace(results[0], source="a.jpg", faces=[face(None, "sad", 0.9)])] * 2
    for name in ("t.csv", "t.jsonl"):
        text = save(tmp_path / name, [*twice, *twice[:1]]).read_text("utf-8")
        assert tab.evaluate(work, [name, text])[1].count("\n") == 3, name


def test_the_page_reads_tables_that_r_saved_anew(visit: Visit, tmp_path: Path) -> None:
    unsure = [[replace(shown, uncertain=True) for shown in faces] for faces in show("sad", 0.4)]
    frames = [*hidden(show("fear", 0.9), "covered"), [], *unsure, *show("happy", 0.8)]
    file = save(tmp_path / "r.csv", film(*frames))
    written = file.read_text("utf-8")
    anew = {"True": "TRUE", "False": "FALSE", "": "NA"}
    with (tmp_path / "anew.csv").open("w", newline="") as saved:
        rows = csv.reader(written.splitlines())
        csv.writer(saved).writerows([anew.get(cell, cell) for cell in row] for row in rows)
    by_r = (tmp_path / "anew.csv").read_text("utf-8")
    tab = visit.open("compare")
    work = """async (text) => (await import("/page/table.js")).readTable("r.csv", text)"""
    results = tab.evaluate(work, by_r)
    assert results == tab.evaluate(work, written)
    assert [[face["uncertain"] for face in result["faces"]] for result in results] == [
        [False], [], [True], [False],
    ]  # fmt: skip
    for cell, wrong, says in (
        ("TRUE", "yes", 'line 4: expected True or False as uncertain, found "yes"'),
        ("0.9", "many", "line 2: expected a number as score"),
    ):
        with pytest.raises(playwright.Error, match=rf"r\.csv: {says}"):
            tab.evaluate(work, by_r.replace(cell, wrong, 1))


def test_rare_frames_count_as_in_reports(visit: Visit, tmp_path: Path) -> None:
    smile = show("happy", *[0.9] * 8)
    away: list[list[FaceResult]] = [[]]
    tab = visit.open("compare")
    work = """async (text) => {
        const [{ readTable }, { findSegments }, { curve, facesOf, summarise }] = await Promise.all(
          ["table", "segments", "summary"].map((name) => import(`/page/${name}.js`)));
        const results = readTable("r.jsonl", text);
        const { labels, shares, total } = summarise(results);
        const points = curve(results, labels, { points: 100 });
        return [shares.happy, total, facesOf(results)[0].seen_s, findSegments(results),
          points.filter(({ p }) => p).length] }"""
    for fps in (0.5, 1, 25):
        for missed in (0, 1, 2, 2 + max(3, fps)):  # after so many a break, in which nobody is shown
            results = film(*smile, *away * round(missed), *smile, fps=fps)
            text = save(tmp_path / f"{fps}-{missed}.jsonl", results).read_text("utf-8")
            shares, total_s, seen_s, segments, drawn = tab.evaluate(work, text)
            steps = 14 + (1 if missed > 3 else missed + 1)
            assert shares == pytest.approx(1)
            assert total_s == seen_s == pytest.approx(steps / fps)
            assert drawn == pytest.approx(100 * steps / (15 + missed), abs=7)
            wanted = find_segments(results)
            assert [(s["start_s"], s["end_s"]) for s in segments] == [
                (s.start_s, s.end_s) for s in wanted
            ]
            assert len(wanted) == (2 if missed > 3 or (fps < 25 and missed > 1) else 1)


def test_a_face_of_one_frame_is_a_face(visit: Visit, tmp_path: Path) -> None:
    """No time passes in which it could be seen; and a minute is no 60.0 seconds."""
    work = """async (text) => {
        const [{ readTable }, { meanSummary, summarise }, { clock }] = await Promise.all(
          ["table", "summary", "expressions"].map((name) => import(`/page/${name}.js`)));
        const summary = summarise(readTable("r.jsonl", text));
        const { shares, seen, total, unit } = meanSummary([summary]);
        return [shares.happy, seen, total, unit, clock(59.94), clock(59.97)] }"""
    tab = visit.open("compare")
    away: list[list[FaceResult]] = [[]]
    for frames in (show("happy", 0.9), [*show("happy", 0.9), *away * 9]):
        text = save(tmp_path / f"{len(frames)}.jsonl", film(*frames)).read_text("utf-8")
        assert tab.evaluate(work, text) == [1, 1, 0, "time", "59.9 s", "1:00"]


def test_colours_that_say_something_stay_where_the_system_chooses(visit: Visit) -> None:
    """Contrast themes: legends and bars without their colours would be blank."""
    work = """async () => {
        const { legend, shareBar } = await import("/page/chart.js");
        const { Bars } = await import("/page/bars.js");
        const bars = new Bars();
        const summary = { labels: ["happy"], shares: { happy: 1 }, uncertain: 0 };
        document.body.append(legend(["happy"]), shareBar(summary), bars.element);
        const probs = { happy: 1, sad: 0 };
        bars.show({ probs, expression: "happy", confidence: 1, uncertain: false }, "Face 1");
        const shown = [".legend .swatch", ".share-bar span", ".meter .fill", ".dot"].map((name) =>
          [...document.querySelectorAll(name)].find((one) => one.style.background));
        return shown.map((one) =>
          getComputedStyle(one).backgroundColor === one.style.backgroundColor) }"""
    assert visit.open("files", forced_colors="active").evaluate(work) == [True] * 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(visit: Visit, scheme: str, tmp_path: Path) -> None:
    paper = {"light": "rgb(250, 249, 246)", "dark": "rgb(18, 22, 31)"}
    tab = visit.open(color_scheme=scheme)
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == paper[scheme]
    assert tab.evaluate(CONTRASTS) == []
    start_camera(tab)
    assert tab.evaluate(CONTRASTS) == []
    keep(tab, f"live-{scheme}")
    press(tab, "Stop")
    tab.get_by_role("link", name="Compare").first.click()
    files = [save(tmp_path / name, film(*CROWD)) for name in ("a.csv", "b.csv")]
    tab.set_input_files("#compare input[type=file]", files)
    tab.wait_for_selector("#comparison table")
    assert tab.evaluate(CONTRASTS) == []
    keep(tab, f"compare-{scheme}")

    other = "light" if scheme == "dark" else "dark"
    press(tab, "Dark colours")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == paper[other]
    tab.reload()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == paper[other]


def test_a_phone_shows_everything_without_scrolling_sideways(
    visit: Visit, portrait: UInt8Array, films: Path, tmp_path: Path
) -> None:
    tab = visit.open(viewport={"width": 360, "height": 740}, reduced_motion="reduce")
    wide = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
    assert tab.evaluate(wide) <= 360
    assert tab.evaluate("scrollY") == 0  # the room that the address names begins below the top
    gap = """() => document.querySelector("nav").getBoundingClientRect().left
        - document.querySelector(".brand").getBoundingClientRect().right"""
    assert tab.evaluate(gap) >= 8
    start_camera(tab)
    press(tab, "Record")
    assert (
        tab.evaluate("getComputedStyle(document.querySelector('.pulse')).animationName") == "none"
    )
    assert tab.evaluate(wide) <= 360
    keep(tab, "phone-live")
    press(tab, "Stop")
    tab.get_by_role("link", name="Files", exact=True).click()
    tab.set_input_files("#choose", picture(portrait, "a" * 80 + ".png"))
    tab.set_input_files("#choose", films / "clip.mp4")
    tab.wait_for_selector(".segment")
    tab.wait_for_selector("#pictures .reading:not(.nobody)")
    assert tab.evaluate(wide) <= 360
    keep(tab, "phone-files")
    tab.get_by_role("link", name="Compare", exact=True).first.click()
    files = [save(tmp_path / f"{'b' * 60}{i}.csv", film(*CROWD)) for i in range(3)]
    tab.set_input_files("#compare input[type=file]", files)
    tab.wait_for_selector("#comparison table")
    assert tab.evaluate(wide) <= 360
    keep(tab, "phone-compare")


def test_the_keyboard_reaches_everything_in_order(visit: Visit) -> None:
    tab = visit.open("")
    assert tab.evaluate(NAMELESS) == []
    reached = []
    for _ in range(7):
        tab.keyboard.press("Tab")
        reached.append(
            tab.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent")
        )
    assert reached == [
        "Skip to the content", "mien", "Live", "Files", "Compare", "Dark colours",
        "Start the camera",
    ]  # fmt: skip
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".reading:not(.nobody)")
    assert tab.evaluate(NAMELESS) == []
    # What the face shows is said to those who listen, once it lasts.
    until(tab, "document.getElementById('announcer').textContent === 'Face 1: happy'")
    tab.get_by_role("link", name="Files", exact=True).press("Enter")
    until(tab, "document.activeElement.textContent === 'Files'")
    assert tab.get_by_role("link", name="Files", exact=True).get_attribute("aria-current") == "page"
