"""What tests of training share: drawn faces, a recipe that is quick, sets and models as files."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mien.datasets import FaceCrops
from mien.training.export import export
from mien.training.fit import fit
from mien.training.recipe import AugmentRecipe, Recipe, recipe_from_dict

STILL: dict[str, Any] = {name: type(value)() for name, value in vars(AugmentRecipe()).items()} | {
    "scale_min": 1.0,
    "scale_max": 1.0,
}


def tiny(**fitting: object) -> Recipe:
    return recipe_from_dict(
        {
            "name": "tiny",
            "network": {"widths": [8, 16], "depths": [1, 1], "dropout": 0.0},
            "data": {"aligned_share": 0.0, "input_px": 48},
            "augment": STILL,
            "fit": {"epochs": 2, "batch": 16, "resolutions": [[1.0, 48]], **fitting},
        }
    )


def drawn(n: int, seed: int = 0) -> FaceCrops:
    """Noise whose class is the distance between bright rows."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 7
    images = rng.integers(60, 120, (n, 48, 48)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:: label + 2] += 100
    votes = np.zeros((n, 10), np.uint8)
    votes[np.arange(n), labels] = 10
    return FaceCrops(images, labels.astype(np.int64), votes, tuple(map(str, range(n))))


def write_splits(folder: Path, n: int) -> None:
    """`drawn(n)` as a data set with rows to learn from and rows to watch."""
    for seed, split in enumerate(("train", "val")):
        saved(drawn(n, seed), folder / split)


def saved(data: FaceCrops, folder: Path) -> Path:
    """The crops as a folder per class, in files of their names."""
    for image, label, name in zip(data.images, data.labels, data.names, strict=True):
        file = folder / data.classes[label] / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return folder


def taught(
    file: Path, recipe: Recipe, data: FaceCrops, calibration: FaceCrops, **exporting: Any
) -> Path:
    """The file of a model that has learned from `data`; its run lies beside it."""
    network = fit(recipe, data, data, file.with_suffix(""))
    export(recipe, network, calibration, file, data_sha256=data.fingerprint(), **exporting)
    return file


class KilledError(Exception):
    """Ends a run where a test wants it to end."""


def die(_done: object) -> None:
    """Ends a run that reports to it after one epoch, whose checkpoint is written."""
    raise KilledError
