"""From tables to a page: what is written, and what is refused."""

import csv
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.cli import main
from mien.companions import Marker, Member, names_of, read_groups, read_markers
from mien.errors import ConfigError, SourceError
from mien.report import VIEWS, write_report
from mien.report.intake import take_in
from mien.report.material import length
from mien.report.recording import FloatArray
from mien.report.words import LIMITS
from mien.results import checked_results
from mien.sinks import open_sink
from mien.timeline import build_timeline
from mien.types import EXPRESSIONS, FaceIdentity, FaceQuality, FaceShape, FrameResult
from tests.conftest import REPOSITORY
from tests.test_events import CROWD, face, film, save
from tests.test_report_figures import HAPPY, smile, unsure

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, texts, tables, and balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tables: list[list[list[str]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {tag} {attrs}"
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.words += data + " "
        if {"td", "th"} & set(self._open[-4:]) and "table" in self._open:
            self.tables[-1][-1][-1] += data

    def all(self, tag: str, class_: str = "") -> list[dict[str, str]]:
        return [a for name, a in self.elements if name == tag and class_ in a.get("class", "")]


def page(tmp_path: Path, tables: Sequence[Path], **options: Any) -> Page:
    out = tmp_path / "report.html"
    write_report(tables, out, **options)
    return Page(out.read_text("utf-8"))


@pytest.fixture
def everything(tmp_path: Path) -> dict[str, Any]:
    """Six short recordings of two people each, with markers and groups."""
    tables = []
    for i in range(6):
        frames = [[face(1, "neutral", 0.8), face(2, "sad", 0.6)]] * 20
        frames += [[face(1, "happy", 0.5 + i / 20)], []] * 20
        tables.append(save(tmp_path / f"t{i}.jsonl", film(*frames, source=f"clip{i}.mp4")))
    markers, groups = tmp_path / "markers.csv", tmp_path / "groups.csv"
    markers.write_text("time_s,label\n2,joke\n3,song\n")
    rows = [f"clip{i}.mp4,{'ab'[i % 2]},2026-01-{1 + i:02}\n" for i in range(6)]
    groups.write_text("source,group,date\n" + "".join(rows))
    return {"tables": tables, "markers": markers, "groups": groups}


def test_the_method_names_the_models(tmp_path: Path) -> None:
    def saved(name: str, models: Sequence[str | None]) -> Path:
        results = film(*[[face(1, "happy", 0.9)]] * len(models), source=f"{name}.mp4")
        named = [replace(r, model=model) for r, model in zip(results, models, strict=True)]
        return save(tmp_path / f"{name}.jsonl", named)

    unknown = "Not all tables say which model answered"
    first, second = saved("a", ["m@1<b>", "m@1<b>", "n@2"]), saved("b", ["n@2"] * 3)
    found = page(tmp_path, [first, second])
    assert "m@1<b>, n@2: name @ how" in found.words
    assert unknown not in found.words
    assert unknown in page(tmp_path, [first, saved("c", [None] * 3)]).words
    many = saved("d", [f"m@{i}" for i in range(100)])  # a table may come from anywhere
    assert "m@7: name" in page(tmp_path, [many]).words


def test_where_nothing_is_sure_no_expression_is_named(tmp_path: Path) -> None:
    frames = [[unsure(face(1, "angry", 0.3))]] * 30
    found = page(tmp_path, [save(tmp_path / "a.jsonl", film(*frames))])
    assert "read with a sure answer" in found.words
    assert "showed an expression" in found.words
    assert "showed angry" not in found.words


def test_a_length_has_no_sixty_seconds() -> None:
    assert [length(s) for s in (59.94, 59.97, 60.2)] == ["59.9 seconds", "1 min 0 s", "1 min 0 s"]


def test_markers_that_a_view_does_not_show_are_mentioned(everything: dict[str, Any]) -> None:
    tables, markers = everything["tables"], everything["markers"]
    out, figures = tables[0].with_name("r.html"), tables[0].with_name("r.json")
    for view in VIEWS:
        found = write_report(tables, out, view=view, markers=markers).notes
        assert (view == "wellbeing") == any(
            note.startswith("markers.csv: the view wellbeing shows no reactions") for note in found
        )
    both = write_report(tables, [out, figures], view="wellbeing", markers=markers)
    assert not any("reactions" in note for note in both.notes)


def test_markers_of_no_recording_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip of the pen would lose a moment: on the page, in the figures and on stderr."""
    table = save(tmp_path / "t.csv", smile("films/v.mp4"))
    markers = tmp_path / "m.csv"
    markers.write_text("time_s,label,source\n2,joke,v.mp4\n2,joke,V.mp4\n3,pun,w.mp4\n2,all,\n")
    outs = [tmp_path / "r.html", tmp_path / "f.json"]
    options = [part for out in outs for part in ("--out", str(out))]
    assert main(["report", str(table), "--markers", str(markers), *options]) == 0
    note = "m.csv: no recording here is called V.mp4, w.mp4"
    assert note + "\n" in capsys.readouterr().err
    assert note in Page(outs[0].read_text("utf-8")).words
    assert json.loads(outs[1].read_text("utf-8"))["problems"] == [note]
    markers.write_text("time_s,label,source\n2,joke,v.mp4\n2,joke,films/v.mp4\n")
    assert not write_report([table], outs, markers=markers).notes


def test_labels_without_a_chart_are_counted(tmp_path: Path) -> None:
    markers = tmp_path / "markers.csv"
    markers.write_text("time_s,label\n" + "".join(f"2,moment {i}\n" for i in range(13)))
    found = page(tmp_path, [save(tmp_path / "a.jsonl", smile())], markers=markers)
    assert "1 more label is left out." in found.words


def check_page(found: Page) -> None:
    """No script, nothing from elsewhere, and readable by those who do not see it."""
    for tag, attributes in found.elements:
        assert tag not in ("script", "link", "iframe", "object", "form", "base"), tag
        for key, value in attributes.items():
            assert not key.startswith("on"), (tag, key)
            assert "//" not in value or "aria" in key, (tag, key, value)
            assert "url(" not in value
        if "src" in attributes:
            assert attributes["src"].startswith("data:image/jpeg;base64,")
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for link in found.all("a"):
        assert link["href"].removeprefix("#") in ids
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for table in found.tables:
        assert len({len(row) for row in table}) == 1, table[:2]
    (policy,) = [m for m in found.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy["content"].startswith("default-src 'none'")


@pytest.mark.parametrize("view", VIEWS)
def test_every_view(tmp_path: Path, everything: dict[str, Any], view: str) -> None:
    found = page(tmp_path, view=view, **everything)
    check_page(found)
    assert VIEWS[view].title in found.words
    assert "Purpose not stated" in found.words
    assert set(VIEWS[view].sections) <= {a.get("id") for _, a in found.elements}
    for sentence in re.findall(r"[^.]*\bfelt\b[^.]*", found.words):
        assert "nothing here says" in sentence
    stated = page(tmp_path, view=view, purpose="A trial & consent", **everything)
    assert "Purpose not stated" not in stated.words
    assert "A trial & consent" in stated.words


def test_what_single_views_promise(tmp_path: Path, everything: dict[str, Any]) -> None:
    def words(view: str) -> str:
        return page(tmp_path, view=view, **everything).words

    anonymous = words("experience")
    assert not re.search(r"clip\d|t\d\.jsonl|face \d", anonymous)
    assert "no diagnosis" in words("wellbeing")
    learning = words("learning")
    assert "prohibited in the European Union since 2 February 2025" in learning
    assert "Article 5(1)(f)" in learning
    assert "Best moments" in words("entertainment")
    assert "clip3.mp4" in words("research")


def test_what_hinders_reading_is_counted(tmp_path: Path) -> None:
    good, small = FaceQuality(0.9, ()), FaceQuality(0.2, ("small", "turned"))
    rated = [
        replace(face(1, "happy", 0.9), quality=quality) for quality in (good, good, good, small)
    ]
    table = save(tmp_path / "rated.jsonl", film(*([one] for one in rated * 10)))
    found = page(tmp_path, [table])
    rows = {row[0]: row for table in found.tables for row in table}
    for reason in ("hard to read, of that:", "small", "turned"):
        assert "25%" in " ".join(rows[reason])
    assert "covered" not in rows
    unrated = save(tmp_path / "old.jsonl", film(*([face(1, "happy", 0.9)] for _ in range(40))))
    assert "hard to read" not in page(tmp_path, [unrated]).words


def test_what_hinders_reading_is_of_what_is_known(tmp_path: Path) -> None:
    """One table says how faces are turned and how well they can be read, and another does not."""
    straight, turned = (FaceShape(0.9, yaw, 0, 0, (0, 0), (0, 0), 0, 0.8) for yaw in (0, 45))
    bad = FaceQuality(0.2, ("small",))
    seen = [
        replace(face(1, "happy", 0.9), shape=shape, quality=quality)
        for shape, quality in ((straight, FaceQuality(0.9)), (turned, bad))
    ]
    says = save(tmp_path / "a.jsonl", film(*[[one] for one in seen * 20]), shape=True)
    silent = save(tmp_path / "b.jsonl", film(*[[face(1, "happy", 0.9)]] * 40, source="b.mp4"))
    rows = {row[0]: row[2] for table in page(tmp_path, [says, silent]).tables for row in table[1:]}
    assert rows["turned by more than 30 degrees"] == "50% of the time in sight with a known pose"
    for name in ("hard to read, of that:", "small"):
        assert rows[name] == "50% of the time in sight with a known quality"


def test_shares_of_several_recordings_are_said_to_be_means(tmp_path: Path) -> None:
    """A long and a short one: each counts once."""
    tables = [
        save(tmp_path / f"{name}.jsonl", film(*[[face(1, name, 0.9)]] * n, source=f"{name}.mp4"))
        for name, n in (("happy", 900), ("sad", 100))
    ]
    found = page(tmp_path, tables)
    mean = "of the time in sight, averaged over 2 recordings"
    assert re.search(rf"faces showed .*happy for 50% .* {mean}\.", found.words)
    assert found.words.count(mean) == 4  # as a figure, twice in sentences, over the table
    assert "averaged over" not in page(tmp_path, tables[:1]).words
    groups = tmp_path / "groups.csv"
    groups.write_text("source,person\nhappy.mp4,Ada\nsad.mp4,Bo\n")
    assert "averaged over 2 people" in page(tmp_path, tables, groups=groups).words


def test_names_are_found_however_their_accents_are_written(tmp_path: Path) -> None:
    """A Mac writes two signs for an accented letter in a file's name, a spreadsheet one."""
    one, two = "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}.mp4", "Zoe\N{COMBINING DIAERESIS}.mp4"
    groups, markers = tmp_path / "groups.csv", tmp_path / "markers.csv"
    for there, written in ((one, two), (two, one)):
        groups.write_text(f"source,group\n{written},a\n", "utf-8")
        markers.write_text(f"time_s,label,source\n1,bell,{written}\n", "utf-8")
        (member,), (marker,) = read_groups(groups), read_markers(markers)
        assert member.source in names_of(f"films/{there}")
        assert marker.concerns(f"films/{there}")
    groups.write_text(f"source,group\n{one},a\n{two},b\n", "utf-8")
    with pytest.raises(ConfigError, match="for the second time"):
        read_groups(groups)


def test_pictures_are_called_pictures(tmp_path: Path) -> None:
    pictures = [film([face(None, "sad", 0.9)], source=f"{i}.jpg")[0] for i in range(4)]
    groups = tmp_path / "groups.csv"
    groups.write_text("source,group\n" + "".join(f"{i}.jpg,{'ab'[i % 2]}\n" for i in range(4)))
    tables = [save(tmp_path / "a.jsonl", pictures[:2]), save(tmp_path / "b.jsonl", pictures[2:])]
    out = tmp_path / "figures.json"
    write_report(tables, out, view="wellbeing", groups=groups)
    assert {group["unit"] for group in json.loads(out.read_text())["groups"]} == {"pictures"}
    for view in ("research", "wellbeing"):
        found = page(tmp_path, tables, groups=groups, view=view)
        assert "of the faces, averaged over 4 pictures" in found.words
        main = found.words.rpartition("Method and limits")[0]
        assert "time in sight" not in main
        assert "How good the pictures are" in main
    found = page(tmp_path, tables, groups=groups)
    assert "a has 2, b has 2 pictures." in found.words
    assert "30 sure answers" in page(tmp_path, tables, view="wellbeing").words


def test_documents_agree_on_how_disputed_the_labels_are() -> None:
    said = re.compile(r"majority\s+of\s+ten\s+later\s+annotators[^%]{0,40}\s(\d+%)")
    card = (REPOSITORY / "models/mien-s.md").read_text("utf-8")
    texts = ((REPOSITORY / "README.md").read_text("utf-8"), card, " ".join(LIMITS))
    assert {said.findall(text)[0] for text in texts} == {"63%"}


def shares_in(polygons: Sequence[dict[str, str]]) -> FloatArray:
    """What stacked areas show: `(N, K)`, from the tops of those that cover each other."""
    tops = []
    for polygon in polygons[::-1]:  # the lowest is drawn last
        points = [pair.split(",") for pair in polygon["points"].split()]
        # The ends of an outline repeat its first and last height, and two points close it below.
        tops.append([1 - float(y) / 100 for _, y in points[1:-3]])
    return np.diff(np.array(tops), axis=0, prepend=0).T


def test_charts_show_what_their_tables_say(tmp_path: Path) -> None:
    found = page(tmp_path, [save(tmp_path / "a.jsonl", smile())])
    areas = shares_in(found.all("polygon", "c"))
    (curve,) = [t for t in found.tables if t[0] == ["from", *EXPRESSIONS, "uncertain"]]
    written = np.array([[int(cell.strip("<%")) for cell in row[1:8]] for row in curve[1:]])
    assert areas.shape == written.shape == (60, 7)
    assert 100 * areas == pytest.approx(written, abs=0.7)
    (segments,) = [t for t in found.tables if t[0][0] == "from, to" and t[0][1] == "expression"]
    assert segments[1] == ["2.0 s to 5.9 s", "happy", "80%", "80%"]
    bars = [r for r in found.all("rect", f"c{HAPPY}") if r["height"] == "100"]
    assert [(float(b["x"]), float(b["width"])) for b in bars] == [
        pytest.approx((1000 * 2 / 6, 1000 * 3.9 / 6), abs=0.1)
    ]


def test_reaction_curves_are_written_down(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("time_s,label\n2,joke\n")
    found = page(tmp_path, [save(tmp_path / "a.jsonl", smile())], markers=tmp_path / "m.csv")
    lines = found.all("polyline", "curve")
    assert len(lines) == len(EXPRESSIONS)
    heights = [float(pair.split(",")[1]) for pair in lines[HAPPY]["points"].split()]
    (table,) = [t for t in found.tables if t[0] == ["from", *EXPRESSIONS]]
    known = [row[1 + HAPPY] for row in table[1:] if row[1 + HAPPY] != "\u2013"]
    # The axis goes from -60 to 60 points, from the bottom (100) to the top (0).
    drawn = [(50 - y) / 50 * 60 for y in heights]
    assert drawn == pytest.approx([float(value) for value in known], abs=0.1)
    assert known[0] == "+0.0"
    assert known[-1] == "+60.0"


def test_a_showing_has_an_interval_and_its_beginning_none(tmp_path: Path) -> None:
    """One film of eight faces, all in sight throughout, with a moment in its first frame."""
    (tmp_path / "m.csv").write_text("time_s,label\n2,joke\n0,film starts\n99,joke\n")
    frames = [[face(i, "happy", 0.2 + i / 20 * (n > 20)) for i in range(8)] for n in range(60)]
    table = save(tmp_path / "a.jsonl", film(*frames))
    for view in ("entertainment", "experience"):
        words = page(tmp_path, [table], view=view, markers=tmp_path / "m.csv").words
        assert "Mean of 8 faces. They saw the same showing together" in words
        assert "cannot have an interval" not in words
        assert "Left out: 1 occurrence before a recording begins or after it ends." in words
        assert "film starts: 1 occurrence where a recording begins, with no second before" in words
        assert "No face was seen" not in words
        assert "No more than" not in words


def test_a_timeline_belongs_to_a_person(tmp_path: Path) -> None:
    ada = FaceIdentity("Ada <b>", 0.9)
    frames = [[replace(face(1, "happy", 0.9), identity=ada)]] * 10 + [[]] * 20
    frames += [[replace(face(2, "sad", 0.9), identity=ada), face(3, "sad", 0.8)]] * 10
    save(tmp_path / "a.jsonl", film(*frames), identity=True)
    found = page(tmp_path, [tmp_path / "a.jsonl"])
    check_page(found)
    assert not re.search("face [12]", found.words)
    (rows,) = [table[1:] for table in found.tables if table[0][:2] == ["face", "in sight"]]
    assert [row[:2] for row in rows] == [["Ada <b>", "2 s"], ["face 3", "1 s"]]
    (moments,) = [table[1:] for table in found.tables if table[0][:2] == ["expression", "face"]]
    assert [row[:2] for row in moments] == [["happy", "Ada <b>"], ["sad", "Ada <b>"], ["sad", "3"]]
    assert found.words.count("mean probabilities in spans") == 2  # a timeline each
    anonymous = page(tmp_path, [tmp_path / "a.jsonl"], view="experience")
    assert "Ada" not in anonymous.words


def test_people_are_not_mixed_into_one_trend(tmp_path: Path) -> None:
    tables, rows = [], ["source,person,date"]
    for i, person in enumerate(("Ada", "Bo", "Ada", "Bo", "Cy", "")):
        tables.append(save(tmp_path / f"{i}.jsonl", smile(f"{i}.mp4", n=600)))
        rows.append(f"{i}.mp4,{person},2026-01-{1 + i:02}")
    groups = tmp_path / "g.csv"
    groups.write_text("\n".join(rows))
    found = page(tmp_path, tables, view="wellbeing", groups=groups)
    check_page(found)
    headings = re.findall(r"(\w+): Pleasant \(happy\)", found.words)
    assert headings == ["Ada", "Bo"]
    assert found.words.count("Trend over 2 sessions") == 6
    assert "Cy has one session, and so no trend." in found.words
    assert "Of 1 session nobody says whose: no trend." in found.words
    (listing,) = [table for table in found.tables if table[0][0] == "day"]
    assert [row[2] for row in listing] == ["person", "Ada", "Bo", "Ada", "Bo", "Cy", "\u2013"]
    for day, table in enumerate(tables):
        os.utime(table, (86_400 * (20_000 + day),) * 2)
    words = page(tmp_path, tables, view="wellbeing").words
    assert "All sessions are taken for one person's." in words
    assert "Trend over 6 sessions" in words


def test_names_are_only_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x00\u202e.mp4"
    table = save(tmp_path / "<b>&.jsonl", smile(f"in/{evil}"))
    with (tmp_path / "g.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["source", "group"], ["v.mp4", "</table><script>"]])
    with (tmp_path / "m.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["time_s", "label"], ["2", f"{evil}{{}}"]])
    markers, groups = tmp_path / "m.csv", tmp_path / "g.csv"
    other = save(tmp_path / "o.jsonl", smile())
    found = page(tmp_path, [table, other], markers=markers, groups=groups, purpose=evil)
    check_page(found)
    assert "<script>alert(1)" in found.words  # as words, and only as these
    lone = save(tmp_path / "s.csv", smile())
    lone.write_bytes(lone.read_bytes().replace(b"v.mp4", b"\xed\xb2\x80.mp4"))
    with pytest.raises(SourceError, match="not results of"):
        take_in(lone)
    lone = save(tmp_path / "s.jsonl", smile())
    lone.write_text(lone.read_text().replace("v.mp4", "\\udc80.mp4"))
    check_page(page(tmp_path, [lone]))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/b/c.mp4", "c.mp4"),
        (r"C:\people\ada.mp4", "ada.mp4"),
        ("rtsp://user:secret@camera", "camera"),
        ("http://user:secret@host/live", "live"),
        ("https://host/live.m3u8?token=secret/1", "live.m3u8"),
        ("", "unnamed"),
    ],
)
def test_folders_and_passwords_are_left_out(tmp_path: Path, source: str, name: str) -> None:
    table = save(tmp_path / "a.jsonl", smile(source))
    found = page(tmp_path, [table])
    assert name in found.words
    assert "secret" not in found.words
    assert "people\\" not in found.words


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/home/secret/ada.mp4", "ada.mp4"),
        (r"C:\secret\ada.mp4", "ada.mp4"),
        ("https://user:secret@host/live.m3u8?token=secret", "live.m3u8"),
    ],
)
def test_what_a_page_says_is_missing_names_no_folder(
    tmp_path: Path, source: str, name: str
) -> None:
    """The page is sent to others; passwords are not even for those who make it."""
    good = save(tmp_path / "good.jsonl", smile())
    for trouble in ("time_s", "order", "classes"):
        results = smile(source, n=3)
        if trouble == "time_s":
            results[1] = replace(results[1], time_s=-1)
        elif trouble == "order":
            results[2] = replace(results[2], time_s=0.05)
        else:
            other = replace(results[1].faces[0], probs={"happy": 1.0})
            results[1] = replace(results[1], faces=[other])
        found = page(tmp_path, [good, save(tmp_path / f"{trouble}.jsonl", results)])
        assert f"{trouble}.jsonl: frame {2 if trouble == 'order' else 1} of {name}" in found.words
        assert "secret" not in found.words
    groups = tmp_path / "g.csv"
    groups.write_text(f"source,group\n{source},a\n")
    found = page(tmp_path, [good], groups=groups)
    assert f"is called {name}" in found.words
    assert "secret" not in found.words


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b"", "holds no frame"),
        ("a.csv", b"schema,source\n", "holds no frame"),
        ("a.json", b"[]", "holds no frame"),
        ("a.json", b"[\n]\n", "holds no frame"),
        ("a.jsonl", b'{"schema": "mien/1", "sour', "not results of"),
        ("a.csv", b"name,age\nAda,36\n", "not results of"),
        ("a.csv", b"schema,source\n" + b"x" * 200_000, "not results of"),
        ("a.jsonl", b"[" * 100_000, "not results of"),
        ("a.parquet", b"PAR1" + b"\0" * 40 + b"PAR1", "not results of"),
        ("a.txt", b"", "expected results of"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert main(["report", str(tmp_path / name), "--out", str(tmp_path / "r.html")]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert name in said
    assert said.count("\n") == 1
    assert not (tmp_path / "r.html").exists()


def test_the_command_names_every_view(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    said = capsys.readouterr().out
    assert all(view in said for view in VIEWS)
    table = str(save(tmp_path / "a.jsonl", smile()))
    assert main(["report", table, "--out", str(tmp_path / "r.html"), "--view", "sales"]) == 2
    assert "view sales: expected one of research, wellbeing" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["time", "backwards", "probability", "classes", "expression"])
def test_values_that_cannot_be(tmp_path: Path, change: str) -> None:
    results = smile()
    shown = results[5].faces[0]
    changed = {
        "time": replace(results[5], time_s=float("nan")),
        "backwards": replace(results[5], time_s=0.1),
        "probability": replace(results[5], faces=[replace(shown, probs={**shown.probs, "sad": 7})]),
        "classes": replace(results[5], faces=[replace(shown, probs={"happy": 1.0})]),
        "expression": replace(results[5], faces=[replace(shown, expression="bored")]),
    }
    results[5] = changed[change]
    table = save(tmp_path / "a.jsonl", results)
    with pytest.raises(SourceError, match=r"a\.jsonl: frame 5 of v\.mp4"):
        write_report([table], tmp_path / "r.html")
    with pytest.raises(SourceError, match=r"v\.mp4: frame 5 |a\.jsonl: frame 5 of v\.mp4"):
        build_timeline(checked_results(table))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time_s", None),
        ("time_s", "soon"),
        ("source", None),
        ("box", [1]),
        ("box", [1, 2, "wide", 4]),
        ("track_id", {}),
        ("expression", []),
        ("probs", [0.5]),
        ("probs", dict.fromkeys(EXPRESSIONS, "much")),
        ("probs", dict.fromkeys(EXPRESSIONS, 10**400)),
    ],
)
@pytest.mark.parametrize("verb", ["report", "plot"])
def test_values_of_another_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, name: str, value: object
) -> None:
    objects = [result.to_dict() for result in smile()]
    for frame in objects:
        frame.update({name: value} if name in frame else {})
        frame["faces"][0].update({name: value} if name in frame["faces"][0] else {})
    table, out = tmp_path / "a.jsonl", tmp_path / "r.html"
    table.write_text("".join(json.dumps(frame) + "\n" for frame in objects))
    code = main([verb, str(table), "--out", str(out)])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "a.jsonl" in said or code == 0
    assert code == (0 if name == "source" else 2)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_kind_of_table(tmp_path: Path, suffix: str) -> None:
    found = page(tmp_path, [save(tmp_path / f"a{suffix}", film(*CROWD))])
    assert "independent look" in found.words
    assert "face 2" in found.words


def test_parquet_needs_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = save(tmp_path / "a.parquet", smile())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"needs pyarrow.*mien\[parquet\]"):
        take_in(table)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "results",
    [
        film([], [], []),
        film([]),
        film([face(None, "happy", 0.9)]),
        film([face(1, "happy", 0.9)]),
        film([unsure(face(1, "happy", 0.3))], [unsure(face(1, "sad", 0.3))]),
        [*film([face(None, "sad", 0.9)], source="a.jpg"), *film(*CROWD)],
        [replace(r, time_s=7.0) for r in film(*CROWD)],
        [replace(r, time_s=r.time_s + 1.7e9) for r in film(*CROWD)],
    ],
    ids=["nobody", "one without", "picture", "one frame", "unsure", "mixed", "no time", "epoch"],
)
def test_thin_tables_give_a_page(tmp_path: Path, results: list[FrameResult], view: str) -> None:
    (tmp_path / "m.csv").write_text("time_s,label\n0.3,joke\n")
    (tmp_path / "g.csv").write_text("source,group\nv.mp4,a\n")
    table = save(tmp_path / "a.jsonl", results)
    found = page(
        tmp_path, [table], view=view, markers=tmp_path / "m.csv", groups=tmp_path / "g.csv"
    )
    check_page(found)
    assert not re.search(r"\bnan\b", " ".join([found.words, *map(str, found.elements)]))
    if not any(result.faces for result in results):
        assert "No face was seen" in found.words


def test_the_page_says_what_is_true_of_rare_frames_and_mixtures(tmp_path: Path) -> None:
    pictures = film([face(None, "sad", 0.9)], source="a.jpg")
    rare = film(*[[face(1, "happy", 0.9)]] * 20, fps=0.5)
    found = page(tmp_path, [save(tmp_path / "a.jsonl", [*rare, *pictures])])
    (rows,) = [
        t for t in found.tables if t[0] == ["what", "how much", "share"] and "40.0 s" in t[1]
    ]
    assert ["breaks between frames of more than 0.5 s and 4 usual steps", "0", ""] in rows
    assert "1 recording of 40.0 seconds and 1 picture." in found.words
    assert "These figures are of the recordings alone." in found.words
    shares = next(t for t in found.tables if t[0][:2] == ["expression", "sure answers"])
    assert shares[1][:2] == ["happy", "100%"]
    short = page(tmp_path, [save(tmp_path / "b.jsonl", smile())])
    (curve,) = [t for t in short.tables if t[0][0] == "from" and t[0][-1] == "uncertain"]
    begins = [row[0] for row in curve[1:]]
    assert len(begins) == len(set(begins))


def test_a_bad_table_costs_the_others_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = save(tmp_path / "good.jsonl", smile()), tmp_path / "bad.jsonl"
    bad.write_text("{}")
    custom = save(tmp_path / "custom.jsonl", smile())
    custom.write_text(custom.read_text().replace('"neutral"', '"calm"'))
    out = str(tmp_path / "r.html")
    assert main(["report", str(good), str(bad), str(custom), "--out", out]) == 3
    said = capsys.readouterr().err
    assert "bad.jsonl: not results of" in said
    assert "custom.jsonl: has the classes" in said
    words = Page(Path(out).read_text("utf-8")).words
    assert "bad.jsonl: not results of" in words
    assert str(tmp_path) not in words
    assert main(["report", str(good), "--out", out]) == 2
    assert "already there" in capsys.readouterr().err
    assert main(["report", str(good), "--out", out, "--overwrite"]) == 0
    assert main(["report", str(good), "--out", str(tmp_path / "r.pdf")]) == 2
    assert main(["report", str(good), "--out", str(tmp_path / "no" / "r.html")]) == 2
    assert "no/r.html: there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("when,what\n1,a\n", "expected columns time_s, label"),
        ("time_s,label\nsoon,a\n", "line 2: time_s is 'soon'"),
        ("time_s,label\nnan,a\n", "line 2: time_s is 'nan'"),
        ("time_s,label\n1,\n", "line 2"),
        ("", "found none"),
        ("time_s,label\n2,4,a\n", "line 2: has more cells than there are columns"),
        ('time_s,label\n"2,4",a\n', "line 2: time_s is '2,4'"),
    ],
)
def test_markers_that_are_none(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(says)):
        read_markers(tmp_path / "m.csv")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_markers(tmp_path / "nowhere.csv")


def test_markers_as_spreadsheets_write_them_where_a_comma_begins_fractions(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_bytes("\ufefftime_s;label;source\r\n2,4;ein, zwei;v.mp4\r\n13;drei;;\r\n".encode())
    assert read_markers(file) == [Marker(2.4, "ein, zwei", "v.mp4"), Marker(13.0, "drei")]
    file.write_bytes("time_s;label\r\n2,4;zwölf\r\n".encode("cp1252"))
    with pytest.raises(ConfigError, match=r"not in UTF-8.* save it as “CSV UTF-8”"):
        read_markers(file)


def test_groups_as_spreadsheets_write_them(tmp_path: Path) -> None:
    file = tmp_path / "g.csv"
    file.write_bytes("\ufeffSource, Group,date\nv.mp4, ä ,2026-03-01\n,,\n".encode())
    assert read_groups(file) == [Member("v.mp4", "ä", "", date(2026, 3, 1))]
    file.write_text("source;group\nv.mp4;a, b\n")
    assert read_groups(file) == [Member("v.mp4", "a, b")]
    file.write_text("source,date\nv.mp4,1.3.2026\n")
    with pytest.raises(ConfigError, match="Expected YYYY-MM-DD"):
        read_groups(file)
    file.write_text("source,group\nv.mp4,a\nv.mp4,b\n")
    with pytest.raises(ConfigError, match="for the second time"):
        read_groups(file)
    file.write_bytes(b"source,group\n\xff\xfe,a\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_groups(file)


def test_groups_that_miss_what_they_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip of the pen would move a session to another day, and make another person of it."""
    for name in ("monday", "tuesday"):
        save(tmp_path / f"{name}.csv", smile(f"{name}.mp4"))
    groups = tmp_path / "g.csv"
    groups.write_text("source,person,date\nmonday.csv,A,2026-03-02\ntusday.csv,A,2026-03-03\n")
    tables = [str(tmp_path / f"{name}.csv") for name in ("monday", "tuesday")]
    out = tmp_path / "r.html"
    assert main(["report", *tables, "--groups", str(groups), "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "g.csv: no recording and no table here is called tusday.csv\n" in said
    assert "g.csv: says nothing of tuesday.mp4: no group, no person, and for a date the day" in said
    assert "g.csv: says for tuesday.mp4 no person: each counts as a person of its own" in said
    assert "tusday.csv" in Page(out.read_text("utf-8")).words
    # A group without a date is a place in time all the same, and nobody chose that.
    groups.write_text("source,group,date\nmonday.csv,a,2026-03-02\ntuesday.csv,b,\n")
    again = ["--groups", str(groups), "--out", str(out), "--overwrite"]
    assert main(["report", *tables, *again]) == 0
    said = capsys.readouterr().err
    assert said.count("g.csv: ") == 1
    assert "g.csv: says for tuesday.mp4 no date: the day on which the table was last" in said
    words = Page(out.read_text("utf-8")).words
    assert "Of 1 recording nobody says a date: the day on which" in words
    groups.write_text("source,group\nmonday.csv,a\ntuesday.csv,b\n")
    assert main(["report", *tables, *again]) == 0
    assert "g.csv: " not in capsys.readouterr().err  # nobody speaks of dates


def test_who_is_in_several_recordings_is_said(tmp_path: Path) -> None:
    """Ada is out of a gallery; strangers have a number in each table."""
    tables = []
    for table, names in {"a": ("Ada", "person-1"), "b": ("Ada", "person-1", "person-2")}.items():
        tables.append(tmp_path / f"{table}.jsonl")
        with open_sink(tables[-1], identity=True) as sink:
            for name in names:
                whose = replace(face(1, "happy", 0.9), identity=FaceIdentity(name, 0.9))
                for result in film(*[[whose]] * 5, source=f"{table} {name}.mp4"):
                    sink.write(result)
    (note,) = write_report(tables, tmp_path / "f.json").notes
    assert note.startswith("several recordings show Ada. Each recording counts as if")
    rows = [f"{t} {n}.mp4,{n}\n" for t, n in (("a", "Ada"), ("a", "person-1"), ("b", "Ada"),
                                             ("b", "person-1"), ("b", "person-2"))]  # fmt: skip
    (tmp_path / "g.csv").write_text("source,person\n" + "".join(rows))
    assert write_report(tables, tmp_path / "f.json", groups=tmp_path / "g.csv").notes == ()


def test_what_is_given_twice_does_not_count_twice(tmp_path: Path) -> None:
    """One file by two names counts once; one analysis in two formats is named."""
    frames = smile()
    first, second = (save(tmp_path / name, frames) for name in ("a.csv", "a.jsonl"))
    figures = tmp_path / "f.json"
    same = tmp_path / "." / "x" / ".." / "a.csv"
    (tmp_path / "x").mkdir()
    outcome = write_report([first, same], figures)
    assert outcome.notes == ("a.csv: given 2 times, counts once",)
    assert len(json.loads(figures.read_text("utf-8"))["recordings"]) == 1
    (note,) = write_report([first, second], figures).notes
    assert note.startswith("a.jsonl: holds v.mp4")
    assert "as in a.csv. Both count" in note


def test_a_table_sorted_by_face_is_doubted(tmp_path: Path) -> None:
    """It looks like one whose sources were given twice."""
    both = film(*[[face(1, "happy", 0.9), face(2, "sad", 0.9)]] * 20)
    table = save(tmp_path / "t.csv", both)
    assert write_report([table], tmp_path / "f.json").notes == ()
    head, *rows = table.read_text("utf-8").splitlines(keepends=True)
    table.write_text("".join([head, *rows[::2], *rows[1::2]]), "utf-8")
    assert write_report([table], tmp_path / "f.json").notes == (
        "t.csv: holds v.mp4 more than once, counted as recordings of their own. If the table was "
        "sorted by face, sort it by frame",
    )
