"""Still faces under a light that moves, in the layout of Extended Yale B's cropped pictures.

Lee, Ho & Kriegman, "Acquiring Linear Subspaces for Face Recognition under Variable Lighting", IEEE
PAMI 27(5), 2005. A file's name says whom it shows, and whence the light comes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.datasets.crops import SMALLEST_PX, stack
from mien.datasets.rows import Row
from mien.folders import files_below
from mien.preprocess import resize_crop
from mien.types import PICTURE_SUFFIXES, UInt8Array

#: Person, frontal pose, azimuth and elevation of the light in degrees: yaleB11_P00A+035E-20.
_NAME: Final = re.compile(r"(yaleB\d\d)_P00A([+-]\d{3})E([+-]\d\d)")


@dataclass(frozen=True)
class LitFaces:
    """N pictures of people who hold still.

    Attributes:
        images: grey, `uint8 (N, S, S)`.
        people: whom each shows.
        angles: `float64 (N,)`, degrees between the light and the axis of the camera.
    """

    images: UInt8Array
    people: tuple[str, ...]
    angles: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.images)


def shows_lights(path: str | Path) -> bool:
    """Whether a folder holds pictures named in this way."""
    return Path(path).is_dir() and any(True for _ in _files(Path(path)))


def load_lights(path: str | Path, *, size_px: int = SMALLEST_PX) -> LitFaces:
    """Read such a folder. The crops are tight and not square; they are brought to a square.

    Its side is the one that is asked for, at least `SMALLEST_PX`.

    Raises:
        DatasetError: a picture cannot be read.
    """
    size_px = max(size_px, SMALLEST_PX)
    images, people, angles = [], [], []
    for file, name in _files(Path(path)):
        across, up = np.deg2rad([float(name[2]), float(name[3])])
        images.append(resize_crop(Row(str(file), "neutral", file).gray(), size_px))
        people.append(name[1])
        angles.append(round(float(np.rad2deg(np.arccos(np.cos(across) * np.cos(up)))), 6))
    return LitFaces(stack(images), tuple(people), np.array(angles, np.float64))


def _files(path: Path) -> list[tuple[Path, re.Match[str]]]:
    named = (
        (file, _NAME.fullmatch(file.stem))
        for file in map(Path, files_below(path))
        if file.suffix.lower() in PICTURE_SUFFIXES
    )
    return [(file, name) for file, name in named if name]
