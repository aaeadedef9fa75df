"""Rows that a model has learned from, in a set whose folders do not say which."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from mien.cli import main
from mien.datasets import HELD_OUT, load_training
from mien.evaluate import rows_of_run
from mien.models import METADATA_KEY, find_model
from tests.lessons import drawn, saved, write_splits

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return saved(drawn(28), tmp_path / "mine")


def as_if_learned(mine: Path, file: Path, holdout: float) -> Path:
    """The default model, as if it had learned from the set but for so much."""
    learned, _ = load_training(mine, size_px=44, holdout=holdout)
    model = onnx.load_model_from_string(find_model().read())
    (row,) = (row for row in model.metadata_props if row.key == METADATA_KEY)
    said = json.loads(row.value)
    said |= {"name": file.stem, "data_sha256": learned.fingerprint()}
    said["recipe"]["data"]["holdout"] = holdout
    row.value = json.dumps(said)
    onnx.save_model(model, file)
    return file


@pytest.fixture
def model(mine: Path, tmp_path: Path) -> Path:
    return as_if_learned(mine, tmp_path / "own.onnx", 0.2)


def test_rows_are_known_by_the_data_hash(mine: Path, model: Path) -> None:
    own = rows_of_run(mine, find_model(model).spec())
    assert own is not None
    learned, watched = own
    assert (len(learned), len(watched), watched.split) == (21, 7, HELD_OUT)
    assert np.bincount(watched.labels).tolist() == [1] * 7
    assert rows_of_run(mine, find_model("mien-s").spec()) is None  # learned from another set
    assert rows_of_run(mine, find_model("mien-m").spec()) is None  # a fusion
    picture = next(mine.rglob("*.png"))
    (picture.parent / "more.png").write_bytes(picture.read_bytes())
    assert rows_of_run(mine, find_model(model).spec()) is None
    (mine / "val").mkdir()
    for folder in sorted(mine.glob("*")):
        if folder.name != "val":
            folder.rename(mine / "val" / folder.name)
    assert rows_of_run(mine, find_model(model).spec()) is None


def test_what_a_model_calls_itself_steers_no_terminal(
    mine: Path, tmp_path: Path, capsys: Capture
) -> None:
    model = str(as_if_learned(mine, tmp_path / "\x1b[2Jown.onnx", 0.2))
    slices = ["evaluate", "--slices", "--sample", "1", "--model", model]
    for words in (["evaluate", "--model", model], slices, ["compare", model]):
        assert main([*words, "--data", str(mine)]) == 0
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err
        assert "\N{REPLACEMENT CHARACTER}[2Jown" in said.out


def test_they_are_not_examined_in_silence(mine: Path, model: Path, capsys: Capture) -> None:
    of_all = ["evaluate", "--data", str(mine), "--json", "--model"]
    assert main([*of_all, str(model)]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["n"] == 28
    assert "own has learned from 21 of these pictures" in said.err
    assert "--split held-out` takes the 7" in said.err
    assert main([*of_all, str(model), "--split", "held-out"]) == 0
    said = capsys.readouterr()
    figures = json.loads(said.out)
    assert (figures["n"], figures["split"], figures["deduplicated_n"]) == (7, "held-out", 7)
    assert said.err == ""
    assert main([*of_all, "mien-s"]) == 0
    assert "learned" not in capsys.readouterr().err
    assert main([*of_all, "mien-s", "--split", "held-out"]) == 2
    assert "mien-s has held out none of its rows" in capsys.readouterr().err
    (mine / "glad").mkdir()
    (mine / "glad" / "a.png").write_bytes(next(mine.rglob("*.png")).read_bytes())
    assert main(["compare", str(model), "mien-s", "--data", str(mine)]) == 0
    said = capsys.readouterr()
    assert said.err.count("has learned from") == 1
    assert "left out, as none of the classes" in said.err


def test_folds_that_start_from_it_say_so(mine: Path, model: Path, capsys: Capture) -> None:
    folds = ["evaluate", "--data", str(mine), "--folds", "subject", "--init"]
    assert main([*folds, str(model)]) == 2  # nobody knows whom the pictures show
    said = capsys.readouterr().err
    assert "own has learned from 21 of these pictures" in said
    assert "knows people of all folds" in said
    assert "--split" not in said
    assert "28 of 28 pictures do not say whom they show" in said
    assert main([*folds, "mien-s"]) == 2
    assert "has learned from" not in capsys.readouterr().err
    taught = ["--set", f'fit.teachers=["mien-s", "{model}"]']
    assert main([*folds, "mien-s", *taught]) == 2
    assert capsys.readouterr().err.count("own has learned from 21 of these pictures") == 1


def test_what_a_training_starts_from_may_know_what_is_watched(
    mine: Path, model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.training.fit.fit", lambda *_given, **_more: None)
    train = ["train", "--data", str(mine), "--out", str(tmp_path / "run"), "--init"]
    known, untold = "own has learned from", "Whether own learned from them, nobody knows"
    assert main([*train, str(model)]) == 0  # it has held out the same
    said = capsys.readouterr().err
    assert "mine: 21 rows to learn from, 7 to watch (held out)" in said
    assert "not used" not in said
    assert known not in said
    assert untold not in said
    assert main([*train, str(model), "--set", "data.holdout=0.5"]) == 0
    said = capsys.readouterr().err
    assert "own has learned from 7 of the 14 rows that are watched" in said
    assert "With data.holdout=0.2 and its classes" in said
    picture = next(mine.rglob("*.png"))
    (picture.parent / "more.png").write_bytes(picture.read_bytes())  # others are held out
    assert main([*train, str(model)]) == 0
    assert untold in capsys.readouterr().err
    assert main([*train, "mien-s"]) == 0  # which has learned from nobody's own pictures
    assert "nobody knows" not in capsys.readouterr().err
    write_splits(tmp_path / "split", 21)
    (tmp_path / "split" / "val").replace(tmp_path / "split" / "dev")
    train[2] = str(tmp_path / "split")
    assert main([*train, "mien-s"]) == 0
    assert "21 rows are not used, as they belong to none of " in capsys.readouterr().err
    (tmp_path / "split" / "dev").replace(tmp_path / "split" / "val")
    assert main([*train, str(model)]) == 0
    said = capsys.readouterr().err
    assert "split: 21 rows to learn from, 21 to watch (PublicTest)" in said
    assert "nobody knows" not in said


def test_a_model_is_quantized_on_the_set_of_its_run(
    mine: Path, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = str(tmp_path / "small.onnx")
    assert main(["quantize", str(model), "--data", str(mine), "--out", out]) == 0
    said = capsys.readouterr().err
    assert "21 Training rows show the ranges" in said
    assert f"{out}: held out, n = 7: " in said
    assert "nobody knows" not in said


def test_models_are_joined_by_rows_that_none_has_learned_from(
    mine: Path, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    """As `mien train` deals them out, also where it learned from another set."""
    half = as_if_learned(mine, tmp_path / "half.onnx", 0.5)
    command = ["fuse", "--method", "logprob", "--data", str(mine)]
    command += ["--out", str(tmp_path / "fusion.onnx")]
    other = as_if_learned(saved(drawn(28, 1), tmp_path / "others"), tmp_path / "other.onnx", 0.2)
    for members, mute in (
        ([model, half], ""),
        ([half, model], ""),
        (["mien-s", model], ""),
        (["mien-s", "mien-v"], ""),
        (["mien-s", other], "other"),
        ([model, other], "other"),
    ):
        assert main([*command, *map(str, members)]) == 0
        said = capsys.readouterr().err
        assert "logprob of 2, held out, n = 7: " in said
        assert (f"Whether {mute} learned from them, nobody knows" in said) == bool(mute)
        assert ("nobody knows" in said) == bool(mute)
    (mine / "val").mkdir()
    (mine / "happy").rename(mine / "val" / "happy")
    assert main([*command, "mien-s", "mien-v"]) == 0
    assert "logprob of 2, PublicTest, n = 4: " in capsys.readouterr().err


def test_they_calibrate_nothing(mine: Path, model: Path, tmp_path: Path, capsys: Capture) -> None:
    command = ["calibrate", str(model), "--data", str(mine), "--out", str(tmp_path / "new.onnx")]
    (mine / "glad").mkdir()
    (mine / "glad" / "a.png").write_bytes(next(mine.rglob("*.png")).read_bytes())
    for words, n in (([], 7), (["--split", "held-out"], 7), (["--split", "all"], 28)):
        assert main([*command, *words]) == 0
        said = capsys.readouterr().err
        assert f"n = {n}: " in said
        assert "surprise, neutral: glad (1)" in said
