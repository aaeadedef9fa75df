"""How often a crop is looked at, and how it lies each time. Imports numpy and types."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np

from mien.types import UInt8Array, Views

_SHIFT: Final = 1 / 16  # of the view `shifts`: in sides of the crop


@dataclass(frozen=True)
class Look:
    """One way to look at a crop: shifted by parts of its side, then perhaps mirrored."""

    right: float = 0.0
    down: float = 0.0
    mirrored: bool = False


#: The looks of each view; their answers are averaged.
LOOKS: Final[dict[Views, tuple[Look, ...]]] = {
    "single": (Look(),),
    "flip": (Look(), Look(mirrored=True)),
    "shifts": tuple(
        Look(right, down, mirrored)
        for right, down in product((-_SHIFT, 0.0, _SHIFT), repeat=2)
        for mirrored in (False, True)
    ),
}


def seen(crop: UInt8Array, look: Look) -> UInt8Array:
    """A grey crop `(H, W)` as it is looked at; its outermost pixels go on beyond its edges."""
    height, width = crop.shape
    down, right = round(look.down * height), round(look.right * width)
    if down or right:
        rows = np.clip(np.arange(height) - down, 0, height - 1)
        columns = np.clip(np.arange(width) - right, 0, width - 1)
        crop = crop[np.ix_(rows, columns)]
    return np.ascontiguousarray(crop[:, ::-1]) if look.mirrored else crop
