"""Labelled videos through the whole pipeline: right, wrong, without a face, and broken ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from mien.cli import main
from mien.clips import examine_clips, format_clips
from mien.datasets import load_clips
from mien.metrics import interval_over_people
from mien.pipeline import Analyzer
from mien.types import UInt8Array
from tests.films import write_film

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def clips(tmp_path: Path, portrait: UInt8Array) -> Path:
    """An astronaut's smile under two labels, darkness, and something that is no video."""
    black = np.zeros_like(portrait[:256, :256])
    for name, view in (("happy/a", portrait), ("sad/b", portrait), ("neutral/c", black)):
        file = tmp_path / "mine" / f"{name}.mp4"
        file.parent.mkdir(parents=True)
        write_film(file, [view] * 5, fps=10)
    (tmp_path / "mine" / "sad" / "d.mp4").write_text("no video")
    (tmp_path / "mine" / "notes.txt").write_text("no clip")
    return tmp_path / "mine"


def test_clips_are_judged_one_by_one(clips: Path, capsys: Capture) -> None:
    assert main(["evaluate", "--data", str(clips), "--clips", "--json"]) == 3
    out, err = capsys.readouterr()
    found = json.loads(out)
    rows = [(row["clip"], row["truth"], row["answer"]) for row in found["clips"]]
    assert rows == [
        ("happy/a.mp4", "happy", "happy"),
        ("neutral/c.mp4", "neutral", None),  # nobody is there, and nobody is not neutral
        ("sad/b.mp4", "sad", "happy"),
        ("sad/d.mp4", "sad", None),
    ]
    assert [bool(row["error"]) for row in found["clips"]] == [False, False, False, True]
    assert (found["n"], found["right"], found["accuracy"]) == (3, 1, pytest.approx(1 / 3))
    low, high = found["accuracy_ci95"]
    assert low < 1 / 3 < high
    assert found["temporal"] == "mien-s-temporal"
    assert found["by_person"] == {}  # folders of classes do not say whom they show
    assert "d.mp4" in err


def test_clips_as_a_table(clips: Path, capsys: Capture) -> None:
    (clips / "sad" / "d.mp4").rename(clips / "sad" / "\x1b[2J.mp4")
    assert main(["evaluate", "--data", str(clips), "--clips"]) == 3
    out, err = capsys.readouterr()
    assert "sad/\ufffd[2J.mp4" in out
    assert "\x1b" not in out + err
    (clips / "sad" / "\x1b[2J.mp4").unlink()
    assert main(["evaluate", "--data", str(clips), "--clips"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "happy/a.mp4 happy happy" in lines
    assert "sad/b.mp4 sad happy (wrong)" in lines
    assert "neutral/c.mp4 neutral no face that can be read (wrong)" in lines
    assert "accuracy 33.33% 1 of 3, 95% interval 6.15% to 79.23%" in lines


def test_an_interval_over_the_people_of_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clips of one person say less than as many strangers': the names of CREMA-D's tell them."""
    for person in (1001, 1002, 1003):
        for sentence in ("DFA", "IEO"):
            (tmp_path / f"{person}_{sentence}_HAP_XX.mp4").touch()
    said = iter(["happy", "happy", "happy", "sad", "sad", "sad"])
    monkeypatch.setattr("mien.clips.dominant_expression", lambda results: next(said))
    found = examine_clips(Analyzer(), load_clips(tmp_path), tmp_path)
    right = np.array([True, True, True, False, False, False])
    low, high = interval_over_people(right, ["1", "1", "2", "2", "3", "3"])
    assert found.to_dict()["by_person"] == {"people": 3, "accuracy_ci95": [low, high]}
    wilson = found.to_dict()["accuracy_ci95"]
    assert low < wilson[0] < wilson[1] < high
    told = f"95% interval {low:.2%} to {high:.2%}, over 3 people, as file names tell them"
    assert format_clips(found).splitlines()[-1].strip() == told


def test_what_does_not_go_with_clips(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "happy").mkdir()
    arguments = ["evaluate", "--data", str(tmp_path), "--clips"]
    assert main([*arguments, "--pipeline"]) == 2
    assert "--pipeline: not with --clips, which examines videos" in capsys.readouterr().err
    assert main(arguments) == 2
    assert "no labelled video" in capsys.readouterr().err
    (tmp_path / "happy" / "a.mp4").write_text("no video")
    assert main(arguments) == 2
    assert "no clip could be read" in capsys.readouterr().err
