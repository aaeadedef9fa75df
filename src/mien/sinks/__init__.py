"""Where results go: JSON Lines, JSON, CSV, Parquet, segments, annotated pictures and videos.

May import numpy, arro3, Pillow, av, and from mien: errors, whole, types, events. `sink.py` says
what a sink is, `tables.py` and `parquet.py` hold results in full, `segments.py` what happened when,
and `copies.py` draws.

Every sink writes to a temporary name beside its target and renames it at the end, so a file that
is there is complete. An interrupted run ends its files properly: what was written stays readable.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mien.errors import SinkError
from mien.sinks.copies import PictureSink, VideoSink
from mien.sinks.parquet import ParquetSink
from mien.sinks.segments import SegmentCsvSink, SubRipSink, WebVttSink
from mien.sinks.sink import FileSink, Sink
from mien.sinks.tables import CsvSink, JsonLinesSink, JsonSink, to_json
from mien.types import EXPRESSIONS, VIDEO_SUFFIXES, WRITTEN_PICTURES, FrameResult, UInt8Array

__all__ = [
    "FolderSink",
    "Sink",
    "holds_one_source",
    "holds_pictures",
    "make_folder",
    "open_sink",
    "save_picture",
    "to_json",
]

_WRITTEN_VIDEOS: Final = (".mp4", ".mkv", ".mov", ".webm")  # of all that can be read
_COPY_SUFFIXES: Final = (*WRITTEN_PICTURES, *_WRITTEN_VIDEOS)

_KINDS: Final[dict[str, type[FileSink]]] = {
    ".jsonl": JsonLinesSink,
    ".json": JsonSink,
    ".csv": CsvSink,
    ".parquet": ParquetSink,
    ".segments.csv": SegmentCsvSink,
    ".vtt": WebVttSink,
    ".srt": SubRipSink,
    **dict.fromkeys(WRITTEN_PICTURES, PictureSink),
    **dict.fromkeys(_WRITTEN_VIDEOS, VideoSink),
}


class FolderSink(Sink):
    """An annotated copy of every source in one folder, under the source's own name."""

    needs_image = True

    def __init__(self, target: Path, *, overwrite: bool) -> None:
        self.target = target
        self._overwrite = overwrite
        self._source, self._frame = "", -1
        self._copy: Sink | None = None
        #: The only frame so far of a source whose name does not say whether it is a picture.
        self._first: tuple[FrameResult, UInt8Array | None] | None = None
        self._taken: set[str] = set()
        self.remarks: list[str] = []

    def write(self, result: FrameResult, image: UInt8Array | None = None) -> None:
        """Add one frame; another source, or the same one from its beginning, has its own copy."""
        under_way = self._copy is not None or self._first is not None
        goes_on = result.source == self._source and result.frame > self._frame
        self._frame = result.frame
        if not (under_way and goes_on):
            self.close()
            self._source, suffix = result.source, _copy_suffix(result.source)
            if not suffix:
                self._first = result, image
                return
            self._copy = self._copy_for(result.source, suffix)
        self._write_first(".mp4")
        assert self._copy is not None
        self._copy.write(result, image)

    def close(self) -> None:
        """Complete the copy that is under way."""
        suffix = _named(self._source).suffix.lower()
        self._write_first(suffix if suffix in WRITTEN_PICTURES else ".png")
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.close()
            self.remarks += copy.remarks

    def _write_first(self, suffix: str) -> None:
        """Now it is known: a second frame makes a video, the end a picture."""
        first, self._first = self._first, None
        if first is not None:
            self._copy = self._copy_for(first[0].source, suffix)
            self._copy.write(*first)

    def _copy_for(self, source: str, suffix: str) -> Sink:
        stem = _named(source).stem or "array"
        # Pictures of one name from several folders all keep their copy, also where a system takes
        # large and small letters for the same.
        file, number = f"{stem}{suffix}", 2
        while file.casefold() in self._taken:
            file, number = f"{stem}-{number}{suffix}", number + 1
        self._taken.add(file.casefold())
        return open_sink(self.target / file, overwrite=self._overwrite)


def _named(source: str) -> Path:
    """What a source is called as a file; of an address, without what gives access to it."""
    if "://" not in source:
        return Path(source)
    parts = urlsplit(source)
    return Path(parts.path.strip("/") or (parts.hostname or "stream").replace(".", "-"))


def _copy_suffix(source: str) -> str:
    """The suffix of a source's copy; empty where its name does not say what it is."""
    suffix = _named(source).suffix.lower()
    if not source:  # an array
        return ".png"
    if suffix in WRITTEN_PICTURES and "://" in source:
        return ""  # cameras send videos under such names
    if suffix in _COPY_SUFFIXES:
        return suffix
    return ".mp4" if suffix in VIDEO_SUFFIXES else ""


def make_folder(name: str | os.PathLike[str]) -> Path:
    """The folder of that name for outputs, made where there is none.

    Raises:
        SinkError: it cannot be made.
    """
    try:
        folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(
            f"{os.fspath(name)}: cannot be made ({error.strerror}). Choose another folder"
        ) from error
    return folder


def open_sink(
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    labels: Sequence[str] = EXPRESSIONS,
    shape: bool = False,
    identity: bool = False,
) -> Sink:
    """A sink for a file (chosen by its suffix), or for a folder where the path ends in a slash.

    Tables have the columns that are asked for here; `Analyzer.open_sink` asks for all it answers.

    Args:
        path: `.jsonl .json .csv .parquet` for results; `.segments.csv .vtt .srt` for what happened
            when in a video; a picture or video suffix for one annotated copy; `folder/` for an
            annotated copy of every source.
        overwrite: replace what is there.
        labels: the classes of the model whose results are to be written; each has a column.
        shape: whether tables get columns for the faces' shape.
        identity: whether tables get columns for whose faces they are.

    Raises:
        SinkError: unknown suffix, no such folder to write into, the file is already there, or
            another sink is writing it now.
    """
    name = os.fspath(path)
    target = Path(name)
    if _is_folder(name):
        return FolderSink(make_folder(name), overwrite=overwrite)
    of_segments = name.lower().endswith(".segments.csv")
    suffix = ".segments.csv" if of_segments else target.suffix.lower()
    if suffix not in _KINDS:
        raise SinkError(
            f"{name}: the suffix {suffix or '(none)'!r} is not known. Known: {' '.join(_KINDS)}, "
            "or a name that ends in / for a folder of annotated copies"
        )
    _require_new(target, overwrite=overwrite)
    require_folder(target)
    sink = _KINDS[suffix](target, labels, shape=shape, identity=identity)
    try:
        _require_new(target, overwrite=overwrite)  # by whoever was writing it until now
    except SinkError:
        sink.close()
        raise
    return sink


def require_folder(target: Path) -> None:
    """Raise `SinkError` where the folder of an output is not there."""
    if not os.path.isdir(target.parent):
        raise SinkError(f"{target}: there is no folder {target.parent}. Create it first")


def _require_new(target: Path, *, overwrite: bool) -> None:
    if os.path.exists(target) and not overwrite:
        raise SinkError(f"{target}: is already there. Choose another name, or use --overwrite")


def holds_one_source(path: str | os.PathLike[str]) -> bool:
    """Whether what `open_sink` makes of this name is a picture's or a video's alone."""
    suffix = Path(path).suffix.lower()
    return not _is_folder(path) and suffix in (*_COPY_SUFFIXES, ".vtt", ".srt")


def holds_pictures(path: str | os.PathLike[str]) -> bool:
    """Whether what `open_sink` makes of this name are annotated copies."""
    return _is_folder(path) or Path(path).suffix.lower() in _COPY_SUFFIXES


def _is_folder(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).endswith(("/", os.sep)) or os.path.isdir(path)


def save_picture(image: UInt8Array, path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Write one RGB picture under another name, and rename it when it is complete.

    Raises:
        SinkError: not a picture's suffix, already there, or not writable.
    """
    target = Path(path)
    if target.suffix.lower() not in WRITTEN_PICTURES:
        raise SinkError(f"{target}: expected a picture's suffix: {' '.join(WRITTEN_PICTURES)}")
    with open_sink(target, overwrite=overwrite) as sink:
        sink.write(FrameResult(str(target), 0, 0.0, image.shape[1], image.shape[0]), image)
