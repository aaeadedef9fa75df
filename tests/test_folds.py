"""Cross-validation by subject."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.datasets import FaceCrops
from mien.errors import ConfigError, DatasetError
from mien.preprocess import resize_crop
from mien.training.folds import cross_validate
from mien.types import UInt8Array
from tests.lessons import KilledError, drawn, saved, tiny


def of_subjects(data: FaceCrops, subjects: int, folder: Path) -> Path:
    """The crops as a set whose files' names say whom they show."""
    names = tuple(f"S{i % subjects:03}_001_{i:08}" for i in range(len(data)))
    return saved(replace(data, names=names), folder)


def stopped(*_given: Any, **_more: Any) -> None:
    """Instead of training: what comes before it is examined."""
    raise KilledError


def test_folds_by_subject(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row is answered by a network that has not seen its subject, and counts once."""
    from mien.cli import main

    data = drawn(48)
    data = data.select(data.labels < 2)
    of_subjects(data, 12, tmp_path / "data")
    shutil.copytree(tmp_path / "data" / "disgust", tmp_path / "data" / "digust")
    (tmp_path / "r.toml").write_text(
        "name = 'folds'\n[network]\nwidths = [8, 16]\ndepths = [1, 1]\n"
        "[data]\naligned_share = 0.0\nclasses = ['angry', 'disgust', 'fear']\ninput_px = 32\n"
        "[fit]\nepochs = 1\nbatch = 8\nresolutions = [[1.0, 32]]\n"
    )
    arguments = ["evaluate", "--data", str(tmp_path / "data"), "--folds", "subject", "--json"]
    arguments += ["--recipe", str(tmp_path / "r.toml"), "--out", str(tmp_path / "runs")]
    two = ["--set", 'data.classes=["angry", "disgust"]']
    assert main([*arguments, *two]) == 0
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert figures["n"] == len(data)
    assert list(figures["per_class"]) == ["angry", "disgust"]
    assert err.count("fold ") == 10
    assert "left out, as none of the classes angry, disgust: digust (7)" in err
    for file in (tmp_path / "data").rglob("S00[4-9]*.png"):
        file.unlink()
    assert main([*arguments, *two]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["split"] == "six folds by subject, from scratch"
    assert err.count(" of 6: ") == 6
    assert main([*arguments[:5]]) == 2
    assert "say how to train by --recipe" in capsys.readouterr().err
    assert main(["evaluate", "--data", "x", "--recipe", "ckplus"]) == 2
    assert "--recipe: goes with --folds only" in capsys.readouterr().err
    assert main([*arguments[:3], *two]) == 2
    assert "--set: goes with --folds only" in capsys.readouterr().err


def test_pictures_of_nobody_known_are_named(tmp_path: Path) -> None:
    folder = of_subjects(drawn(28), 12, tmp_path / "data")
    next((folder / "happy").glob("*.png")).rename(folder / "happy" / "smile.png")
    with pytest.raises(DatasetError, match=r": 1 of 28 pictures do not say .*smile\.png\. Call"):
        cross_validate(tiny(), folder, tmp_path / "runs")


def test_people_are_asked_for_before_faces_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search() -> None:
        raise AssertionError("looked for faces")

    monkeypatch.setattr("mien.training.folds.FaceDetector", search)
    (tmp_path / "faces" / "happy").mkdir(parents=True)
    for name in ("a", "b"):
        Image.new("L", (160, 120), 90).save(tmp_path / "faces" / "happy" / f"{name}.png")
    with pytest.raises(DatasetError, match="2 of 2 pictures do not say"):
        cross_validate(tiny(), tmp_path / "faces", tmp_path / "runs")
    for name in ("a", "b"):
        file = tmp_path / "faces" / "happy" / f"{name}.png"
        file.rename(file.with_stem(f"7_{ord(name)}"))
    with pytest.raises(DatasetError, match="1 subjects are too few for 3 folds"):
        cross_validate(tiny(), tmp_path / "faces", tmp_path / "runs")
    rows = [f"3,{' '.join(['90'] * 120**2)},Training"]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]))
    with pytest.raises(DatasetError, match=r"1 of 1 pictures do not say .* such as fer2013\.csv:1"):
        cross_validate(tiny(), tmp_path / "fer2013.csv", tmp_path / "runs")


def test_large_crops_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `mien train` takes them: no face is looked for in what shows nothing but one."""
    data = drawn(28)
    large = np.stack([resize_crop(image, 120) for image in data.images])
    folder = of_subjects(replace(data, images=large), 4, tmp_path / "data")
    monkeypatch.setattr("mien.training.folds.fit", stopped)
    said: list[str] = []
    with pytest.raises(KilledError):
        cross_validate(tiny(), folder, tmp_path / "runs", folds=2, note=said.append)
    assert said == ["28 faces of 4 subjects"]


def test_faces_are_cut_out_of_full_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portrait: UInt8Array
) -> None:
    (tmp_path / "data" / "happy").mkdir(parents=True)
    tall = Image.fromarray(np.concatenate([portrait, np.zeros_like(portrait)]))
    for person in range(3):
        darker = tall.point([max(0, value - person) for value in range(256)] * 3)
        darker.save(tmp_path / "data" / "happy" / f"{person}_1.png")
    monkeypatch.setattr("mien.training.folds.fit", stopped)
    said: list[str] = []
    with pytest.raises(KilledError):
        cross_validate(tiny(), tmp_path / "data", tmp_path / "runs", folds=2, note=said.append)
    assert said == [
        f"{tmp_path / 'data'}: full pictures, whose faces are cut out",
        "3 faces of 3 subjects",
    ]


def test_folds_that_were_killed_go_on(tmp_path: Path) -> None:
    data, recipe = of_subjects(drawn(28), 4, tmp_path / "data"), tiny(epochs=1)

    def die(text: str) -> None:
        if "fold 1" in text:
            raise KilledError

    def examine(runs: str, **more: Any) -> Any:
        return cross_validate(recipe, data, tmp_path / runs, folds=2, threads=1, **more)[1]

    with pytest.raises(KilledError):
        examine("broken", note=die)
    finished = tmp_path / "broken" / "fold0" / "checkpoint.pt"
    before = finished.stat().st_mtime_ns
    assert (examine("broken", resume=True) == examine("whole")).all()
    assert finished.stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="another recipe"):
        cross_validate(tiny(epochs=2), data, tmp_path / "broken", folds=2, resume=True)


def test_folds_replace_those_of_an_earlier_time(tmp_path: Path) -> None:
    data = of_subjects(drawn(28), 4, tmp_path / "data")
    for recipe in (tiny(epochs=1), tiny(epochs=1, batch=8)):
        cross_validate(recipe, data, tmp_path / "runs", folds=2)


def test_a_killed_examination_goes_on_with_none_of_an_earlier_one(tmp_path: Path) -> None:
    data, recipe = of_subjects(drawn(28), 4, tmp_path / "data"), tiny(epochs=1)

    def die(text: str) -> None:
        if "fold 1" in text:
            raise KilledError

    cross_validate(recipe, data, tmp_path / "runs", folds=3)
    with pytest.raises(KilledError):
        cross_validate(recipe, data, tmp_path / "runs", folds=3, note=die)
    left = (tmp_path / "runs").glob("*/checkpoint.pt")
    assert [file.parent.name for file in left] == ["fold0"]
