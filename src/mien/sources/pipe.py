"""Pictures and videos that come piece by piece, and can be read once: standard input, named pipes.

Imports errors, types, picture and its siblings.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from contextlib import ExitStack
from typing import BinaryIO, Final

from mien.errors import SourceError
from mien.picture import looks_like_picture, read_picture
from mien.sources.source import Source, Span
from mien.sources.video import open_video
from mien.types import Frame

#: How MP4 and its kin begin, QuickTime's older files too.
_MP4: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_JPEG: Final = b"\xff\xd8\xff"
_JPEG_AND_NEXT: Final = b"\xff\xd9" + _JPEG
_SCAN: Final = 0xDA
#: Said before a JPEG's pixels where further views of the same follow it, as of phones.
_VIEWS: Final = b"MPF\0"


def open_pipe(name: str, stream: io.BufferedReader, max_pixels: int, span: Span) -> Source:
    """Open a picture or a video that comes piece by piece.

    Args:
        name: what messages call it.
        stream: from its beginning. It is left open.
        max_pixels, span: as of `open_source`.

    Raises:
        SourceError: empty, not a picture or video, damaged, or too large.
    """
    begin = stream.read(16)  # waits for as many; a writer may pause after the first
    if not begin:
        called = "standard input" if name == "-" else "the pipe"
        raise SourceError(f"{name}: {called} is empty. Pipe a picture or a video into it")
    if begin.startswith(_JPEG):
        begin, is_video = _read_jpeg(stream, begin)
        if not is_video:
            return one_picture(io.BytesIO(begin), name, max_pixels)
    elif looks_like_picture(begin):
        return one_picture(io.BytesIO(begin + stream.read()), name, max_pixels)
    if begin[4:8] in _MP4:  # their index may lie at the end: all of it is needed
        with ExitStack() as stack:
            kept = stack.enter_context(tempfile.TemporaryFile())
            try:
                kept.write(begin)
                shutil.copyfileobj(stream, kept)
            except OSError as error:
                raise SourceError(
                    f"{name}: cannot be kept in {tempfile.gettempdir()} ({error.strerror}). Give "
                    "the file by its name, or room by TMPDIR"
                ) from error
            kept.seek(0)
            source = open_video(name, kept, max_pixels, span)
            source.when_closed(stack.pop_all().close)
            return source
    source = open_video(name, _Pipe(stream, begin), max_pixels, span)
    source.is_live = True  # nobody can wake a thread that waits for a pipe
    return source


def open_named_pipe(name: str, file: str, max_pixels: int, span: Span) -> Source:
    """The same of one that has a name. It is opened once: what is read of it is gone."""
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(open(file, "rb"))
        except OSError as error:
            raise SourceError(
                f"{name}: cannot be read ({error.strerror}). Check the path"
            ) from error
        source = open_pipe(name, stream, max_pixels, span)
        source.when_closed(stack.pop_all().close)
    return source


def _read_jpeg(stream: io.BufferedReader, begin: bytes) -> tuple[bytes, bool]:
    """All of a JPEG, or as much of a video of JPEGs (MJPEG) as it takes to see that it is one.

    In that, a picture follows the end of another. So it does in pictures of several views (MPF),
    and in previews, which lie in the segments before the pixels.

    Returns:
        What was read, and whether it is a video.
    """
    data, pixels, searched = bytearray(begin), 0, 0
    while piece := stream.read1(1 << 16):
        data += piece
        if not pixels:
            pixels = searched = _where_pixels_begin(data)
        if pixels and _VIEWS not in data[:pixels]:
            if data.find(_JPEG_AND_NEXT, searched) >= 0:
                return bytes(data), True
            searched = max(pixels, len(data) - len(_JPEG_AND_NEXT))
    return bytes(data), False


def _where_pixels_begin(data: bytearray) -> int:
    """Where a JPEG's first scan does, behind its segments; 0 where they have not all come."""
    at = 2
    while len(data) >= at + 4:
        if data[at + 1] == _SCAN:
            return at
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0


def one_picture(file: BinaryIO, name: str, max_pixels: int) -> Source:
    """A picture that came from elsewhere: read as one on this machine's disk would be."""
    image = read_picture(file, name, max_pixels=max_pixels)
    return Source(name, iter([Frame(image, name)]), is_video=False, frame_count=1)


class _Pipe:
    """What can only be read onwards. FFmpeg would try to seek in a file that claims it can."""

    def __init__(self, stream: io.BufferedIOBase, begin: bytes) -> None:
        self._stream, self._begin = stream, begin

    def read(self, size: int) -> bytes:
        if self._begin:
            begun, self._begin = self._begin[:size], self._begin[size:]
            return begun
        return self._stream.read1(size)
