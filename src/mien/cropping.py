"""The face in each full picture of a labelled set, cut out: what networks learn from.

May import numpy, Pillow, and from mien: alignment, datasets, detection, sources, whole; and errors,
types.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from mien.alignment import align_faces
from mien.datasets import NO_SPLIT, Row, read_rows
from mien.detection import FaceDetector
from mien.errors import DatasetError, SinkError, SourceError
from mien.sources import first_frame
from mien.types import Frame, UInt8Array
from mien.whole import whole

#: What the folder of a split is called.
_FOLDERS: Final = {"Training": "train", "PublicTest": "val", "PrivateTest": "test", NO_SPLIT: ""}


def cut_largest(
    frame: Frame, detector: FaceDetector, *, scale: float, upright: bool, size_px: int
) -> UInt8Array | None:
    """The largest face in a picture, grey `uint8 (S, S)`; None where there is none.

    Args:
        frame: the picture.
        detector: finds the faces.
        scale, upright, size_px: as of `mien.alignment.align_faces`.
    """
    faces = detector.find(frame)
    if not len(faces):
        return None
    largest = faces.select([faces.largest()])
    crops = align_faces(frame.image, largest, scale=scale, upright=upright, size_px=size_px)
    return np.asarray(crops[0], np.uint8)


def crop_set(
    data: str | Path,
    out: Path,
    *,
    scale: float,
    upright: bool,
    size_px: int,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    problem: Callable[[str], None] = lambda words: None,
) -> tuple[int, int]:
    """Write the largest face of every picture of a set as a grey PNG into a folder per class.

    Splits keep their folders (`train`, `val`, `test`), and files their names: of several pictures
    of one name in one class, all but the first get numbered folders (`train/2/happy`).

    Args:
        data: a set of full pictures, in any layout that `mien.datasets.read_rows` reads.
        out: the folder to write.
        scale, upright, size_px: as of `mien.alignment.align_faces`.
        overwrite: whether the folder may hold something already.
        progress: called with the number of pictures done and their total.
        problem: called with why a picture has no crop: it shows no face, or cannot be read.

    Returns:
        How many crops were written, and of how many pictures.

    Raises:
        DatasetError: no such set, or one that holds face crops already.
        SinkError: the folder is not empty, or cannot be written.
    """
    rows = list(read_rows(data, broken=True))
    if not rows:
        raise DatasetError(f"{data}: holds no rows. Give the path of a set of pictures")
    if not all(isinstance(row.picture, Path | DatasetError) for row in rows):
        raise DatasetError(f"{data}: holds face crops already. Train on it as it is")
    if not overwrite and out.is_dir() and any(out.iterdir()):
        raise SinkError(f"{out}: is not empty. Choose another folder, or use --overwrite")
    detector = FaceDetector()
    originals = {row.picture.resolve() for row in rows if isinstance(row.picture, Path)}
    taken: set[Path] = set()
    for i, row in enumerate(rows):
        progress(i, len(rows))
        if isinstance(row.picture, DatasetError):
            problem(str(row.picture))
            continue
        try:
            frame = first_frame(str(row.picture))
        except SourceError as error:
            problem(str(error))
            continue
        crop = cut_largest(frame, detector, scale=scale, upright=upright, size_px=size_px)
        if crop is None:
            problem(f"{row.name}: no face found")
            continue
        target = _target(out, row, taken)
        if target.resolve() in originals:
            raise SinkError(f"{target}: is a picture of the set, and stays. Choose another folder")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole(target) as partial:
                Image.fromarray(crop).save(partial, format="PNG")
        except OSError as error:
            raise SinkError(f"{target}: cannot be written ({error.strerror})") from error
    return len(taken), len(rows)


def _target(out: Path, row: Row, taken: set[Path]) -> Path:
    """Where a row's crop goes. A second picture of one name in one class gets another folder: in
    its name, which may say whom it shows, nothing changes.
    """
    assert isinstance(row.picture, Path)
    folder = out / _FOLDERS.get(row.split, row.split)
    within = Path(row.expression, f"{row.picture.stem}.png")
    target, copies = folder / within, 1
    while target in taken:
        copies += 1
        target = folder / str(copies) / within
    taken.add(target)
    return target
