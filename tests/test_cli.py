"""The command line as a user meets it: results, exit codes, and one line for every mistake."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

import mien
from mien.cli import main
from mien.errors import ModelError, SinkError
from mien.pipeline import Analyzer
from mien.results import read_results
from mien.sources import open_source
from mien.types import RESULT_COLUMNS, FrameResult, UInt8Array
from tests.films import write_film
from tests.test_quality import masked
from tests.test_sources import png_header, write_video

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, portrait_file: Path) -> Path:
    """Two good pictures, a short video, and three bad files."""
    shutil.copy(portrait_file, tmp_path / "a.png")
    Image.new("RGB", (80, 60)).save(tmp_path / "b.jpg")
    write_video(tmp_path / "c.mp4", [0.0, 0.5])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "huge.png").write_bytes(png_header(60_000, 60_000))
    return tmp_path


def test_json_lines_in_a_pipe(portrait_file: Path, capsys: Capture) -> None:
    """Nobody asked for a format and stdout is no terminal: JSON Lines, equal to Python's result."""
    assert main(["analyze", str(portrait_file)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == mien.analyze(str(portrait_file)).to_dict()
    assert err == ""


def test_a_table_on_a_terminal(
    portrait_file: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["analyze", str(portrait_file)]) == 0
    out, err = capsys.readouterr()
    header, row = out.splitlines()
    assert "expression" in header
    assert "happy " in row
    assert err == ""


def test_the_table_says_what_a_question_mark_means(
    tmp_path: Path, portrait_file: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with Image.open(portrait_file) as portrait:
        masked(portrait.convert("RGB")).save(tmp_path / "masked.png")
    assert main(["analyze", str(portrait_file), str(tmp_path / "masked.png")]) == 0
    out, err = capsys.readouterr()
    assert "?" in out.splitlines()[2]
    assert "? uncertain:" in err


def test_every_output_at_once(folder: Path, capsys: Capture) -> None:
    names = ["r.jsonl", "r.json", "r.csv", "r.parquet", "copy.png"]
    outs = [part for name in names for part in ("--out", str(folder / name))]
    assert main(["analyze", str(folder / "a.png"), *outs, "--json"]) == 0
    printed = capsys.readouterr().out
    assert (folder / "r.jsonl").read_text("utf-8") == printed
    assert json.loads((folder / "r.json").read_text("utf-8")) == [json.loads(printed)]
    (row,) = parquet.read_table(folder / "r.parquet").to_pylist()
    (written,) = csv.DictReader(io.StringIO((folder / "r.csv").read_text("utf-8")))
    assert list(written) == list(row) == list(RESULT_COLUMNS)
    face = json.loads(printed)["faces"][0]
    assert row["confidence"] == float(written["confidence"]) == face["confidence"]
    assert [row[f"prob_{name}"] for name in face["probs"]] == list(face["probs"].values())
    with Image.open(folder / "copy.png") as copy:
        assert copy.size == (512, 512)


def test_bad_files_do_not_cost_the_others(folder: Path, capsys: Capture) -> None:
    out = folder / "out"
    out.mkdir()
    assert main(["analyze", str(folder), str(folder / "gone.jpg"), "--out", f"{out}/r.jsonl"]) == 3
    rows = [json.loads(line) for line in (out / "r.jsonl").read_text("utf-8").splitlines()]
    assert [Path(row["source"]).name for row in rows] == ["a.png", "b.jpg", "c.mp4", "c.mp4"]
    assert [row["time_s"] for row in rows] == [0.0, 0.0, 0.0, 0.5]
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    reasons = {Path(failure["source"]).name: failure["error"] for failure in failures}
    assert set(reasons) == {"empty.jpg", "text.jpg", "huge.png", "gone.jpg"}
    assert "60,000 x 60,000" in reasons["huge.png"]
    err = capsys.readouterr().err
    for name in reasons:
        assert sum(name in line for line in err.splitlines()) == 1
    assert "Traceback" not in err


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """As in some containers. Only the server would put something there."""

    def home(_kind: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(home))
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert main(["analyze", "gone.jpg"]) == 2
    assert "gone.jpg" in capsys.readouterr().err
    assert main(["serve"]) == 2
    assert "--data: this user has no home folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["analyze", "{}/gone.jpg"], "No such file"),
        (["analyze", "{}/empty.jpg"], "is empty"),
        (["analyze", "{}/text.jpg"], "not a picture"),
        (["analyze", "{}/huge.png"], "more than the limit"),
        (["analyze", "{}/a.png", "--max-pixels", "100"], "more than the limit of 100"),
        (["analyze", "{}/*.tiff"], "Check the pattern"),
        (["analyze", "{}/a.png", "--out", "{}/b.jpg"], "already there"),
        (["analyze", "{}/a.png", "--out", "{}/r.xls"], "suffix"),
        (["analyze", "{}/a.png", "--out", "{}/r.csv", "--out", "{}/./r.csv"], "twice"),
        (["analyze", "{}/a.png", "--model", "nonesuch"], "no model of that name"),
        (["analyze", "{}/a.png", "--model", "{}/text.jpg"], "Use a model made by `mien export`"),
        (["analyze", "{}/a.png", "--min-score", "2"], "between 0 and 1"),
        (["analyze", "{}/a.png", "--threads", "0"], "at least 1"),
        (["analyze", "{}/a.png", "--detector-px", "8"], "at least 32"),
        (["evaluate", "--data", "{}/gone"], "no such file"),
        (["evaluate", "--data", "{}", "--pose", "front"], "--pipeline"),
        (["evaluate", "--data", "{}", "--pipeline", "--split", "held-out"], "not with --pipeline"),
        (["train", "{}/gone.toml", "--data", "x", "--out", "y"], "cannot be read"),
        (["export", "{}/gone", "--data", "x", "--out", "y.onnx"], "no checkpoint"),
        (["models", "show", "nonesuch"], "no model of that name"),
    ],
)
def test_one_line_for_a_mistake(
    folder: Path, capsys: Capture, arguments: list[str], says: str
) -> None:
    assert main([argument.format(folder) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert says in err


def test_a_file_that_passes_for_an_option_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(folder)
    (folder / "b.jpg").rename("-session.jpg")
    with pytest.raises(SystemExit) as stopped:
        main(["analyze", "-session.jpg"])
    assert stopped.value.code == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "mien: -session.jpg: a file whose name begins with -. Write ./-session.jpg"


@pytest.mark.parametrize(
    "verb", [["data", "info"], ["data", "check"], ["evaluate", "--pipeline", "--data"]]
)
def test_what_the_system_refuses_is_said_in_words(verb: list[str], capsys: Capture) -> None:
    name = "x" * 300  # longer than any file's may be
    assert main([*verb, name]) == 2
    assert capsys.readouterr().err.startswith(f"mien: {name}: File name too long. Check the path")


def test_overwriting_spares_what_is_analysed(folder: Path, capsys: Capture) -> None:
    """`--overwrite` replaces results of before, never the pictures that they come from."""
    before = (folder / "a.png").read_bytes()
    for out, says in (
        (folder / "a.png", "is itself to be analysed"),
        (f"{folder}/", "could be replaced by a copy"),
        (folder / "gone" / ".." / "a.png", "is itself to be analysed"),
    ):
        arguments = ["analyze", str(folder / "a.png"), "--out", str(out), "--overwrite"]
        assert main(arguments) == 2
        out_text, err = capsys.readouterr()
        assert (out_text, len(err.splitlines())) == ("", 1)
        assert says in err
    assert (folder / "a.png").read_bytes() == before


@pytest.mark.parametrize("name", ["one.png", "one.vtt", "one.srt"])
def test_an_output_for_one_source_is_refused_before_several_begin(
    folder: Path, capsys: Capture, name: str
) -> None:
    outs = ["--out", str(folder / "r.jsonl"), "--out", str(folder / name)]
    assert main(["analyze", str(folder / "a.png"), str(folder / "b.jpg"), *outs]) == 2
    assert f"{name}: belongs to one source, and there are 2" in capsys.readouterr().err
    assert not list(folder.glob("*.jsonl"))


def test_a_list_of_failures_is_not_overwritten_unasked(folder: Path, capsys: Capture) -> None:
    (folder / "failures.jsonl").write_text("of an earlier run\n")
    arguments = ["analyze", str(folder / "b.jpg"), str(folder / "empty.jpg"), "--out"]
    assert main([*arguments, str(folder / "r.jsonl")]) == 3
    assert f"listed in {folder / 'failures.jsonl'}" in capsys.readouterr().err
    assert (folder / "failures-1.jsonl").read_text() == "of an earlier run\n"
    (row,) = (folder / "failures.jsonl").read_text("utf-8").splitlines()
    assert "empty" in json.loads(row)["error"]
    assert main([*arguments, str(folder / "r.jsonl"), "--overwrite"]) == 3
    assert json.loads((folder / "failures.jsonl").read_text("utf-8"))["error"]
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    "outs", [["failures.jsonl"], ["r.csv", "failures.jsonl"], ["new/", "new/failures.jsonl"]]
)
def test_results_do_not_take_the_place_of_the_list_of_failures(
    folder: Path, capsys: Capture, outs: list[str]
) -> None:
    before = sorted(folder.iterdir())
    arguments = [word for out in outs for word in ("--out", f"{folder}/{out}")]
    sources = [str(folder / "b.jpg"), str(folder / "empty.jpg")]
    assert main(["analyze", *sources, *arguments]) == 2
    assert "failures.jsonl: is where failures are listed" in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_a_run_without_failures_leaves_no_list_that_says_otherwise(
    folder: Path, capsys: Capture
) -> None:
    (folder / "failures.jsonl").write_text("of an earlier run\n")
    arguments = ["analyze", str(folder / "b.jpg")]
    assert main(arguments) == 0  # writes nothing there
    out = ["--out", str(folder / "r.jsonl")]
    assert main(["analyze", str(folder / "empty.jpg"), *out]) == 2  # nor does this
    assert (folder / "failures.jsonl").exists()
    assert main([*arguments, *out]) == 0
    assert "is of an earlier run, and called failures-1.jsonl now" in capsys.readouterr().err
    assert not (folder / "failures.jsonl").exists()
    assert (folder / "failures-1.jsonl").read_text() == "of an earlier run\n"
    (folder / "failures.jsonl").write_text("of another run\n")
    assert main([*arguments, *out, "--overwrite"]) == 0
    assert not (folder / "failures.jsonl").exists()
    assert (folder / "failures-2.jsonl").read_text() == "of another run\n"


def test_an_unknown_recipe_key(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "r.toml").write_text("name = 'x'\nspeed = 9\n")
    arguments = ["train", str(tmp_path / "r.toml"), "--data", "x", "--out", str(tmp_path)]
    assert main(arguments) == 2
    assert "unknown key 'speed'" in capsys.readouterr().err
    (tmp_path / "r.toml").write_text("name = 'x'\n")
    assert main([*arguments, "--set", "fit.epochz=1"]) == 2
    assert "unknown key 'fit.epochz'" in capsys.readouterr().err


def test_dry_run_prints_the_whole_recipe(tmp_path: Path, capsys: Capture) -> None:
    recipe = Path(__file__).parents[1] / "recipes" / "mien-v.toml"
    arguments = ["train", str(recipe), "--data", "x", "--out", str(tmp_path / "new"), "--dry-run"]
    assert main([*arguments, "--set", "fit.seed=5"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["fit"]["seed"] == 5
    assert "parameters" in err
    assert not (tmp_path / "new").exists()


def test_models(capsys: Capture) -> None:
    assert main(["models", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert list(rows[0])[:5] == ["name", "default", "file", "sha256", "size"]
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert "* mien-s" in out
    assert re.search(r"^  mien-s-temporal .* over time +for research ", out, re.M)
    (fusion,) = (row for row in rows if row["name"] == "mien-m")
    assert re.search(rf"^  mien-m +{fusion['size_with_members'] / 1e6:.1f} MB  fusion ", out, re.M)
    assert fusion["size_with_members"] > 10_000_000
    assert main(["models", "verify"]) == 0
    assert all(line.startswith("good") for line in capsys.readouterr().out.splitlines())
    assert main(["models", "show", "mien-s"]) == 0
    assert "Intended use" in capsys.readouterr().out
    assert main(["models", "show", "mien-s", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "mien-s"


def test_verify_finds_an_altered_model(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien.models import registry

    file = tmp_path / "m.onnx"
    file.write_bytes(b"altered")
    monkeypatch.setattr(registry, "_shipped", lambda: (registry.ModelEntry("m", file, "0" * 64),))
    assert main(["models", "verify"]) == 2
    assert "BAD" in capsys.readouterr().out


def test_a_video_and_its_annotated_copy(folder: Path, capsys: Capture) -> None:
    out = folder / "copy.mp4"
    arguments = ["analyze", str(folder / "c.mp4"), "--out", str(out), "--profile"]
    assert main(arguments) == 0
    stdout, err = capsys.readouterr()
    assert stdout == ""  # a row for each frame would drown the terminal
    assert "2 frames, 0 faces" in err
    assert "c.mp4: no face found" in err
    for stage in ("decode", "detect", "classify", "draw"):
        assert stage in err
    with open_source(out) as source:
        assert [frame.time_s for frame in source] == pytest.approx([0.0, 0.5], abs=1e-3)


def test_what_a_video_showed_is_said(tmp_path: Path, portrait: UInt8Array, capsys: Capture) -> None:
    """Also of one that is cut off."""
    film, cut = tmp_path / "film.mkv", tmp_path / "cut.mkv"
    write_film(film, [portrait] * 12, fps=3, codec="ffv1")
    cut.write_bytes(film.read_bytes()[: film.stat().st_size * 2 // 3])
    assert main(["analyze", str(film), str(cut), "--out", str(tmp_path / "a.csv")]) == 3
    said = capsys.readouterr().err
    frames = dict(re.findall(r"(\w+)\.mkv: face 1, in (\d+) of \2 frames: happy 100%", said))
    assert set(frames) == {"film", "cut"}
    assert 0 < int(frames["cut"]) < int(frames["film"]) == 12


def test_quiet_is_quiet(folder: Path, capsys: Capture) -> None:
    sources = [str(folder / "a.png"), str(folder / "c.mp4")]
    assert main(["analyze", *sources, "--out", str(folder / "r.csv"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_evaluate_a_folder_of_crops(tmp_path: Path, capsys: Capture) -> None:
    rng = np.random.default_rng(0)
    for name in ("happy", "sad"):
        (tmp_path / name).mkdir()
        for i in range(4):
            crop = rng.integers(0, 256, (48, 48), np.uint8)
            Image.fromarray(crop).save(tmp_path / name / f"{i}.png")
    assert main(["evaluate", "--data", str(tmp_path), "--json", "--tta"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert {
        "n", "accuracy", "accuracy_ci95", "macro_f1", "per_class", "confusion", "ece", "nll",
        "deduplicated_accuracy",
    } <= set(figures)  # fmt: skip
    assert figures["n"] == 8
    assert np.sum(figures["confusion"]) == 8
    assert main(["evaluate", "--data", str(tmp_path)]) == 0
    assert "95% interval" in capsys.readouterr().out
    # The same pictures as training data: none is left without its twin.
    arguments = ["evaluate", "--data", str(tmp_path), "--train-data", str(tmp_path)]
    assert main(arguments) == 2  # a folder without Training_ names has no such split
    assert "no picture of the split 'Training'" in capsys.readouterr().err


def run(
    *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mien.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=env,
        # A shell that starts the tests in the background has them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_leaves_complete_files(tmp_path: Path, number: signal.Signals) -> None:
    write_video(tmp_path / "long.mp4", [i / 10 for i in range(600)], size=256)
    outs = [tmp_path / "r.jsonl", tmp_path / "r.parquet", tmp_path / "copy.mkv"]
    arguments = [part for out in outs for part in ("--out", str(out))]
    process = run("analyze", str(tmp_path / "long.mp4"), *arguments)
    started = tmp_path / ".r.part"  # Parquet's, which appears with the first result
    for _ in range(600):
        if started.is_dir():
            break
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    lines = (tmp_path / "r.jsonl").read_text("utf-8").splitlines()
    assert 0 < len(lines) < 600
    assert [json.loads(line)["frame"] for line in lines] == list(range(len(lines)))
    assert abs(parquet.read_table(tmp_path / "r.parquet").num_rows - len(lines)) <= 1
    with open_source(tmp_path / "copy.mkv") as source:
        assert abs(sum(1 for _ in source) - len(lines)) <= 1
    assert not list(tmp_path.glob(".*.part.*"))


def test_a_copy_without_sound_is_announced(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sound cannot be had again of what is piped in; a file's is copied."""
    write_video(tmp_path / "v.ts", [0.0, 0.1, 0.2])
    options = ["--out", str(tmp_path / "copy.mp4"), "--overwrite"]
    with (tmp_path / "v.ts").open() as piped:
        monkeypatch.setattr(sys, "stdin", piped)
        assert main(["analyze", "-", *options]) == 0
    assert "mien: -: its annotated copy is silent" in capsys.readouterr().err
    assert main(["analyze", str(tmp_path / "v.ts"), *options]) == 0
    assert "silent" not in capsys.readouterr().err
    monkeypatch.setattr("mien.sinks.copies.VideoSink.remarks", ["copy.mp4: is silent"])
    assert main(["analyze", str(tmp_path / "v.ts"), *options]) == 0
    assert "mien: copy.mp4: is silent" in capsys.readouterr().err


def test_interrupting_an_idle_pipe(tmp_path: Path) -> None:
    """The pipe stays open and says nothing more: what it said is complete, and soon."""
    write_video(tmp_path / "v.ts", [i / 10 for i in range(60)])
    outs = [f"--out={tmp_path / name}" for name in ("r.jsonl", "r.parquet")]
    process = subprocess.Popen(
        [sys.executable, "-m", "mien.cli", "analyze", "-", *outs],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write((tmp_path / "v.ts").read_bytes())
    process.stdin.flush()
    for _ in range(600):
        if (tmp_path / ".r.part").is_dir():  # with the first result
            break
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 130  # before the pipe is closed
    process.communicate()
    assert (tmp_path / "r.jsonl").read_text("utf-8").count("\n") > 0


def test_an_interrupted_run_lists_what_failed(
    folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    analyze_frame = Analyzer.analyze_frame

    def interrupted(self: Analyzer, *arguments: Any, **options: Any) -> FrameResult:
        if said := capsys.readouterr().err:  # it was said before the next one began
            assert "a.jpg: not a picture" in said
            raise KeyboardInterrupt
        return analyze_frame(self, *arguments, **options)

    monkeypatch.setattr(Analyzer, "analyze_frame", interrupted)
    pictures = [str(tmp_path / "a.jpg"), str(folder / "b.jpg")]
    assert main(["analyze", *pictures, "--out", str(tmp_path / "r.jsonl")]) == 130
    (line,) = (tmp_path / "failures.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["source"].endswith("a.jpg")
    assert "1 input failed, listed in" in (said := capsys.readouterr().err.splitlines()[0])
    assert "complete" not in said


def test_a_run_that_ends_early_says_why_though_it_cannot_list_what_failed(
    portrait_file: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    (tmp_path / "failures.jsonl").mkdir()

    def full(*_: Any, **__: Any) -> None:
        raise SinkError("r.jsonl: cannot be written (No space left on device)")

    monkeypatch.setattr(Analyzer, "analyze_frame", full)
    pictures = [str(tmp_path / "a.jpg"), str(portrait_file)]
    assert main(["analyze", *pictures, "--out", str(tmp_path / "r.jsonl")]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "mien: r.jsonl: cannot be written (No space left on device)"


def test_names_that_are_no_text(portrait_file: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "in").mkdir()
    odd, bad = (tmp_path / "in" / os.fsdecode(name) for name in (b"caf\xe9.png", b"t\xe9.jpg"))
    try:
        shutil.copy(portrait_file, odd)
    except OSError:
        pytest.skip("this file system takes text only")
    bad.write_bytes(b"no picture")
    shutil.copy(portrait_file, tmp_path / "in" / "z.png")
    names = ("r.jsonl", "r.json", "r.csv", "r.parquet")
    outs = [part for name in names for part in ("--out", str(tmp_path / name))]
    assert main(["analyze", str(tmp_path / "in"), *outs]) == 3
    capsys.readouterr()
    for name in names:
        found = [Path(result.source).name for result in read_results(tmp_path / name)]
        assert found == [r"caf\xe9.png", "z.png"]
    (line,) = (tmp_path / "failures.jsonl").read_text("utf-8").splitlines()
    assert os.fsencode(json.loads(line)["source"]).endswith(b"t\xe9.jpg")


def test_a_closed_pipe_is_no_error(folder: Path) -> None:
    with run("analyze", *[str(folder / "b.jpg")] * 50) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("{")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0


def test_it_leaves_nothing_behind(portrait_file: Path, tmp_path: Path) -> None:
    """No cache, no device id of ONNX Runtime's telemetry, no home needed."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "nowhere")}
    process = run("analyze", str(portrait_file), cwd=tmp_path, env=environment)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["faces"][0]["expression"] == "happy"
    assert list(tmp_path.iterdir()) == []


def test_python_m_mien() -> None:
    """The module is the command."""
    command = [sys.executable, "-m", "mien", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"mien {mien.__version__}\n"


def test_the_demo(tmp_path: Path, capsys: Capture) -> None:
    """The table, the picture and the result; what is there is not replaced unasked."""
    out = tmp_path / "new" / "demo"
    assert main(["demo", "--out", str(out)]) == 0
    assert "happy" in capsys.readouterr().out
    (line,) = (out / "portrait.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["source"] == "portrait.jpg"
    with Image.open(out / "portrait.png") as picture:
        assert picture.size == (512, 512)
    assert main(["demo", "--out", str(out)]) == 2
    assert "already there" in capsys.readouterr().err
    assert main(["demo", "--out", str(out), "--overwrite"]) == 0


@pytest.mark.parametrize("reason", ["a target is there", "there is no model"])
def test_a_demo_that_ends_early_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    def missing(*_: Any, **__: Any) -> FrameResult:
        raise ModelError("it is not there")

    if reason == "there is no model":
        monkeypatch.setattr(Analyzer, "analyze_frame", missing)
    else:
        (tmp_path / "portrait.jsonl").touch()
    before = list(tmp_path.iterdir())
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == before
