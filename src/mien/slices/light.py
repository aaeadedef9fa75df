"""One still face under a light that moves: whether its label changes.

The limits of the angles are those of the subsets in Georghiades, Belhumeur & Kriegman, "From Few to
Many", IEEE PAMI 23(6), 2001. Nobody labelled the expressions, so what is counted is how often the
answer is the one that the same person got under frontal light; and, because the people were to look
neutral, how often it is that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from mien.datasets import LitFaces
from mien.errors import DatasetError
from mien.slices.examine import Reader, read_level, sliced
from mien.slices.result import AS_IT_IS, LIGHT_UNIT, LevelFigures, Sliced, SliceFigures
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
    front = {person: i for i, person in enumerate(faces.people) if faces.angles[i] == 0}
    kept = np.array([i for i, person in enumerate(faces.people) if person in front])
    if not len(kept):
        raise DatasetError(f"{name}: no picture under frontal light (…_P00A+000E+00) to start from")
    people, angles = [faces.people[i] for i in kept], faces.angles[kept]
    if not angles.any():
        raise DatasetError(f"{name}: every picture is under frontal light. Add others to compare")
    lower = (0.0, *_LIMITS_DEG)
    levels = {AS_IT_IS: angles == 0}
    for low, high in zip(lower, _LIMITS_DEG, strict=False):
        level = f"over {low:g}" if high == _LIMITS_DEG[-1] else f"up to {high:g}"
        within = (angles > low) & (angles <= high)
        if within.any():
            levels[level] = within
    neutral = np.full(len(kept), EXPRESSIONS.index("neutral"))
    shown = [(faces.images[i], None) for i in kept]
    reads, probs = read_level(readers, shown, neutral)
    found = []
    place = {int(row): i for i, row in enumerate(kept)}
    for reader, read, said in zip(readers, reads, probs, strict=True):
        answer = said.argmax(1)
        start = np.array([answer[place[front[person]]] for person in people])
        same = answer == start
        slices = tuple(
            SliceFigures(
                title,
                LIGHT_UNIT,
                tuple(
                    LevelFigures(
                        level,
                        int(within.sum()),
                        int((good & within).sum()),
                        0,
                        int((read.answered & within).sum()),
                        int((read.answered & good & within).sum()),
                    )
                    for level, within in levels.items()
                ),
            )
            for title, good in (("light, same label", same), ("light, neutral", read.right))
        )
        found.append(sliced(reader, slices, name=name))
    return found
