"""Which label a row should have been given, judged by what others say of it: FER+ votes, teachers,
or both. Imports torch, datasets and its siblings recipe and teachers.

FER2013's labels and FER+'s votes (Barsoum, Zhang, Canton Ferrer & Zhang, "Training Deep Networks
for Facial Expression Recognition with Crowd-Sourced Label Distribution", 2016) come from different
people with different habits, and for many pictures they disagree. So votes cannot stand for labels,
but a label can be expected from them: what other rows with such votes were labelled. That tells
something about the very picture that its one label does not.

So do the opinions of teachers that have not learned from the row. They know the habits of the
labels, and votes know the picture: together they say more than either, each with the weight that
other rows' labels give it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from mien.datasets import FaceCrops
from mien.training.recipe import FitRecipe
from mien.training.teachers import fold_numbers
from mien.types import Float32Array

_FOLDS: Final = 5
_SHRINKAGE: Final = 1e-5  # of squared weights, beside the mean loss of a row
_LEAST: Final = 1e-4  # probability: no opinion is taken to be surer


def expects_by_votes(fitting: FitRecipe) -> bool:
    """Whether FER+ votes have a say in what is expected."""
    return bool(fitting.expected_share) and fitting.expected_from != "teachers"


def expects_by_teachers(fitting: FitRecipe) -> bool:
    """Whether teachers do: what they think enters the targets in this way then, not as it is."""
    return bool(fitting.expected_share) and fitting.expected_from != "votes"


def expected_labels(
    train: FaceCrops,
    usable: npt.NDArray[np.bool_],
    *,
    votes: bool = True,
    opinions: Float32Array | None = None,
) -> Float32Array:
    """Probabilities of each label given what others say of the row, `float32 (N, K)`.

    By multinomial logistic regression out of fold (cross-fitting): the rows are dealt into folds by
    their pixels, and the label of no row has a part in what is expected of it.

    Args:
        train: N rows.
        usable: `(N,)`, the rows to learn from and to answer for; the others are given zeros.
        votes: whether to go by the rows' votes.
        opinions: probabilities `(N, K)`, to go by them too: of teachers that have not learned from
            the row.
    """
    said = [np.ones((len(train), 1))]
    if votes:
        assert train.votes is not None
        said.append(_features(train.votes))
    if opinions is not None:
        said.append(np.log(np.maximum(opinions.astype(np.float64), _LEAST)))
    features = torch.from_numpy(np.concatenate(said, 1))
    labels = torch.from_numpy(train.labels)
    folds = fold_numbers(train, _FOLDS)
    expected = np.zeros((len(train), len(train.classes)), np.float32)
    for fold in range(_FOLDS):
        others, mine = usable & (folds != fold), usable & (folds == fold)
        weights = _regression(features[others], labels[others], len(train.classes))
        expected[mine] = (features[mine] @ weights).softmax(1).numpy()
    return expected


def _features(votes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """What the regression sees of votes `(N, 10)`: `float64 (N, F)`.

    Shares; their roots and squares, for one vote of ten says more than a tenth of ten; which
    answers lead; and how far any two were given side by side.
    """
    shares = votes / np.maximum(votes.sum(1, keepdims=True), 1)
    roots = np.sqrt(shares)
    leads = (votes == votes.max(1, keepdims=True)).astype(np.float64)
    one, other = np.triu_indices(votes.shape[1], 1)
    together = roots[:, one] * roots[:, other]
    return np.concatenate([shares, roots, shares**2, leads, together], 1)


def _regression(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Weights `(F, K)` that make the labels most likely; without any, all are equally likely."""
    weights = torch.zeros(features.shape[1], classes, dtype=torch.float64, requires_grad=True)
    if not len(labels):
        return weights.detach()
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = F.cross_entropy(features @ weights, labels) + _SHRINKAGE * weights.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach()
