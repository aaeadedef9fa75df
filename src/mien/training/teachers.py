"""What other models think of the training rows: soft targets. Imports torch, the classifier, and
its siblings augment, calibration, initial, recipe, sending and zoo.

A teacher's opinion of a picture says more than its label (Hinton, Vinyals & Dean, "Distilling the
Knowledge in a Neural Network", 2015), most of all where labels are disputed. A teacher that has
learned from a picture mostly repeats its label, though. So rows can be dealt into folds, teachers
trained without one fold each (`data.left_out`), and of every row only those teachers are asked that
have not learned from it, as far as there are any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from mien.classifier import ExpressionClassifier
from mien.datasets import FaceCrops
from mien.errors import ConfigError
from mien.metrics import log_softmax
from mien.models import ModelEntry, ModelSpec, file_sha256, find_model, require_classes
from mien.training.augment import varied_views
from mien.training.calibration import OFFSETS
from mien.training.initial import load_weights, of_the_same_network, weights_of
from mien.training.recipe import AugmentRecipe, Recipe
from mien.training.sending import sent
from mien.training.zoo import ExpressionNetwork, Output, build_network, channels_last
from mien.types import Float32Array
from mien.whole import whole

_VIEWS: Final = 4  # of each row: on the plain picture a teacher is surer than it should be


def fold_numbers(train: FaceCrops, folds: int) -> npt.NDArray[np.int64]:
    """The fold of each row `(N,)`, by its pixels: identical pictures are never torn apart.

    Crops of another size are other pixels, and are dealt anew.
    """
    return np.array([int.from_bytes(digest[:8]) % folds for digest in train.pixel_hashes()])


def opinions(
    teachers: Sequence[str],
    train: FaceCrops,
    cache: Path,
    note: Callable[[str], None] = lambda text: None,
) -> Float32Array:
    """What the teachers think of each row on average: probabilities `float32 (N, K)`.

    Args:
        teachers: names or files of models with the classes of `train`.
        train: N rows.
        cache: folder where opinions are kept for later runs.
        note: called with a line on what is going on.

    Raises:
        ConfigError: a teacher has other classes.
        ModelError: a teacher cannot be read.
    """
    models = [ExpressionClassifier(teacher, threads=2) for teacher in teachers]
    for model in models:
        require_classes(model.spec, train.classes, f"fit.teachers: {model.spec.name}")
    known = [train.fingerprint(), *(file_sha256(model.entry.path) for model in models)]
    key = hashlib.sha256("\n".join(known).encode()).hexdigest()
    file = cache / f"opinions-{key[:16]}.npz"
    if file.is_file():
        with np.load(file, allow_pickle=False) as saved:
            return np.asarray(saved["probs"], np.float32)
    asked = _asked([model.spec for model in models], train, note)
    total = np.zeros((len(train), len(train.classes)))
    for model, mine in zip(models, asked, strict=True):
        rows = np.nonzero(mine)[0]
        if not len(rows):
            note(f"  {model.spec.name} is not asked: of every row there is one that knows less")
            continue
        images = torch.from_numpy(train.images[rows])
        for views in varied_views(images, _VIEWS, AugmentRecipe().calmed(), seed=0):
            logits = model.predict(views.numpy(), views="flip").logits
            total[rows] += log_softmax(logits / model.spec.temperature)
        note(f"  {model.spec.name} has answered")
    probs = np.exp(log_softmax(total / (_VIEWS * asked.sum(0)[:, None])))
    probs = probs.astype(np.float16)  # as they are kept: a run that is resumed learns the same
    cache.mkdir(parents=True, exist_ok=True)
    with whole(file) as partial:
        np.savez_compressed(partial, probs=probs)
    return probs.astype(np.float32)


@dataclass(frozen=True)
class Panel:
    """M teachers that look at what a network is shown while it learns, on its device.

    Attributes:
        networks: in eval mode.
        specs: what they say about themselves.
        asked: `bool (M, N)` on the CPU, whom to ask about which of the rows that are learned from.
    """

    networks: tuple[ExpressionNetwork, ...]
    specs: tuple[ModelSpec, ...]
    asked: Tensor

    @torch.no_grad()
    def opinions(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """Probabilities `float32 (B, K)`: those who are asked, on average of their logarithms.

        Args:
            pixels: `(B, 1, S, S)`, what the network is shown; a teacher sees it at its own size.
            rows: `(B,)` on the CPU, which rows it shows; of mixed ones, that which shows more.
        """
        asked = self.asked[:, rows]
        total = torch.zeros(len(rows), len(self.specs[0].labels), device=pixels.device)
        for network, spec, mine in zip(self.networks, self.specs, asked, strict=True):
            views = sent(mine.nonzero()[:, 0], pixels.device)
            if not len(views):
                continue
            shown = pixels[views]
            if shown.shape[-1] != spec.input_px:
                shown = F.interpolate(shown, size=spec.input_px, mode="bilinear")
            shown = shown.contiguous(memory_format=torch.channels_last)
            logits = Output(*network(shown)).expression.float()
            total.index_add_(0, views, (logits / spec.temperature).log_softmax(1))
        return (total / sent(asked.sum(0), pixels.device)[:, None]).softmax(1)


def make_panel(
    recipe: Recipe,
    train: FaceCrops,
    usable: npt.NDArray[np.bool_],
    device: torch.device,
    note: Callable[[str], None] = lambda text: None,
) -> Panel:
    """The recipe's teachers, to be asked about views of the usable rows of `train`.

    Raises:
        ConfigError, ModelError: as of `require_teachers`.
    """
    require_teachers(recipe)
    entries = [find_model(teacher) for teacher in recipe.fit.teachers]
    specs = [entry.spec() for entry in entries]
    networks = [_network(entry, recipe).to(device) for entry in entries]
    asked = torch.from_numpy(_asked(specs, train, note)[:, usable])
    return Panel(tuple(networks), tuple(specs), asked)


def require_teachers(recipe: Recipe) -> None:
    """Refuse teachers that cannot be asked as the recipe wants it, before anything else is done.

    Raises:
        ConfigError: one has other classes; or, where they are to see views, is prepared for other
            pixels than the recipe's network, or has no network of its own: a fusion, or one with
            numbers of 8 bits.
        ModelError: one cannot be read.
    """
    for teacher in recipe.fit.teachers:
        entry = find_model(teacher)
        spec = entry.spec()
        require_classes(spec, recipe.data.classes, f"fit.teachers: {spec.name}")
        if recipe.fit.teachers_see == "rows":
            continue
        if spec.members or spec.quantized_from:
            raise ConfigError(
                f"fit.teachers: {spec.name}: has no network that could look at views. Set "
                "fit.teachers_see to rows, or name the models that it was made of"
            )
        for key in ("normalization", "illumination", "background"):
            mine, theirs = getattr(recipe.data, key), getattr(spec, key)
            if mine != theirs:
                raise ConfigError(
                    f"fit.teachers: {entry.path}: data.{key}: expected {mine}, as the network that "
                    f"learns, to see the same views, found {theirs}. Set fit.teachers_see to rows"
                )


def require_unseen(recipe: Recipe, train: FaceCrops) -> None:
    """Refuse rows that all teachers have learned from, where it is their own view that counts.

    Raises:
        ConfigError: there are such rows.
        ModelError: a teacher cannot be read.
    """
    specs = [find_model(teacher).spec() for teacher in recipe.fit.teachers]
    known = len(train) - int(np.any([_unseen(spec, train) for spec in specs], 0).sum())
    if known:
        raise ConfigError(
            "fit.teachers: expected for every row one that has not learned from it, found none for "
            f"{known:,} of {len(train):,}. Name those of all folds (scripts/train_teachers.py)"
        )


def _network(entry: ModelEntry, recipe: Recipe) -> ExpressionNetwork:
    """The network inside a model file, in eval mode."""
    theirs = of_the_same_network(recipe, entry)
    network = build_network(theirs.network, classes=len(recipe.data.classes))
    load_weights(network, entry, recipe.data.classes)
    network.requires_grad_(False).eval()
    if (offsets := weights_of(entry).get(OFFSETS)) is not None:
        network.expression.bias.add_(offsets)
    return channels_last(network)


def _asked(
    specs: Sequence[ModelSpec], train: FaceCrops, note: Callable[[str], None]
) -> npt.NDArray[np.bool_]:
    """Whom of M teachers to ask about which of N rows: `(M, N)`."""
    fresh = np.stack([_unseen(spec, train, note) for spec in specs])
    note(
        f"asking {len(specs)} teachers about {len(train):,} rows, {fresh.any(0).mean():.1%} of "
        "which some have not learned from"
    )
    return np.where(fresh.any(0), fresh, True)


def _unseen(
    spec: ModelSpec, train: FaceCrops, note: Callable[[str], None] = lambda text: None
) -> npt.NDArray[np.bool_]:
    """Which rows a model was trained without, `(N,)`.

    Where it started from another model, none: that one may have learned from all of them. Where it
    learned from other rows, none either: those were dealt into other folds.
    """
    left_out = spec.recipe.get("data", {}).get("left_out", ())
    if not left_out or spec.recipe.get("init"):
        return np.zeros(len(train), bool)
    if spec.data_sha256 != train.fingerprint():
        note(
            f"{spec.name}: its fold was left out of other rows, or of crops of another size: it "
            "counts as having learned from all of these"
        )
        return np.zeros(len(train), bool)
    fold, folds = left_out
    return np.asarray(fold_numbers(train, folds) == fold)
