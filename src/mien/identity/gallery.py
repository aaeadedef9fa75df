"""Named people: a folder with a picture or more of each. May import numpy, errors, types."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.errors import ConfigError, SourceError
from mien.types import PICTURE_SUFFIXES, Float32Array

#: From a picture's path to the descriptors of the faces in it, `(N, 128)`. May raise `SourceError`.
Describe = Callable[[Path], Float32Array]


@dataclass(frozen=True)
class Gallery:
    """The people that a user knows by name.

    Attributes:
        people: for each name the descriptors of its pictures, `float32 (n, 128)`, n at least 1.
        problems: what was wrong with pictures that were left out, one line each.
    """

    people: Mapping[str, Float32Array]
    problems: tuple[str, ...] = ()

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str], describe: Describe) -> Gallery:
        """Read `folder/NAME/` with pictures of one person, and `folder/NAME.jpg`.

        A picture that cannot be read, or shows no face or several, is left out and noted; the
        others are taken all the same.

        Args:
            folder: the gallery.
            describe: finds and describes the faces in one picture.

        Raises:
            ConfigError: no such folder, or not a single usable picture in it.
        """
        root = Path(folder)
        if not root.is_dir():
            raise ConfigError(
                f"{root}: is no folder. A gallery holds a folder of pictures for every person, "
                "or a picture named after each"
            )
        found: dict[str, list[Float32Array]] = {}
        problems: list[str] = []
        for name, picture in _pictures(root, problems):
            rows = found.setdefault(name, [])
            try:
                rows.append(_only_face(picture, describe(picture)))
            except SourceError as error:
                problems.append(str(error))
        problems += [
            f"{root}: no usable picture of {name}, who will not be recognized"
            for name, rows in found.items()
            if not rows
        ]
        people = {name: np.stack(rows) for name, rows in found.items() if rows}
        if not people:
            reason = f" (the first problem: {problems[0]})" if problems else ""
            raise ConfigError(
                f"{root}: holds no usable picture{reason}. Expected a folder of pictures for "
                "every person, or a picture named after each, with one face in every picture"
            )
        return cls(people, tuple(problems))


def _pictures(root: Path, problems: list[str]) -> Iterator[tuple[str, Path]]:
    """Whose it is, and the file, of every picture. What cannot be listed is noted."""
    for entry in _listed(root, problems):
        name = _shown(entry.name if entry.is_dir() else entry.stem)
        inside = [entry]
        if entry.is_dir():
            inside = [file for file in _listed(entry, problems) if _is_picture(file)]
            if not inside:
                problems.append(f"{entry}: holds no picture of {name}")
        elif not _is_picture(entry):
            continue
        for file in inside:
            yield name, file


def _listed(folder: Path, problems: list[str]) -> list[Path]:
    """What lies in a folder, by name; hidden files do not count."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        problems.append(f"{folder}: folder cannot be listed ({error.strerror})")
        return []


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURE_SUFFIXES


def _shown(name: str) -> str:
    """A file's name as a person's: on one line, and written the same on every system."""
    visible = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFC", name))
    return " ".join(visible.split()) or "unnamed"


def _only_face(picture: Path, descriptors: Float32Array) -> Float32Array:
    if len(descriptors) == 1:
        return np.asarray(descriptors[0], np.float32)
    if len(descriptors):
        raise SourceError(
            f"{picture}: shows {len(descriptors)} faces. Cut it so that it shows one person alone"
        )
    raise SourceError(f"{picture}: no face found. Take a picture in which it is larger or clearer")
