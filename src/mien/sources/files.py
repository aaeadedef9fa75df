"""Which files an argument names. Imports the standard library, errors, folders, types and its
siblings.
"""

from __future__ import annotations

import glob
import os

from mien.errors import SourceError
from mien.folders import files_below
from mien.sources.live import is_live
from mien.types import PICTURE_SUFFIXES, VIDEO_SUFFIXES


def expand_source(argument: str) -> tuple[list[str], list[SourceError]]:
    """Every source that an argument names: itself, a folder's content (recursively), or a glob's.

    In folders and globs only files with a known suffix count, and hidden ones do not. Linked
    folders are followed. The order is that of the names. What cannot be listed is returned as
    errors beside the rest.
    """
    if is_live(argument):
        return [argument], []
    if os.path.isdir(argument):
        errors: list[SourceError] = []

        def note(error: OSError) -> None:
            errors.append(
                SourceError(
                    f"{error.filename}: folder cannot be listed ({error.strerror}). Ask for access "
                    "to it, or leave it out"
                )
            )

        found = _known(list(files_below(argument, note)))
        if not found and not errors:
            errors.append(
                SourceError(
                    f"{argument}: holds no picture or video. Known suffixes: "
                    f"{' '.join(PICTURE_SUFFIXES + VIDEO_SUFFIXES)}"
                )
            )
        return found, errors
    if not os.path.exists(argument) and glob.has_magic(argument):
        found = _known(glob.glob(argument, recursive=True))
        if not found:
            return [], [
                SourceError(
                    f"{argument}: matches no picture or video. Check the pattern; ** stands for "
                    "any folders between"
                )
            ]
        return found, []
    return [argument], []


def _known(files: list[str]) -> list[str]:
    return sorted(file for file in files if counts_in_folders(file) and os.path.isfile(file))


def counts_in_folders(file: str) -> bool:
    """Whether a file is analysed with the folder that it lies in: by its suffix, unless hidden."""
    known = file.lower().endswith(PICTURE_SUFFIXES + VIDEO_SUFFIXES)
    return known and not os.path.basename(file).startswith(".")
