"""Probabilities in the order in which other data sets count their classes, and back. Imports numpy,
types.

mien answers in FER2013's seven classes (`types.EXPRESSIONS`), or with `classes="ferplus"` in the
eight of FER+ (`types.FERPLUS_EXPRESSIONS`), contempt among them. Columns change places, and nothing
is added, dropped or rescaled: contempt is there afterwards where it was there before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.types import EXPRESSIONS, FERPLUS_EXPRESSIONS

#: AffectNet's classes in AffectNet's order, by our names: index i is its label i (Mollahosseini et
#: al., 2017). Where seven of them are used, contempt is left out, and the others keep their labels.
AFFECTNET_EXPRESSIONS: Final[tuple[str, ...]] = (
    "neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"
)  # fmt: skip

#: RAF-DB's classes in RAF-DB's order, by our names: index i is its label i + 1 (Li et al., 2017).
RAFDB_EXPRESSIONS: Final[tuple[str, ...]] = (
    "surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"
)  # fmt: skip

_OURS: Final = (EXPRESSIONS, FERPLUS_EXPRESSIONS)
_AFFECTNET: Final = (AFFECTNET_EXPRESSIONS[:7], AFFECTNET_EXPRESSIONS)
_RAFDB: Final = (RAFDB_EXPRESSIONS,)


def to_affectnet(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Our columns in AffectNet's order.

    Args:
        values: `(..., 7)` or, with contempt, `(..., 8)` as with `classes="ferplus"`: probabilities,
            logits, anything with a value for each class.

    Raises:
        ValueError: another number of classes.
    """
    return _reordered(values, _OURS, _AFFECTNET)


def from_affectnet(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """AffectNet's columns in our order: `(..., 7)`, or `(..., 8)` with contempt.

    Raises:
        ValueError: another number of classes.
    """
    return _reordered(values, _AFFECTNET, _OURS)


def to_rafdb(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Our columns `(..., 7)` in RAF-DB's order, which has no contempt.

    Raises:
        ValueError: another number of classes.
    """
    return _reordered(values, _OURS[:1], _RAFDB)


def from_rafdb(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """RAF-DB's columns `(..., 7)` in our order.

    Raises:
        ValueError: another number of classes.
    """
    return _reordered(values, _RAFDB, _OURS[:1])


def _reordered(
    values: npt.ArrayLike, have: Sequence[tuple[str, ...]], want: Sequence[tuple[str, ...]]
) -> npt.NDArray[Any]:
    array = np.asarray(values)
    classes = array.shape[-1] if array.ndim else 0
    for source, target in zip(have, want, strict=True):
        if len(source) == classes:
            return array[..., [source.index(name) for name in target]]
    expected = " or ".join(f"(..., {len(source)})" for source in have)
    raise ValueError(f"values for classes: expected {expected}, found {array.shape}")
