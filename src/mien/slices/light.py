"""One still face under a light that moves: whether its label changes.

The limits of the angles are those of the subsets in Georghiades, Belhumeur & Kriegman, "From Few to
Many", IEEE PAMI 23(6), 2001. Nobody labelled the expressions, so what is counted is how often the
answer is the one that the same person got under frontal light; and, because the people were to look
neutral, how often it is that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np

from mien.datasets import LitFaces
from mien.errors import DatasetError
from mien.slices.examine import Reader, read_level, sliced
from mien.slices.result import AS_IT_IS, LIGHT_UNIT, Sliced, SliceFigures
from mien.types import EXPRESSIONS

_LIMITS_DEG: Final = (12.0, 25.0, 50.0, 77.0, 180.0)


def slice_lights(readers: Sequence[Reader], faces: LitFaces, *, name: str) -> list[Sliced]:
    """Examine readers of crops on faces under a moving light.

    People who were not taken under frontal light are left out.

    Args:
        readers: who reads.
        faces: the pictures.
        name: what to call them.

    Raises:
        DatasetError: nobody was taken under frontal light, or nobody under another.
    """
    lit_from_front = {faces.people[i] for i in np.nonzero(faces.angles == 0)[0]}
    kept = [i for i, person in enumerate(faces.people) if person in lit_from_front]
    if not kept:
        raise DatasetError(f"{name}: no picture under frontal light (…_P00A+000E+00) to start from")
    people, angles = [faces.people[i] for i in kept], faces.angles[kept]
    if not angles.any():
        raise DatasetError(f"{name}: every picture is under frontal light. Add others to compare")
    levels = {AS_IT_IS: angles == 0}
    for low, high in pairwise((0.0, *_LIMITS_DEG)):
        level = f"over {low:g}" if high == _LIMITS_DEG[-1] else f"up to {high:g}"
        within = (angles > low) & (angles <= high)
        if within.any():
            levels[level] = within
    neutral = np.full(len(kept), EXPRESSIONS.index("neutral"))
    reads, probs = read_level(readers, [(faces.images[i], None) for i in kept], neutral)
    front = {person: i for i, person in enumerate(people) if angles[i] == 0}
    starts = [front[person] for person in people]
    found = []
    for reader, read, said in zip(readers, reads, probs, strict=True):
        answer = said.argmax(1)
        same = replace(read, right=answer == answer[starts])
        slices = [
            SliceFigures(
                title,
                LIGHT_UNIT,
                tuple(counted.figures(level, within) for level, within in levels.items()),
            )
            for title, counted in (("light, same label", same), ("light, neutral", read))
        ]
        found.append(sliced(reader, slices, name=name))
    return found
