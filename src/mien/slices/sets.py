"""Any labelled set, degraded: crops, full pictures, or faces under a moving light. Imports datasets
and its siblings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mien.datasets import (
    EVERY_SPLIT,
    load_crops,
    load_lights,
    load_pictures,
    shows_lights,
    split_name,
)
from mien.datasets.crops import SMALLEST_PX
from mien.slices.examine import Progress, Reader, slice_crops, slice_pictures
from mien.slices.light import slice_lights
from mien.slices.result import Sliced
from mien.types import Pose


def slice_set(
    readers: Sequence[Reader],
    data: str | Path,
    *,
    split: str = EVERY_SPLIT,
    pipeline: bool = False,
    pose: Pose = "all",
    sample: int | None = None,
    seed: int = 0,
    size_px: int = SMALLEST_PX,
    progress: Progress = lambda done, total: None,
    problem: Callable[[str], None] = lambda words: None,
) -> list[Sliced]:
    """Examine readers on a set. Further arguments as of `slice_crops` and `slice_pictures`.

    Args:
        readers: who reads: crops, or with `pipeline` pictures.
        data: a set of crops, or with `pipeline` of full pictures; or faces under a moving light,
            which are all examined.
        split: which rows.
        pipeline: whether faces are looked for in full pictures.
        size_px: of crops, the largest side that a reader makes use of.

    Raises:
        DatasetError: the set cannot be read, or has nothing of what is asked for.
    """
    name = Path(data).resolve().stem
    if shows_lights(data):
        return slice_lights(readers, load_lights(data, size_px=size_px), name=name)
    if pipeline:
        return slice_pictures(
            readers, load_pictures(data, split), name=name, split=split_name(split), pose=pose,
            sample=sample, seed=seed, progress=progress, problem=problem,
        )  # fmt: skip
    crops = load_crops(data, split, size_px=size_px)
    return slice_crops(
        readers, crops, name=name, split=crops.split,
        sample=sample, seed=seed, progress=progress,
    )  # fmt: skip
