"""Cross-validation by subject: train on all but one fold, examine that one, for every fold.

Imports fit, cropping, detection and what lies below. A set of a few hundred pictures has no split
of its own; folds that share subjects would measure how well faces are remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.cropping import cut_largest
from mien.datasets import FaceCrops, Row, read_rows, subject_folds
from mien.datasets.crops import SMALLEST_PX, gather
from mien.datasets.remarks import full_pictures
from mien.detection import FaceDetector
from mien.errors import DatasetError
from mien.metrics import fit_temperature, softmax
from mien.sources import first_frame
from mien.training.checkpoint import CHECKPOINT
from mien.training.fit import fit, predict_logits
from mien.training.recipe import Recipe
from mien.types import UInt8Array

#: Fewer would leave each network little to learn from.
_LEAST_FOLDS: Final = 3

Note = Callable[[str], None]


def cross_validate(
    recipe: Recipe,
    data: str | Path,
    out: Path,
    *,
    folds: int = 10,
    resume: bool = False,
    threads: int | None = None,
    note: Note = lambda text: None,
) -> tuple[FaceCrops, npt.NDArray[np.float64], int]:
    """Train and examine every fold.

    Args:
        recipe: how to train; `recipe.init` starts every fold from a model's weights.
        data: a set whose rows say whom they show.
        out: folder for each fold's run.
        folds: number of folds; of fewer people as many, but no fewer than three.
        resume: go on with the runs that are there, of this recipe and these data; else they are
            replaced.
        threads: CPU threads.
        note: called with a line on what is going on.

    Returns:
        All rows, for each the probabilities `(N, K)` given by the network that has not seen its
        subject, and the number of folds. The temperature of a fold comes from the other folds'
        rows it learned from.

    Raises:
        DatasetError: rows do not say whom they show, or there are too few subjects: both before
            faces are looked for.
        ConfigError, DatasetError: what is to be resumed is of another recipe, or of other data.
    """
    shown = [row for row in read_rows(data) if row.expression in recipe.data.classes]
    if not shown:
        raise DatasetError(f"{data}: no picture of the classes {', '.join(recipe.data.classes)}")
    _require_subjects(data, shown, folds)
    rows = _face_crops(data, shown, recipe, note)
    folds = _number(rows.groups, folds)
    fold_of = subject_folds(rows.groups, folds, seed=recipe.fit.seed)
    probs = np.zeros((len(rows), len(rows.classes)))
    if not resume:  # all at once: those of an earlier examination are no part of one that is killed
        for old in out.glob(f"fold*/{CHECKPOINT}"):
            old.unlink()
    for fold in range(folds):
        held = fold_of == fold
        run = out / f"fold{fold}"
        named = replace(recipe, name=f"{recipe.name}-fold{fold}")
        learned = rows.select(~held)
        network = fit(named, learned, rows.select(held), run, resume=True, threads=threads)
        size = recipe.fit.last_px
        seen = predict_logits(network, learned.images, recipe, size).double().numpy()
        logits = predict_logits(network, rows.images[held], recipe, size).double().numpy()
        # Known rows look surer than unknown ones: the temperature may only soften.
        temperature = max(1.0, fit_temperature(learned.labels, seen))
        probs[held] = softmax(logits, temperature)
        right = (probs[held].argmax(1) == rows.labels[held]).mean()
        note(f"fold {fold + 1} of {folds}: {held.sum()} pictures, {right:.1%} right")
    return rows, probs, folds


def _number(groups: Sequence[str], folds: int) -> int:
    """How many folds there can be of these people, who may be too few."""
    return min(folds, max(_LEAST_FOLDS, len({*groups})))


def _face_crops(data: str | Path, shown: Sequence[Row], recipe: Recipe, note: Note) -> FaceCrops:
    """The rows as crops; faces in full pictures are found and cut by the recipe's rule.

    Crops are taken as they are, of any size, as `mien train` takes them.
    """
    lost = 0

    def faces() -> Iterator[tuple[Row, UInt8Array]]:
        nonlocal lost
        detector = FaceDetector()
        for row in shown:
            face = _cut_face(row, recipe, detector)
            if face is None:
                lost += 1
            else:
                yield row, face

    given = full_pictures(data) is None
    if not given:
        note(f"{data}: full pictures, whose faces are cut out")
    found = ((row, row.gray()) for row in shown) if given else faces()
    crops = gather(found, recipe.data.classes, recipe.data.input_px)
    if lost:
        note(f"no face found in {lost} pictures; they are left out")
    if not len(crops):
        raise DatasetError(f"{data}: no face found in any picture")
    note(f"{len(crops)} faces of {len(set(crops.groups))} subjects")
    _require_no_shared_pictures(crops)
    return crops


def _cut_face(row: Row, recipe: Recipe, detector: FaceDetector) -> UInt8Array | None:
    frame = first_frame(str(row.picture))
    rule, size = recipe.data, max(recipe.data.input_px, SMALLEST_PX)
    return cut_largest(
        frame, detector, scale=rule.crop_scale, upright=rule.crop_upright, size_px=size
    )


def _require_subjects(data: str | Path, shown: Sequence[Row], folds: int) -> None:
    """Of whom nobody knows who it is, nobody knows into which fold to put them."""
    unknown = [row.name for row in shown if not row.group]
    if unknown:
        raise DatasetError(
            f"{data}: folds by subject: {len(unknown):,} of {len(shown):,} pictures do not say "
            f"whom they show, such as {unknown[0]}. Call files like 12_3.png, the third of person "
            "12, or leave them out"
        )
    people = [row.group for row in shown]
    subject_folds(people, _number(people, folds))  # refuses too few


def _require_no_shared_pictures(crops: FaceCrops) -> None:
    """One picture under two subjects would stand on both sides of a fold."""
    owner: dict[bytes, str] = {}
    for digest, group, name in zip(crops.pixel_hashes(), crops.groups, crops.names, strict=True):
        first = owner.setdefault(digest, group)
        if first != group:
            raise DatasetError(f"{name}: is the same picture as one of subject {first}")
