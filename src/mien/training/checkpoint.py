"""What a run leaves behind: its checkpoint, its log, its best weights. Imports torch, datasets,
errors, models, recipe and whole.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from mien.datasets import FaceCrops
from mien.errors import ConfigError, DatasetError, ModelError
from mien.models import find_model
from mien.training.recipe import Recipe, recipe_from_dict
from mien.whole import whole

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
LOG = "log.csv"


@dataclass(frozen=True)
class EpochReport:
    """What one epoch did; accuracy is a fraction.

    `images_per_s` is of the training alone. `wall_s` counts from the row before: with what it took
    to watch, and to write down the epoch before. So does `cpu_s`, the processor time of this
    process on all cores: what the epoch cost, whatever else the machine was doing.
    """

    epoch: int
    epochs: int
    size_px: int
    learning_rate: float
    loss: float
    accuracy: float
    images_per_s: float
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Origin:
    """What a run comes of beside its recipe, as hashes.

    Attributes:
        data: of the rows, as of `FaceCrops.fingerprint`.
        votes: of the votes for them, as of `FaceCrops.votes_fingerprint`.
        models: SHA-256 of the models that it starts from and learns from, by what the recipe calls
            them.
    """

    data: str
    votes: str
    models: dict[str, str]

    @classmethod
    def of(cls, recipe: Recipe, train: FaceCrops) -> Origin:
        """That of a run with these rows to learn from.

        Raises:
            ModelError: a model to start or learn from cannot be read.
        """
        names = filter(None, (recipe.init, *recipe.fit.teachers))
        models = {name: find_model(name).digest for name in names}
        return cls(train.fingerprint(), train.votes_fingerprint(), models)


class Log:
    """One CSV row an epoch. A resumed run drops the rows that it is going to write again.

    A row is written before its checkpoint: a kill between the two costs no row.
    """

    def __init__(self, path: Path, epochs_done: int) -> None:
        self._path = path
        self._rows = [row for row in read_log(path) if row.epoch <= epochs_done]
        self._write()

    def write(self, row: EpochReport) -> None:
        """Append one epoch."""
        self._rows.append(row)
        self._write()

    def _write(self) -> None:
        with whole(self._path) as partial, partial.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(field.name for field in fields(EpochReport))
            writer.writerows(vars(row).values() for row in self._rows)


def read_log(path: Path) -> list[EpochReport]:
    """The epochs in a log; none where there is no log."""
    if not path.is_file():
        return []
    kinds: dict[str, Callable[[str], Any]] = {
        f.name: int if f.type == "int" else float for f in fields(EpochReport)
    }
    with path.open(newline="") as file:
        return [
            EpochReport(**{name: kinds[name](value) for name, value in row.items()})
            for row in csv.DictReader(file)
        ]


def save_checkpoint(
    path: Path,
    recipe: Recipe,
    origin: Origin,
    epoch: int,
    *,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    precision: Mapping[str, Any],
    best_accuracy: float,
) -> None:
    """Write everything that a run needs to go on; a kill meanwhile leaves the one before.

    `precision` is the state of what scales gradients, where numbers of 16 bits need that.
    """
    state = {
        "recipe": recipe.to_dict(),
        **vars(origin),
        "epoch": epoch,
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "precision": dict(precision),
        "best_accuracy": best_accuracy,
    }
    _write(state, path)


def save_best(path: Path, recipe: Recipe, origin: Origin, epoch: int, average: nn.Module) -> None:
    """Write the averaged weights of the epoch that PublicTest likes best so far."""
    state = {
        "recipe": recipe.to_dict(),
        **vars(origin),
        "epoch": epoch,
        "average": average.state_dict(),
    }
    _write(state, path)


def _write(state: dict[str, Any], path: Path) -> None:
    with whole(path) as partial:
        torch.save(state, partial)


def restate(path: Path, state: dict[str, Any], recipe: Recipe) -> None:
    """Let a checkpoint say what an equal recipe says of its data and terms.

    A run that is finished writes no other.
    """
    if state["recipe"] != recipe.to_dict():
        _write({**state, "recipe": recipe.to_dict()}, path)


@contextmanager
def readable_checkpoint(file: Path) -> Iterator[None]:
    """Turn what can go wrong in reading a checkpoint into a `ModelError` that names it."""
    try:
        yield
    except (RuntimeError, KeyError, TypeError, EOFError, OSError, UnpicklingError) as error:
        raise ModelError(f"{file}: not a checkpoint of `mien train` ({error})") from error


def load_checkpoint(path: Path, recipe: Recipe, origin: Origin) -> dict[str, Any]:
    """Read a checkpoint that belongs to this recipe, and comes of the same.

    A recipe from before a key was introduced is one with the key's default; a checkpoint that does
    not say which votes or models there were goes on with any.

    Raises:
        ModelError: there is none, or not one of ours, or it comes of other models.
        ConfigError, DatasetError: it belongs to another recipe or to other data.
    """
    if not path.is_file():
        raise ModelError(
            f"{path}: no checkpoint to resume from, where the first process sees one. Let --out be "
            "a folder that all machines share"
        )
    with readable_checkpoint(path):
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        theirs, data = recipe_from_dict(state["recipe"], str(path)), state["data"]
    if theirs != recipe:
        raise ConfigError(
            f"{path}: belongs to another recipe. Resume with the recipe it was started with, or "
            "choose another --out"
        )
    if data != origin.data:
        raise DatasetError(f"{path}: was trained on other data than was given now")
    if state.get("votes", origin.votes) != origin.votes:
        had = "with other FER+ votes than these" if state["votes"] else "without FER+ votes"
        raise DatasetError(
            f"{path}: was trained {had}. Give the set with the votes that it had then (of "
            "fer2013.csv, fer2013new.csv holds them), or choose another --out"
        )
    before = state.get("models", origin.models)
    for name, digest in origin.models.items():
        if before.get(name) != digest:
            raise ModelError(
                f"{path}: was trained with another {name} than is there now. Put that one back, or "
                "choose another --out"
            )
    return state
