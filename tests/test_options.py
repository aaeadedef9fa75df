"""Options that several verbs have: they say what `Analyzer` takes, with its own defaults."""

import inspect
from argparse import Namespace
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from mien import Analyzer, Span
from mien.batch import Settings
from mien.cli import build_parser, main
from mien.cli.options import analyzer_arguments
from mien.datasets import EVERY_SPLIT
from mien.types import Pose, Views

#: What `mien analyze` alone can ask for.
ANALYZE_ONLY = {"baseline_s", "identity", "gallery", "explain"}


def parsed(*words: str) -> Namespace:
    return build_parser().parse_args(words)


def test_a_verb_without_options_analyses_as_python_does() -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(Analyzer).parameters.items()
        if name not in ANALYZE_ONLY
    }
    assert analyzer_arguments(parsed("analyze", "x")) == defaults | {"span": Span()}
    batch = analyzer_arguments(parsed("batch", "x", "--out", "y"))
    assert batch == defaults | {"span": Span(), "threads": 1}  # its workers share the cores


def test_a_batch_passes_on_all_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--model", "m", "--detector-px", "96", "--start", "1", "--end", "9", "--every", "2"]
    words += ["--fps", "5", "--smooth", "1", "--max-pixels", "7", "--shape", "--tta"]
    arguments = analyzer_arguments(parsed("batch", "x", "--out", "y", *words))
    assert arguments["span"] == Span(1, 9, 2, 5)
    settings = Settings(**arguments, segment_s=60)
    assert {f.name for f in fields(Settings)} - arguments.keys() == {"segment_s", "memory_mb"}
    given: dict[str, object] = {}
    monkeypatch.setattr("mien.batch.settings.Analyzer", lambda **named: given.update(named))
    settings.analyzer()
    assert given == arguments


def test_choices_are_those_of_the_types() -> None:
    for view in get_args(Views):
        assert parsed("evaluate", "--data", "x", "--views", view).views == view
    for pose in get_args(Pose):
        assert parsed("evaluate", "--data", "x", "--pose", pose).pose == pose
    assert parsed("evaluate", "--data", "x").split == EVERY_SPLIT


@pytest.mark.parametrize("verb", ["train", "benchmark train"])
def test_training_needs_a_thread(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('name = "r"\n')
    rest = ["--data", str(tmp_path), "--out", str(tmp_path)] if verb == "train" else []
    assert main([*verb.split(), str(recipe), "--threads", "-1", *rest]) == 2
    assert "--threads: expected at least 1, got -1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "train r.toml --data x --out y",
        "export x --data y --out z",
        "study s.toml --data x --out y",
        "fuse a b --method linear --data x --out y",
        "quantize a --data x --out y",
        "calibrate a --data x --out y",
        "train-temporal r.toml --pictures x --out y",
        "evaluate --data x --folds subject --recipe r.toml",
    ],
)
def test_a_part_of_what_training_needs_is_not_enough(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the verbs share imports all of it."""
    absent = {"lightning_fabric", "matplotlib"}
    monkeypatch.setattr("mien.cli.exits.find_spec", lambda name: None if name in absent else True)
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert "this needs lightning_fabric, matplotlib" in said
    assert "pip install 'mien[train]'" in said


def test_a_seed_is_no_negative_number(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("-1", "1.5", "x"):
        with pytest.raises(SystemExit, match="2"):
            main(["data", "samples", "set", "--out", "grid.png", "--seed", wrong])
        assert f"expected a whole number, at least 0, found '{wrong}'" in capsys.readouterr().err
