"""Rows on their way into the network: the whole set in memory, batches cut and varied at once.

Imports torch, datasets, preprocess and its siblings augment, expected, framing, recipe, sending
and teachers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from mien.datasets import NOT_A_FACE, FaceCrops
from mien.errors import DatasetError
from mien.preprocess import FLAT_CONTRAST, network_input
from mien.training.augment import Variations, draw_variations, mix_neighbours, vary
from mien.training.expected import expected_labels, expects_by_teachers, expects_by_votes
from mien.training.framing import detected_framings, whole_picture
from mien.training.recipe import Recipe
from mien.training.sending import sent
from mien.training.teachers import fold_numbers, opinions, require_unseen
from mien.types import EXPRESSIONS, FERPLUS_EXPRESSIONS, UInt8Array

_CPU = torch.device("cpu")
_USUAL = ("standardize", "none", "keep")  # what `standardized` does
_VOTES_OF_EXPRESSIONS = [FERPLUS_EXPRESSIONS.index(name) for name in EXPRESSIONS]


class Batch(NamedTuple):
    """What the network sees, and what it should say.

    Attributes:
        pixels: `float32 (B, 1, S, S)`, channels last.
        targets: `float32 (B, K)`, a distribution over the classes.
        votes: `float32 (B, 8)`, the share of each FER+ class; None without votes.
    """

    pixels: Tensor
    targets: Tensor
    votes: Tensor | None

    def taught(self, opinions: Tensor, weight: float) -> Batch:
        """The same with a share of the targets taken from opinions `(B, K)`."""
        return self._replace(targets=self.targets.lerp(opinions, weight))


@dataclass(frozen=True)
class TrainingRows:
    """N rows in memory, on the CPU: a set need not fit on an accelerator.

    Attributes:
        images: `uint8 (N, H, W)`.
        labels: `int64 (N,)`.
        votes: `float32 (N, 8)` shares of FER+ votes, or None.
        framings: `(N, 2, 3)`, where the detector would cut, in normalised coordinates; all of the
            picture where it found no face.
        expected: `float32 (N, K)`, which labels are to be expected of them, or None.
        opinions: `float32 (N, K)`, what teachers think of them, where that goes into targets as it
            is, or None.
        classes: number of classes.
    """

    images: Tensor
    labels: Tensor
    votes: Tensor | None
    framings: Tensor
    expected: Tensor | None
    opinions: Tensor | None
    classes: int

    def __len__(self) -> int:
        return len(self.images)


def usable_rows(recipe: Recipe, train: FaceCrops) -> npt.NDArray[np.bool_]:
    """Which rows of a set a recipe learns from: `(N,)`.

    Raises:
        DatasetError: no row is, or votes are to be learned from that are not there.
        ConfigError: labels are to be expected from teachers that all know the row.
    """
    if expects_by_votes(recipe.fit) and train.votes is None:
        raise DatasetError(
            "fit.expected_share: labels are expected from votes, and there are none. Teachers may "
            "do without: fit.expected_from = teachers"
        )
    if recipe.fit.ferplus_share and train.votes is None:
        raise DatasetError(
            "fit.ferplus_share: a share of the targets is to come from FER+ votes, and there are "
            "none. Set it to 0, or give rows with votes"
        )
    if expects_by_teachers(recipe.fit):
        require_unseen(recipe, train)
    usable = np.ones(len(train), bool)
    if train.votes is not None:
        usable = train.votes[:, NOT_A_FACE] <= recipe.data.max_not_face_votes
    if recipe.data.left_out:
        fold, folds = recipe.data.left_out
        usable &= fold_numbers(train, folds) != fold
    if not usable.any():
        raise DatasetError(
            "no picture to train on: all are left out, or FER+ calls them 'not a face'"
        )
    return usable


def training_rows(
    recipe: Recipe, train: FaceCrops, cache: Path, note: Callable[[str], None]
) -> TrainingRows:
    """The usable rows of a set, with the faces that the detector finds in them.

    Args:
        recipe: decides what is usable, and whether the detector is asked at all.
        train: the rows.
        cache: folder where detections are kept for later runs.
        note: called with a line on what is going on.

    Raises:
        DatasetError, ConfigError: as of `usable_rows`.
    """
    usable = usable_rows(recipe, train)
    framings = whole_picture(len(train))
    if recipe.data.aligned_share:
        note("finding the faces in the training pictures (kept for later runs)")
        framings, found = detected_framings(
            train, recipe.data, cache, lambda done, n: note(f"  {done:,} of {n:,}")
        )
        note(f"faces found in {found.mean():.1%} of the training pictures")
    votes = None
    if train.votes is not None:
        votes = torch.from_numpy(train.vote_shares()[usable])
    said = None
    indirectly = expects_by_teachers(recipe.fit)
    if recipe.fit.teachers and recipe.fit.teachers_see == "rows":
        said = opinions(recipe.fit.teachers, train, cache, note)
    expected = None
    if recipe.fit.expected_share:
        heard = said if indirectly else None
        likely = expected_labels(train, usable, votes=expects_by_votes(recipe.fit), opinions=heard)
        expected = torch.from_numpy(likely[usable])
        hits = (expected.argmax(1).numpy() == train.labels[usable]).mean()
        note(f"the label to be expected is the label in {hits:.1%} of the rows")
    thought = None
    if said is not None and not indirectly:
        thought = torch.from_numpy(said[usable])
    return TrainingRows(
        torch.from_numpy(train.images[usable]),
        torch.from_numpy(train.labels[usable]),
        votes,
        torch.from_numpy(framings[usable]),
        expected,
        thought,
        len(train.classes),
    )


def steps_per_epoch(n: int, batch: int) -> int:
    """Number of batches of about `batch` rows in `n` rows."""
    return math.ceil(n / batch)


def batch_rows(
    rows: TrainingRows, batch: int, balance: float, generator: Generator
) -> Iterator[Tensor]:
    """Row numbers of one epoch, batch by batch.

    With `balance` 0 every row comes once, in a fresh order. Above it, rows are drawn with
    replacement, those of a class of n rows with weight n ** -balance: at 1 every class is shown
    equally often. Batches differ by one row at most.
    """
    n = len(rows)
    if balance:
        counts = torch.bincount(rows.labels, minlength=rows.classes).double()
        weights = counts.clamp(min=1).pow(-balance)[rows.labels]
        order = torch.multinomial(weights, n, replacement=True, generator=generator)
    else:
        order = torch.randperm(n, generator=generator)
    yield from torch.tensor_split(order, steps_per_epoch(n, batch))


def make_batch(
    rows: TrainingRows,
    chosen: Tensor,
    framed: Tensor,
    size_px: int,
    variations: Variations,
    recipe: Recipe,
    device: torch.device = _CPU,
) -> Batch:
    """Cut, vary and preprocess the chosen rows.

    Args:
        rows: the set.
        chosen: `(B,)` row numbers.
        framed: `bool (B,)`, which of them to cut by the detector's rule.
        size_px: side of the crops.
        variations: dice for exactly these rows.
        recipe: preprocessing and label smoothing.
        device: where the network learns: the pictures are sent there as they are, and varied there.
    """
    framing = torch.where(framed.view(-1, 1, 1), rows.framings[chosen], torch.eye(2, 3))
    crops = vary(sent(rows.images[chosen], device), sent(framing, device), size_px, variations)
    smoothing = recipe.fit.label_smoothing
    targets = torch.full((len(chosen), rows.classes), smoothing / rows.classes)
    targets[torch.arange(len(chosen)), rows.labels[chosen]] += 1 - smoothing
    votes = None if rows.votes is None else rows.votes[chosen]
    if votes is not None and recipe.fit.ferplus_share:
        targets = targets.lerp(_voted(votes, targets), recipe.fit.ferplus_share)
    if rows.expected is not None:
        targets = targets.lerp(rows.expected[chosen], recipe.fit.expected_share)
    if rows.opinions is not None:
        targets = targets.lerp(rows.opinions[chosen], recipe.fit.teacher_weight)
    if recipe.augment.mixup:
        crops = mix_neighbours(crops, variations.mix)
        targets = mix_neighbours(targets, variations.mix)
        votes = None if votes is None else mix_neighbours(votes, variations.mix)
    votes = None if votes is None else sent(votes, device)
    return Batch(network_pixels(crops, recipe), sent(targets, device), votes)


def varied_crops(
    images: UInt8Array, recipe: Recipe, generator: Generator
) -> tuple[Tensor, Variations]:
    """Pictures `uint8 (N, S, S)` cut and varied as one epoch would, `(N, 1, P, P)` in 0..255 at the
    recipe's input size P, and the dice of it. Not mixed with one another.
    """
    n, size = len(images), recipe.data.input_px
    framings = whole_picture(n)
    if recipe.data.aligned_share:
        rows = FaceCrops(images, np.zeros(n, np.int64), None, ("",) * n)
        with TemporaryDirectory() as folder:
            framings, _ = detected_framings(rows, recipe.data, Path(folder))
    framed = torch.rand(n, generator=generator) < recipe.data.aligned_share
    framing = torch.where(framed.view(-1, 1, 1), torch.from_numpy(framings), torch.eye(2, 3))
    dice = draw_variations(n, size, recipe.augment, generator)
    return vary(torch.from_numpy(images), framing, size, dice), dice


def augmented_samples(images: UInt8Array, recipe: Recipe, *, seed: int) -> UInt8Array:
    """Pictures `uint8 (N, S, S)` as one epoch would show them, at the recipe's input size.

    All but the normalisation, which nobody could see, is done to them.
    """
    generator = Generator().manual_seed(seed)
    crops, dice = varied_crops(images, recipe, generator)
    # As a batch has them: neighbours are strangers.
    order = torch.randperm(len(images), generator=generator)
    crops[order] = mix_neighbours(crops[order], dice.mix)
    shown = network_input(
        crops[:, 0].round().to(torch.uint8).numpy(),
        normalization="fixed",
        mean=0.0,
        std=1.0,
        illumination=recipe.data.illumination,
        background=recipe.data.background,
    )
    return np.asarray((255 * shown[:, 0]).round(), np.uint8)


def _voted(votes: Tensor, otherwise: Tensor) -> Tensor:
    """FER+ votes `(B, 8)` on the seven classes; the share that voted for none of them (contempt,
    or nobody at all) is given `otherwise`.
    """
    seven = votes[:, _VOTES_OF_EXPRESSIONS]
    return seven + (1 - seven.sum(1, keepdim=True)) * otherwise


def network_pixels(crops: Tensor, recipe: Recipe) -> Tensor:
    """Crops `(B, 1, S, S)` in 0..255 through the preprocessing that inference uses.

    Off the CPU, what nearly all recipes ask for is computed in place; the rest takes the way over
    the CPU.
    """
    rule, rounded = recipe.data, crops.round()
    usual = (rule.normalization, rule.illumination, rule.background) == _USUAL
    if usual and crops.device.type != "cpu":
        pixels = standardized(rounded)
    else:
        found = network_input(
            rounded[:, 0].to(torch.uint8).cpu().numpy(),
            normalization=rule.normalization,
            illumination=rule.illumination,
            background=rule.background,
        )
        pixels = torch.from_numpy(found).to(crops.device)
    return pixels.contiguous(memory_format=torch.channels_last)


def standardized(crops: Tensor) -> Tensor:
    """`network_input` with `standardize` alone, for crops `(B, 1, S, S)` on any device."""
    spread, centre = torch.std_mean(crops, (2, 3), correction=0, keepdim=True)
    return (crops - centre) / spread.clamp(min=FLAT_CONTRAST)
