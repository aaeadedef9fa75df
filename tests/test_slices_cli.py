"""`mien evaluate --slices`: crops, pictures and lights from end to end, and wrong use."""

from argparse import ArgumentParser
from pathlib import Path

import pytest
from PIL import Image

from mien.cli import main
from mien.cli.evaluate import _MODES, add_to
from mien.models import find_model
from mien.slices import SLICES, read_sliced
from mien.types import EXPRESSIONS, UInt8Array
from tests.test_slices import noise

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def crops(tmp_path: Path, portrait: UInt8Array) -> Path:
    """Two happy crops and one that is called sad."""
    face = Image.fromarray(portrait[62:178, 168:284]).convert("L").resize((48, 48))
    for name in ("happy/a", "happy/b", "sad/a"):
        file = tmp_path / "crops" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        face.save(file)
    return tmp_path / "crops"


def test_crops_on_the_command_line(crops: Path, tmp_path: Path, capsys: Capture) -> None:
    command = ["evaluate", "--data", str(crops), "--slices"]
    models = ["--model", "mien-s", "--model", "mien-s-int8"]
    assert main([*command, *models, "--json"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "found.json").write_text(text)
    found = read_sliced(tmp_path / "found.json")
    assert [s.model for s in found] == ["mien-s", "mien-s-int8"]
    for s in found:
        assert [figures.name for figures in s.slices] == [part.name for part in SLICES]
        plain = s.slices[0].levels[0]
        assert (plain.level, plain.n, plain.right, plain.missed) == ("as it is", 3, 2, 0)
        bright = s.slices[3].levels
        assert [level.level for level in bright] == ["0.1", "0.3", "as it is", "2", "3"]
    assert main([*command, "--tta", "--sample", "2", "--seed", "1"]) == 0
    printed = capsys.readouterr()
    text = printed.out
    assert "taken for face crops" not in printed.err
    assert "n = 2, drawn with seed 1, face crops, with mirror images" in text
    assert "**mouth covered**" in text


def test_crops_that_do_not_look_like_crops_are_named(
    portrait: UInt8Array, tmp_path: Path, capsys: Capture
) -> None:
    for name in ("train/happy", "val/hapy"):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(portrait[:, 100:400]).save(tmp_path / name / "a.png")
    assert main(["evaluate", "--data", str(tmp_path), "--slices"]) == 0
    said = capsys.readouterr().err
    for words in ("300 x 512 are taken for face crops", "hapy (1)", "its Training rows count too"):
        assert words in said


def test_pictures_on_the_command_line(
    portrait: UInt8Array, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "data" / "happy").mkdir(parents=True)
    face = Image.fromarray(portrait[:300, 80:380])
    face.save(tmp_path / "data" / "happy" / "a.png")
    Image.new("RGB", (90, 90)).save(tmp_path / "data" / "happy" / "black.png")
    (tmp_path / "data" / "happy" / "text.png").write_text("no picture")
    (tmp_path / "data" / "hapy").mkdir()
    face.save(tmp_path / "data" / "hapy" / "a.png")
    command = ["evaluate", "--data", str(tmp_path / "data"), "--slices", "--pipeline"]
    out = tmp_path / "report"
    assert main([*command, "--model", "mien-s-int8", "--report", str(out)]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    version = find_model("mien-s-int8").spec().version
    expected = f"mien-s-int8 v{version} on data, n = 3, the whole pipeline. In per cent."
    assert lines[0] == expected
    assert "|  | as it is | 33 | 33 (6 to 79) | 33 | 100 (21 to 100) |" in lines
    assert not any("pose" in line for line in lines)  # nobody is turned
    assert "index.html" in printed.err
    assert (out / "slices.png").is_file()
    assert f"left out, as none of the classes {', '.join(EXPRESSIONS)}: hapy (1)" in printed.err
    assert printed.err.count("text.png: not a picture") == 1
    # Rows to learn from are no examination, and can be left out.
    (tmp_path / "data" / "happy").rename(tmp_path / "data" / "learned")
    (tmp_path / "data" / "train").mkdir()
    (tmp_path / "data" / "learned").rename(tmp_path / "data" / "train" / "happy")
    (tmp_path / "data" / "val" / "sad").mkdir(parents=True)
    face.save(tmp_path / "data" / "val" / "sad" / "a.png")
    assert main([*command, "--model", "mien-s-int8", "--split", "val"]) == 0
    printed = capsys.readouterr()
    assert " on data PublicTest, n = 1, the whole pipeline" in printed.out
    assert "Training" not in printed.err
    # Turned faces: there are none, only a picture in which no face is found.
    assert main([*command, "--pose", "turned"]) == 2
    said = capsys.readouterr().err
    assert "no picture has a face of the pose 'turned'" in said
    assert "its Training rows count too" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sample", "5"], "--slices only"),
        (["--slices", "--sample", "0"], "expected at least 1, got 0"),
        (["--model", "mien-s", "--model", "mien-s-int8"], "several with --slices"),
        (["--slices", "--model", "mien-s", "--model", "mien-s"], "same name"),
        (["--slices", "--train-data", "x"], "not with --slices"),
        (["--slices", "--expect", "balanced"], "not with --slices"),
        (["--folds", "subject", "--recipe", "x.toml", "--expect", "balanced"], "not with --folds"),
        (["--slices", "--folds", "subject", "--recipe", "x.toml"], "not with --slices"),
        (["--slices", "--pose", "front"], "--pose: not with --slices, which"),
        (["--slices", "--split", "held-out"], "--split held-out: not with --slices"),
        (["--pipeline", "--split", "held-out"], "--split held-out: not with --pipeline"),
        (["--slices", "--groups", "x.csv"], "--groups: not with --slices"),
        (["--slices", "--clips"], "--slices: not with --clips, which examines videos"),
        (["--clips", "--report", "x"], "--report: not with --clips"),
        (["--pose", "front"], "--pose: goes with --pipeline only"),
        (["--pipeline", "--classes", "ferplus"], "--classes: not with --pipeline"),
        (["--seed", "3"], "--seed: goes with --slices only"),
        (["--slices", "--model", "nonesuch"], "nonesuch"),
    ],
)
def test_wrong_use_is_told(crops: Path, capsys: Capture, options: list[str], said: str) -> None:
    assert main(["evaluate", "--data", str(crops), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--pipeline"], "Leave out --pipeline"), (["--sample", "3"], "--split, --sample")],
)
def test_lights_are_examined_together(
    tmp_path: Path, capsys: Capture, options: list[str], said: str
) -> None:
    for angle in ("+000", "-070"):
        Image.fromarray(noise(192, 168)).save(tmp_path / f"yaleB11_P00A{angle}E+00.png")
    assert main(["evaluate", "--data", str(tmp_path), "--slices", *options]) == 2
    assert said in capsys.readouterr().err
    assert main(["evaluate", "--data", str(tmp_path), "--slices"]) == 0
    printed = capsys.readouterr().out
    assert "**light, same label**" in printed
    assert "on " + tmp_path.resolve().stem + ", n = 2, face crops" in printed


def test_every_option_goes_with_something() -> None:
    """The table of what goes with what names options that there are, and all of them."""
    parser = ArgumentParser()
    add_to(parser.add_subparsers())
    (verbs,) = (a.choices for a in parser._actions if isinstance(a.choices, dict))
    declared = {o for a in verbs["evaluate"]._actions for o in a.option_strings}
    modes = {"--clips", "--slices", "--pipeline", "--folds"}
    always = {"-h", "--help", "--data", "--json", "--tta"}
    assert {o for _, known in _MODES.values() for o in known.split()} == declared - modes - always
