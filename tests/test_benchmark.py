"""`mien benchmark run` as a user meets it, and the arithmetic behind its medians."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from mien import benchmark
from mien.benchmark import Repetition, benchmark_run, format_speed
from mien.cli import main
from mien.pipeline import Analyzer
from mien.types import UInt8Array
from tests.films import write_film

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def film(tmp_path: Path, portrait: UInt8Array) -> Path:
    """Six frames with a face."""
    file = tmp_path / "film.mp4"
    write_film(file, [portrait] * 6, fps=30)
    return file


def test_a_video_is_measured_in_processes_of_its_own(film: Path, capsys: Capture) -> None:
    assert main(["benchmark", "run", str(film), "--repeat", "2", "--json", "--end", "0.1"]) == 0
    out, err = capsys.readouterr()
    speed = json.loads(out)
    assert err == ""
    assert speed["model"] == "mien-s"
    assert speed["repetitions"] == 2
    assert speed["frames"] == speed["faces"] == 3  # those before --end
    assert 0 < speed["slowest"] <= speed["frames_per_s"] <= speed["fastest"]
    assert speed["decode_frames_per_s"] > speed["frames_per_s"]
    assert 0 < speed["latency_ms"]["p50"] <= speed["latency_ms"]["p95"]
    assert speed["start_s"] > 0.05  # no process starts and opens two networks faster
    assert 50 < speed["peak_mb"] < 5000
    assert {"decode", "detect", "track", "align", "classify"} <= set(speed["stage_ms"])


def test_pictures_are_measured_without_following(portrait_file: Path, capsys: Capture) -> None:
    assert main(["benchmark", "run", str(portrait_file), "--repeat", "1", "--shape"]) == 0
    out = capsys.readouterr().out
    assert "frames: 1, faces: 1, repetitions: 1" in out
    assert "shape" in out
    assert "track" not in out


def test_the_look_at_latencies_does_not_count_among_the_stages(
    portrait_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(analyzer: Analyzer, _paths: Sequence[str]) -> tuple[float, ...]:
        analyzer.times.add("detect", time.perf_counter() - 1000)
        return (1.0,)

    monkeypatch.setattr(benchmark, "_latencies", slow)
    measured = benchmark._measured(Analyzer(), [str(portrait_file)])
    assert 0 < measured["stages"]["detect"] <= measured["took_s"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.mp4"], "gone.mp4: cannot be read (No such file or directory)"),
        (["0"], "0: a live source is as fast as it comes"),
        (["PORTRAIT", "--repeat", "0"], "--repeat: expected at least 1, got 0"),
        (["PORTRAIT", "--min-score", "2"], "--min-score: expected a number between 0 and 1"),
        (["EMPTY"], "holds no picture or video"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, portrait_file: Path, tmp_path: Path, capsys: Capture
) -> None:
    names = {"PORTRAIT": str(portrait_file), "EMPTY": str(tmp_path)}
    assert main(["benchmark", "run", *(names.get(a, a) for a in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mien: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_medians_are_over_repetitions_and_percentiles_over_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds = iter(
        [
            Repetition("m", 10, 20, 0.5, 1.0, 0.10, (1.0, 2.0), 100.0, {"decode": 0.1}),
            Repetition("m", 10, 20, 0.3, 2.0, 0.05, (3.0, 4.0), 300.0, {"decode": 0.3}),
            Repetition("m", 10, 20, 0.9, 5.0, 0.20, (5.0, 6.0), 200.0, {"decode": 0.2}),
        ]
    )
    monkeypatch.setattr(benchmark, "_repetition", lambda paths, arguments: next(rounds))
    speed = benchmark_run(["a"], {"threads": 1}, repeat=3)
    assert (speed.frames_per_s, speed.slowest, speed.fastest) == (5.0, 2.0, 10.0)
    assert (speed.start_s, speed.peak_mb, speed.decode_frames_per_s) == (0.5, 200.0, 100.0)
    assert speed.latency_ms["p50"] == 3.5
    assert speed.stage_ms == {"decode": pytest.approx(20.0)}
    assert "20.00 ms/frame  100.0%" in format_speed(speed)
