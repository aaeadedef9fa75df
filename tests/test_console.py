"""The terminal's table and bar."""

import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unicodedata import category

import pytest

from mien import console
from mien.cli import main
from mien.cli.exits import say
from mien.console import FaceTally, Progress, table_head, table_rows
from mien.errors import SinkError
from mien.pipeline import Analyzer
from mien.sources import Source
from mien.types import EXPRESSIONS, FaceIdentity, FaceQuality, FaceResult, Frame, FrameResult


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_table_names_face_time_and_doubt() -> None:
    probs = dict.fromkeys(EXPRESSIONS, 1 / 7)
    face = FaceResult((1, 2, 3, 4), 0.9, ((0, 0),) * 5, "sad", 0.42, True, probs)
    poor = replace(face, quality=FaceQuality(0.2, ("small", "turned")))
    results = [
        FrameResult("folder/a-very-long-name-of-a-holiday-picture.jpg", 0, 0.0, 9, 9, (face,)),
        FrameResult("b.mp4", 3, 1.25, 9, 9),
        FrameResult("c.mp4", 4, 1.5, 9, 9, (poor,)),
    ]
    first, second, third = (row for result in results for row in table_rows(result, is_video=True))
    assert table_head().index("expression") == first.index("sad?")
    assert "sad?" in first
    assert "42%" in first
    assert "1, 2, 3, 4" in first
    assert "picture.jpg"[-9:] in first
    assert "1.250" in second
    assert "no face found" in second
    assert first.endswith("90%")
    assert third.endswith("90%  (small, turned)")


def test_names_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A file out of somebody's archive, in the table and in messages."""
    evil = "\x1b]0;owned\x07\x9b2J\r.png"
    rows = list(table_rows(FrameResult(evil, 0, 0.0, 9, 9), is_video=False))
    say(f"mien: {evil}: not a picture\nsecond line é\u202f")
    said = capsys.readouterr().err
    assert (
        said == "mien: \ufffd]0;owned\ufffd\ufffd2J\ufffd.png: not a picture\nsecond line é\u202f\n"
    )
    for text in (*rows, said.replace("\n", "")):
        assert not any(category(letter) == "Cc" for letter in text)
    probs = dict.fromkeys(EXPRESSIONS, 1 / 7)
    face = FaceResult((1, 2, 3, 4), 0.9, ((0, 0),) * 5, "sad", 0.42, True, probs)
    named = replace(face, identity=FaceIdentity("A\x1b[1mda", 0.9))
    (row,) = table_rows(FrameResult("a.png", 0, 0.0, 9, 9, (named,)), is_video=False, identity=True)
    assert row.endswith("A\ufffd[1mda")


def test_the_tally_of_a_video_counts_each_face_in_the_frames_that_show_it() -> None:
    probs = dict.fromkeys(EXPRESSIONS, 1 / 7)
    box, landmarks = (1.0, 2.0, 3.0, 4.0), ((0.0, 0.0),) * 5
    neutral = FaceResult(box, 0.9, landmarks, "neutral", 0.8, False, probs, track_id=1)
    happy = replace(neutral, expression="happy")
    unsure = replace(happy, uncertain=True, track_id=2, identity=FaceIdentity("Ada", 0.9))
    tally = FaceTally()
    assert tally.lines() == []  # nothing was read
    tally.count(FrameResult("v.mp4", 0, 0.0, 9, 9))
    assert tally.lines() == ["no face found"]
    for i, faces in enumerate([(neutral,), (neutral, unsure), (happy, unsure), (neutral,)]):
        tally.count(FrameResult("v.mp4", i + 1, i / 9, 9, 9, faces))
    assert tally.lines() == [
        "face 1, in 4 of 5 frames: neutral 75%, happy 25%",
        "Ada, in 2 of 5 frames: uncertain 100%",
    ]
    for number in range(3, 8):
        tally.count(FrameResult("v.mp4", 9, 9.0, 9, 9, (replace(happy, track_id=number),)))
    *_, last_face, rest = tally.lines()
    assert last_face == "face 5, in 1 of 10 frames: happy 100%"
    assert rest == "2 more faces, in no more frames than these"


def test_the_tally_takes_a_person_who_comes_back_for_one_and_no_moment_for_nothing() -> None:
    probs = dict.fromkeys(EXPRESSIONS, 1 / 7)
    sad = FaceResult((1.0, 2.0, 3.0, 4.0), 0.9, ((0.0, 0.0),) * 5, "sad", 0.8, False, probs)
    tally = FaceTally()
    for i in range(300):
        whose = FaceIdentity("Ada" if i > 20 else None, None)  # nobody, until enough was seen
        shown = "happy" if i == 200 else "sad"
        face = replace(sad, expression=shown, track_id=1 + i // 150, identity=whose)
        tally.count(FrameResult("v.mp4", i, i / 25, 9, 9, (face,)))
    assert tally.lines() == ["Ada, in 300 of 300 frames: sad >99%, happy <1%"]


def test_the_tally_of_a_camera_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands pass by, some with a name; who stays, and who comes back, is counted in full."""
    monkeypatch.setattr(console, "_MOST_COUNTED", 20)
    probs = dict.fromkeys(EXPRESSIONS, 1 / 7)
    sad = FaceResult((1.0, 2.0, 3.0, 4.0), 0.9, ((0.0, 0.0),) * 5, "sad", 0.8, False, probs)
    tally = FaceTally()
    for i in range(300):
        ada, bob = (FaceIdentity(name, None) for name in ("Ada", f"Bob {i}"))
        faces = [
            replace(sad, track_id=1),
            replace(sad, track_id=10 * i + 2, identity=ada),
            replace(sad, track_id=10 * i + 3, identity=bob),
            replace(sad, track_id=10 * i + 4),
        ]
        tally.count(FrameResult("0", i, i / 25, 9, 9, tuple(faces)))
    assert len(tally._answers) + len(tally._people) + len(tally._earlier) < 80
    lines = tally.lines()
    assert {line.partition(":")[0] for line in lines[:2]} == {
        "face 1, in 300 of 300 frames", "Ada, in 300 of 300 frames"
    }  # fmt: skip
    assert lines[-1] == "597 more faces, in no more frames than these"


def test_the_bar_shows_rate_and_what_is_left() -> None:
    bar = Progress(100, "frames", stream=Terminal())
    bar.update(25)
    line = bar.line(elapsed_s=10.0)
    assert " 25%" in line
    assert "25 frames, 2.5/s" in line
    assert "0:30 left" in line
    unknown = Progress(None, "frames", stream=Terminal())
    unknown.update(25)
    assert unknown.line(10.0) == "25 frames, 2.5/s"


def test_it_shows_only_on_a_terminal_and_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("mien.console.time.monotonic", lambda: now)
    shown, piped, silenced = Terminal(), io.StringIO(), Terminal()
    bars = [
        Progress(10, "files", stream=shown),
        Progress(10, "files", stream=piped),
        Progress(10, "files", stream=silenced, quiet=True),
    ]
    for now in (1.0, 3.0):
        for bar in bars:
            bar.update(now)
        assert bool(shown.getvalue()) == (now == 3.0)
    with pytest.raises(OSError, match="gone"), bars[0]:
        raise OSError("gone")
    assert shown.getvalue().endswith(" \r")  # wiped, whatever happened
    for bar in bars:
        bar.close()
    assert "files" in shown.getvalue()
    assert piped.getvalue() == silenced.getvalue() == ""


def test_the_bar_is_wiped_before_it_is_said_what_went_wrong(
    portrait_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()

    def run(_self: Analyzer, source: Source) -> Iterator[tuple[Frame, FrameResult]]:
        frame = next(iter(source))
        yield frame, FrameResult(source.name, 0, 0.0, frame.width, frame.height)
        assert terminal.getvalue()  # the bar
        raise SinkError("out.csv: the disk is full")

    monkeypatch.setattr(Analyzer, "run", run)
    monkeypatch.setattr(console, "_SILENT_S", -1.0)
    monkeypatch.setattr(console, "_REFRESH_S", -1.0)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["analyze", str(portrait_file), "--json"]) == 2
    assert terminal.getvalue().splitlines()[-1] == "mien: out.csv: the disk is full"
