"""What other models think of the training rows: soft targets. Imports torch, the classifier, and
its siblings augment and recipe.

A teacher's opinion of a picture says more than its label (Hinton, Vinyals & Dean, "Distilling the
Knowledge in a Neural Network", 2015), most of all where labels are disputed. A teacher that has
learned from a picture mostly repeats its label, though. So rows can be dealt into folds, teachers
trained without one fold each (`data.left_out`), and of every row only those teachers are asked that
have not learned from it, as far as there are any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from mien.classifier import ExpressionClassifier
from mien.datasets import FaceCrops
from mien.metrics import log_softmax
from mien.models import ModelSpec, file_sha256, require_classes
from mien.training.augment import varied_views
from mien.training.recipe import AugmentRecipe
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
    fresh = np.stack([_unseen(model.spec, train, note) for model in models])
    asked = np.where(fresh.any(0), fresh, True)
    note(
        f"asking {len(models)} teachers about {len(train):,} rows, {fresh.any(0).mean():.1%} of "
        "which some have not learned from (kept for later runs)"
    )
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


def _unseen(
    spec: ModelSpec, train: FaceCrops, note: Callable[[str], None]
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
