"""`mien data crop`: the faces of full pictures, in folders to train on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.classifier import ExpressionClassifier
from mien.cli import main
from mien.datasets import load_training, read_rows
from mien.pipeline import Analyzer
from mien.types import EXPRESSIONS, UInt8Array

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def photos(tmp_path: Path, portrait: UInt8Array) -> Path:
    """Two splits, two pictures of one name, a picture without a face and one that is broken."""
    folder = tmp_path / "photos"
    picture = Image.fromarray(portrait)
    for place in ("train/happy/a.png", "train/happy/a.jpg", "test/sad/b.png", "val/happy/c.png"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / place)
    Image.new("RGB", (64, 64)).save(folder / "train/happy/none.png")
    (folder / "train/happy/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def test_faces_are_cut_as_the_model_wants_them(
    photos: Path, tmp_path: Path, portrait: UInt8Array, capsys: Capture
) -> None:
    out = tmp_path / "crops"
    assert main(["data", "crop", str(photos), "--out", str(out), "--size", "44"]) == 3
    said = capsys.readouterr().err
    assert "none.png: no face found" in said
    assert "broken.png" in said
    assert "4 faces out of 6 pictures" in said
    written = sorted(str(file.relative_to(out)) for file in out.rglob("*.*"))
    assert written == [
        "test/sad/b.png", "train/2/happy/a.png", "train/happy/a.png", "val/happy/c.png",
    ]  # fmt: skip
    crop = np.asarray(Image.open(out / "val/happy/c.png"))
    assert crop.shape == (44, 44)
    seen = Analyzer().analyze(portrait).faces[0]
    (probs,) = ExpressionClassifier().predict([crop]).probs
    assert probs == pytest.approx(list(seen.probs.values()), abs=1e-5)


def test_crops_are_a_set_to_train_on(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops"
    assert main(["data", "crop", str(photos), "--out", str(out)]) == 3
    assert {(row.split, row.expression) for row in read_rows(out)} == {
        ("Training", "happy"), ("PublicTest", "happy"), ("PrivateTest", "sad"),
    }  # fmt: skip
    train, watched = load_training(out, classes=EXPRESSIONS)
    assert (len(train), len(watched)) == (2, 1)


def test_crops_of_one_name_still_say_whom_they_show(tmp_path: Path, portrait: UInt8Array) -> None:
    for sitting in ("s1", "s2"):
        file = tmp_path / "photos" / sitting / "happy" / "12_3.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(portrait).save(file)
    out = tmp_path / "crops"
    assert main(["data", "crop", str(tmp_path / "photos"), "--out", str(out)]) == 0
    assert [(row.expression, row.group) for row in read_rows(out)] == [("happy", "12")] * 2


def test_what_cannot_be_cut_is_said(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "notes.txt").write_text("mine")
    assert main(["data", "crop", str(photos), "--out", str(used)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["data", "crop", str(photos), "--out", str(used), "--overwrite"]) == 3
    for size in ("7", "4096"):
        assert main(["data", "crop", str(photos), "--out", "nowhere", "--size", size]) == 2
        assert "--size: expected" in capsys.readouterr().err
    faceless = tmp_path / "faceless"
    (faceless / "sad").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(faceless / "sad" / "x.png")
    assert main(["data", "crop", str(faceless), "--out", str(tmp_path / "y")]) == 2
    assert "x.png: no face found" in capsys.readouterr().err


def test_a_set_of_crops_has_no_faces_to_cut(tmp_path: Path, capsys: Capture) -> None:
    pixels = " ".join(["128"] * 48 * 48)
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n3,{pixels},Training\n")
    assert main(["data", "crop", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds face crops already" in capsys.readouterr().err
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n")
    assert main(["data", "crop", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds no rows" in capsys.readouterr().err


def test_a_broken_row_costs_no_other(tmp_path: Path, portrait: UInt8Array, capsys: Capture) -> None:
    folder = tmp_path / "affectnet" / "val_set"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for name, label in (("1", "3"), ("2", "x")):
        Image.fromarray(portrait).save(folder / "images" / f"{name}.jpg")
        np.save(folder / "annotations" / f"{name}_exp.npy", label)
    assert main(["data", "crop", str(folder.parent), "--out", str(tmp_path / "out")]) == 3
    said = capsys.readouterr().err
    assert "expected a class's number" in said
    assert "1 faces out of 2 pictures" in said


def test_the_pictures_of_the_set_stay(photos: Path, capsys: Capture) -> None:
    before = (photos / "train/happy/a.png").read_bytes()
    for overwrite in ([], ["--overwrite"]):
        assert main(["data", "crop", str(photos), "--out", str(photos), *overwrite]) == 2
    assert "is a picture of the set, and stays" in capsys.readouterr().err
    assert (photos / "train/happy/a.png").read_bytes() == before
