"""Where frames come from. May import numpy, av, and from mien: errors, types, picture, heif,
wording.

`source.py` says what a source is, `video.py` reads files, `pipe.py` what comes through pipes,
`live.py` cameras and network streams, `shown.py` turns what is decoded into frames, and `files.py`
finds what a folder or a glob holds.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mien.errors import SourceError
from mien.picture import MAX_PIXELS, is_picture, read_picture, require_content
from mien.sources.files import counts_in_folders, expand_source
from mien.sources.live import is_live, open_live, shown_name
from mien.sources.pipe import open_named_pipe
from mien.sources.source import Source, Span
from mien.sources.video import open_video
from mien.types import PICTURE_SUFFIXES, VIDEO_SUFFIXES, Frame, UInt8Array
from mien.wording import path_text

__all__ = [
    "MAX_PIXELS",
    "Source",
    "Span",
    "counts_in_folders",
    "expand_source",
    "first_frame",
    "is_live",
    "is_video",
    "open_source",
    "shown_name",
]


def open_source(
    source: str | os.PathLike[str] | UInt8Array | Frame,
    *,
    max_pixels: int = MAX_PIXELS,
    span: Span | None = None,
    threads: int = 0,
) -> Source:
    """Open a picture, a video, a camera, a network stream, standard input, an array or a frame.

    Args:
        source: a path; the number of a camera; a URL; `-` for standard input; an RGB `uint8
            (H, W, 3)` or grey `uint8 (H, W)` array; or a `Frame`.
        max_pixels: refuse pictures and videos whose header announces more, before decoding.
        span: which frames of a video are wanted; None for all.
        threads: of a video's decoder; 0 for as many as there are cores.

    Raises:
        SourceError: no such source, empty, not a picture or video, damaged, or too large.
        ValueError: an array of another shape or type.
        TypeError: none of these.
    """
    span = span or Span()
    if isinstance(source, Frame):
        return Source(source.source, iter([source]), is_video=False, frame_count=1)
    if isinstance(source, np.ndarray):
        image = source if source.ndim != 2 else np.repeat(source[:, :, None], 3, axis=2)
        return Source("", iter([Frame(image)]), is_video=False, frame_count=1)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            "source: expected a path, a URL, an RGB uint8 array (H, W, 3) or a Frame, got "
            f"{type(source).__name__}. Give one source, a camera's number as text, and of a Pillow "
            "picture numpy.asarray(picture.convert('RGB'))"
        )
    file = os.fspath(source)
    name = path_text(file)  # what messages and results call it
    if is_live(file):
        return open_live(name, max_pixels, span)
    if os.path.isdir(file):
        raise SourceError(f"{name}: is a folder. `mien analyze` takes folders; here give one file")
    if _is_pipe(file):
        return open_named_pipe(name, file, max_pixels, span)
    require_content(file, name)
    if is_video(file):
        return open_video(name, file, max_pixels, span, threads=threads)
    return Source(name, _picture_frames(file, name, max_pixels), is_video=False, frame_count=1)


def first_frame(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Frame:
    """The frame of a picture; of a video, its first.

    Raises:
        SourceError: as of `open_source`.
    """
    with open_source(path, max_pixels=max_pixels) as source:
        return next(iter(source))


def is_video(name: str) -> bool:
    """Whether a file is opened as a video: by its suffix, and where that is not known, its content.

    What is no picture is tried as a video.
    """
    suffix = Path(name).suffix.lower()
    if suffix in PICTURE_SUFFIXES or suffix in VIDEO_SUFFIXES:
        return suffix in VIDEO_SUFFIXES
    return not is_picture(name)


def _is_pipe(file: str) -> bool:
    """Whether it is a named pipe, or one that a shell opened (`<(command)`)."""
    try:
        return stat.S_ISFIFO(os.stat(file).st_mode)
    except (OSError, ValueError):  # whoever opens it says so
        return False


def _picture_frames(file: str, name: str, max_pixels: int) -> Iterator[Frame]:
    """The one frame of a picture, decoded when it is asked for."""
    yield Frame(read_picture(file, name, max_pixels=max_pixels), name)
