"""The terminal's table and bar."""

import io
from dataclasses import replace

import pytest

from mien.console import Progress, result_table
from mien.types import EXPRESSIONS, FaceQuality, FaceResult, FrameResult


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
    _, first, second, third = result_table(results, is_video=True)
    assert "sad?" in first
    assert "42%" in first
    assert "1, 2, 3, 4" in first
    assert "picture.jpg"[-9:] in first
    assert "1.250" in second
    assert "no face found" in second
    assert first.endswith("90%")
    assert third.endswith("90%  (small, turned)")


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
