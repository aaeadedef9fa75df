"""Where results go: JSON Lines, JSON, CSV, Parquet, segments, annotated pictures and videos.

May import numpy, arro3, Pillow, av, and from mien: errors, types, events.

Every sink writes to a temporary name beside its target and renames it at the end, so a file that
is there is complete. An interrupted run ends its files properly: what was written stays readable.
"""

from __future__ import annotations

import csv
import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from fractions import Fraction
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, Final

import av
import numpy as np
from PIL import Image

from mien.errors import SinkError
from mien.events import Segment, SegmentFinder
from mien.types import (
    EXPRESSIONS,
    PICTURE_SUFFIXES,
    FrameResult,
    UInt8Array,
    result_columns,
)

_VIDEO_SUFFIXES: Final = (".mp4", ".mkv", ".mov", ".webm")

_ROWS_PER_GROUP: Final = 8192  # of a Parquet file: bounds the memory of a long video
_CLOCK: Final = Fraction(1, 90_000)  # s; the time base in which video frames are stamped


def to_json(result: FrameResult) -> str:
    """One frame as one line of JSON, numbers in full precision."""
    return json.dumps(result.to_dict(), ensure_ascii=False)


class Sink(ABC):
    """Takes results one by one; a context manager.

    Attributes:
        needs_image: whether `write` wants the annotated picture too.
    """

    needs_image = False

    @abstractmethod
    def write(self, result: FrameResult, image: UInt8Array | None = None) -> None:
        """Add one frame's result.

        Args:
            result: the result.
            image: RGB `uint8 (H, W, 3)` with the annotations drawn, for sinks that want it.

        Raises:
            SinkError: the disk is full, the folder vanished, or the sink cannot take it.
        """

    @abstractmethod
    def close(self) -> None:
        """Complete what is under way. The target appears now, if anything was written."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FileSink(Sink):
    """A sink with one target file, written under another name until it is complete."""

    def __init__(
        self, target: Path, labels: Sequence[str] = EXPRESSIONS, *, shape: bool = False
    ) -> None:
        self.target = target
        self.labels, self.shape = labels, shape
        # The suffix stays last: writers of pictures and videos choose their format by it.
        self._partial = target.with_name(f".{target.stem}.part{target.suffix}")
        self._opened = False

    def write(self, result: FrameResult, image: UInt8Array | None = None) -> None:
        """See `Sink.write`."""
        try:
            if not self._opened:
                self._open()
                self._opened = True
            self._write(result, image)
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """See `Sink.close`."""
        if not self._opened:
            return
        self._opened = False
        try:
            self._close()
            self._partial.replace(self.target)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> SinkError:
        reason = getattr(error, "strerror", None) or error
        return SinkError(
            f"{self.target}: cannot be written ({reason}). Check the folder and the disk's space"
        )

    @abstractmethod
    def _open(self) -> None:
        """Create the partial file."""

    @abstractmethod
    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        """Append one result."""

    @abstractmethod
    def _close(self) -> None:
        """Complete the partial file."""


class JsonLinesSink(FileSink):
    """One JSON object a line, one line a frame."""

    def _open(self) -> None:
        self._file = self._partial.open("w", encoding="utf-8")

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        self._file.write(to_json(result) + "\n")

    def _close(self) -> None:
        self._file.close()


class JsonSink(FileSink):
    """One JSON array of the objects that JSON Lines has, one a line."""

    def _open(self) -> None:
        self._file = self._partial.open("w", encoding="utf-8")
        self._before = "[\n"

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        self._file.write(self._before + to_json(result))
        self._before = ",\n"

    def _close(self) -> None:
        self._file.write("\n]\n")
        self._file.close()


class CsvSink(FileSink):
    """One row per face with the columns of `RESULT_COLUMNS`; what is absent is empty."""

    def _open(self) -> None:
        self._file = self._partial.open("w", encoding="utf-8", newline="")
        self._rows = csv.DictWriter(
            self._file, result_columns(self.labels, shape=self.shape), lineterminator="\n"
        )
        self._rows.writeheader()

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        self._rows.writerows(result.to_rows(self.labels, shape=self.shape))

    def _close(self) -> None:
        self._file.close()


class ParquetSink(FileSink):
    """The rows of CSV, typed. Written in groups of rows, so memory stays constant.

    The library pulls its rows; results are pushed. A thread lets the two meet at a short queue.
    """

    def _open(self) -> None:
        from arro3.core import RecordBatchReader, Schema

        self._fields = [
            _arrow_field(name) for name in result_columns(self.labels, shape=self.shape)
        ]
        self._rows: list[dict[str, Any]] = []
        self._groups: Queue[list[dict[str, Any]] | None] = Queue(maxsize=2)
        self._failure: BaseException | None = None
        reader = RecordBatchReader.from_batches(Schema(self._fields), self._batches())
        self._writer = Thread(target=self._write_all, args=(reader,), daemon=True)
        self._writer.start()

    def _write_all(self, reader: Any) -> None:
        from arro3.io import write_parquet

        try:
            write_parquet(
                reader,
                str(self._partial),
                compression="zstd(3)",
                max_row_group_size=_ROWS_PER_GROUP,
            )
        except BaseException as error:  # some failures of the library are no Exception
            self._failure = error
            while self._groups.get() is not None:  # let the caller go on to its end
                pass

    def _batches(self) -> Iterator[Any]:
        from arro3.core import Array, RecordBatch

        while (rows := self._groups.get()) is not None:
            columns: dict[str, Any] = {
                field.name: Array([row[field.name] for row in rows], type=field.type)
                for field in self._fields
            }
            yield RecordBatch.from_pydict(columns)

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        self._rows += result.to_rows(self.labels, shape=self.shape)
        if len(self._rows) >= _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        self._groups.put(rows)

    def _close(self) -> None:
        if self._rows:
            self._flush()
        self._groups.put(None)
        self._writer.join()
        if self._failure is not None:
            raise self._failed(self._failure)


def _arrow_field(column: str) -> Any:
    from arro3.core import DataType, Field

    kind = DataType.float64()
    if column in ("schema", "source", "expression"):
        kind = DataType.string()
    elif column in ("frame", "width", "height", "face", "track_id"):
        kind = DataType.int64()
    elif column == "uncertain":
        kind = DataType.bool()
    return Field(column, kind)


class SegmentSink(FileSink):
    """What happened when, in order of the beginning: see `mien.events`."""

    def _open(self) -> None:
        self._file = self._partial.open("w", encoding="utf-8", newline="")
        self._finder, self._waiting = SegmentFinder(), list[Segment]()
        self._count = 0
        self._file.write(self._head())

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        self._waiting += self._finder.update(result)
        self._release(self._finder.earliest_s())

    def _close(self) -> None:
        self._waiting += self._finder.finish()
        self._release(None)
        self._file.close()

    def _release(self, earliest_s: float | None) -> None:
        """Write the segments before which no other can come any more."""
        self._waiting.sort(key=lambda segment: (segment.start_s, segment.track_id))
        while self._waiting and (earliest_s is None or self._waiting[0].start_s <= earliest_s):
            self._count += 1
            self._file.write(self._line(self._waiting.pop(0), self._count))

    @abstractmethod
    def _head(self) -> str:
        """What the file begins with."""

    @abstractmethod
    def _line(self, segment: Segment, number: int) -> str:
        """One segment as text."""


class SegmentCsvSink(SegmentSink):
    """One row per segment."""

    def _head(self) -> str:
        return ",".join(field.name for field in fields(Segment)) + "\n"

    def _line(self, segment: Segment, number: int) -> str:
        row = io.StringIO()
        csv.writer(row, lineterminator="\n").writerow(asdict(segment).values())
        return row.getvalue()


class WebVttSink(SegmentSink):
    """Subtitles for players and web pages; neutral faces are left out."""

    _mark = "."
    _source: str | None = None

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        if self._source not in (None, result.source):
            raise SinkError(
                f"{self.target}: subtitles belong to one video, but {result.source} follows "
                f"{self._source}. Give one video, or take .segments.csv"
            )
        self._source = result.source
        super()._write(result, image)

    def _head(self) -> str:
        return "WEBVTT\n\n"

    def _line(self, segment: Segment, number: int) -> str:
        if segment.expression == "neutral":
            return ""
        begin, end = (
            _subtitle_time(time_s, self._mark) for time_s in (segment.start_s, segment.end_s)
        )
        text = f"{segment.track_id}: {segment.expression} {segment.mean:.0%}"
        return f"{self._number(number)}{begin} --> {end}\n{text}\n\n"

    def _number(self, number: int) -> str:
        return ""


class SubRipSink(WebVttSink):
    """The same in the older format, which numbers its lines."""

    _mark = ","

    def _head(self) -> str:
        self._shown = 0
        return ""

    def _number(self, number: int) -> str:
        self._shown += 1
        return f"{self._shown}\n"


def _subtitle_time(time_s: float, mark: str) -> str:
    seconds, ms = divmod(round(time_s * 1000), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{ms:03}"


class PictureSink(FileSink):
    """The annotated copy of one picture."""

    needs_image = True

    def _open(self) -> None:
        self._written = False

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        if self._written:
            raise SinkError(
                f"{self.target}: one picture can hold one frame only. For many pictures give a "
                "folder (a name that ends in /), for a video a name that ends in .mp4"
            )
        _save_picture(_required(image), self._partial)
        self._written = True

    def _close(self) -> None:
        """Nothing to complete: a picture is written at once."""


class _Sound:
    """The sound of a video file, encoded anew for its annotated copy, as far as the film has come.

    Where the sound is damaged, the rest of the copy is silent.
    """

    def __init__(self, file: str, copy: av.container.OutputContainer, begin_s: float) -> None:
        self._source = av.open(file, metadata_errors="ignore")
        (heard, *_) = self._source.streams.audio
        codec = "libopus" if "webm" in copy.format.name else "aac"
        rate = 48_000 if codec == "libopus" else heard.codec_context.sample_rate
        layout = "mono" if heard.codec_context.channels == 1 else "stereo"
        stream = copy.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        self._copy, self._stream = copy, stream
        encoder = stream.codec_context
        encoder.open()
        self._resampler = av.AudioResampler(
            encoder.format, layout, rate, frame_size=encoder.frame_size or None
        )
        self._begin_s, self._now_s = begin_s, -1.0
        if begin_s and heard.time_base:
            self._source.seek(int(begin_s / heard.time_base), stream=heard)
        self._frames = self._source.decode(heard)

    @classmethod
    def of(cls, file: str, copy: av.container.OutputContainer, begin_s: float) -> _Sound | None:
        """The sound of a file; None where there is none, or no file to open again."""
        if not Path(file).is_file():
            return None
        try:
            return cls(file, copy, begin_s)
        except (av.error.FFmpegError, ValueError):
            return None

    def play_to(self, time_s: float) -> None:
        """Copy what is heard up to `time_s`."""
        while self._now_s < time_s:
            try:
                frame = next(self._frames, None)
            except av.error.FFmpegError:
                frame = None
            if frame is None or frame.time is None:
                self._now_s = np.inf
                return
            self._now_s = frame.time
            if self._now_s >= self._begin_s:
                self._encode(frame)

    def close(self) -> None:
        """Encode what is under way."""
        self._encode(None)
        self._copy.mux(self._stream.encode(None))
        self._source.close()

    def _encode(self, frame: av.AudioFrame | None) -> None:
        for part in self._resampler.resample(frame):
            self._copy.mux(self._stream.encode(part))


class VideoSink(FileSink):
    """The annotated copy of one video: H.264 and its sound, each frame at the time it had."""

    needs_image = True

    def _open(self) -> None:
        try:
            self._container = av.open(str(self._partial), "w")
        except (av.error.FFmpegError, ValueError) as error:
            raise self._failed(error) from error
        self._stream: av.VideoStream | None = None
        self._sound: _Sound | None = None
        self._last = -1

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        picture = _required(image)
        # Most codecs store colour for blocks of 2 x 2 pixels: an odd last line is left out.
        height, width = (side - side % 2 for side in picture.shape[:2])
        if self._stream is None:
            codec = "libvpx-vp9" if self.target.suffix.lower() == ".webm" else "libx264"
            stream = self._container.add_stream(codec, rate=30)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = _CLOCK
            stream.options = {"preset": "veryfast", "crf": "20"} if codec == "libx264" else {}
            self._stream = stream
            self._sound = _Sound.of(result.source, self._container, result.time_s)
        if (width, height) != (self._stream.width, self._stream.height):
            raise SinkError(
                f"{self.target}: frames of {width} x {height} do not fit into a video of "
                f"{self._stream.width} x {self._stream.height}. Give a folder (a name that ends in "
                "/) for sources of several sizes"
            )
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(picture[:height, :width]), format="rgb24"
        )
        # A second source starts at time zero again: its frames follow those of the first.
        self._last = max(self._last + 1, round(result.time_s / _CLOCK))
        frame.pts, frame.time_base = self._last, _CLOCK
        try:
            self._container.mux(self._stream.encode(frame))
            if self._sound is not None:
                self._sound.play_to(result.time_s)
        except av.error.FFmpegError as error:
            raise self._failed(error) from error

    def _close(self) -> None:
        if self._sound is not None:
            self._sound.close()
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


class FolderSink(Sink):
    """An annotated copy of every source in one folder, under the source's own name."""

    needs_image = True

    def __init__(self, target: Path, *, overwrite: bool) -> None:
        self.target = target
        self._overwrite = overwrite
        self._source: str | None = None
        self._copy: Sink | None = None
        self._taken: set[str] = set()

    def write(self, result: FrameResult, image: UInt8Array | None = None) -> None:
        """Add one frame; a new `result.source` ends the copy before it."""
        if self._copy is None or result.source != self._source:
            self.close()
            self._source, self._copy = result.source, self._copy_for(result.source)
        self._copy.write(result, image)

    def close(self) -> None:
        """Complete the copy that is under way."""
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.close()

    def _copy_for(self, source: str) -> Sink:
        name = Path(source or "array")
        suffix = name.suffix.lower()
        if suffix not in PICTURE_SUFFIXES:
            suffix = suffix if suffix in _VIDEO_SUFFIXES else ".mp4" if suffix else ".png"
        # Pictures of one name from several folders all keep their copy.
        file, number = f"{name.stem}{suffix}", 2
        while file in self._taken:
            file, number = f"{name.stem}-{number}{suffix}", number + 1
        self._taken.add(file)
        return open_sink(self.target / file, overwrite=self._overwrite)


def open_sink(
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    labels: Sequence[str] = EXPRESSIONS,
    shape: bool = False,
) -> Sink:
    """A sink for a file (chosen by its suffix), or for a folder where the path ends in a slash.

    Args:
        path: `.jsonl .json .csv .parquet` for results; `.segments.csv .vtt .srt` for what happened
            when in a video; a picture or video suffix for one
            annotated copy; `folder/` for an annotated copy of every source.
        overwrite: replace what is there.
        labels: the classes of the model whose results are to be written; each has a column.
        shape: whether tables get columns for the faces' shape.

    Raises:
        SinkError: unknown suffix, no such folder to write into, or the file is already there.
    """
    name = os.fspath(path)
    target = Path(name)
    if name.endswith(("/", os.sep)) or target.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return FolderSink(target, overwrite=overwrite)
    suffix = target.suffix.lower()
    kinds: dict[str, type[FileSink]] = {
        ".jsonl": JsonLinesSink,
        ".json": JsonSink,
        ".csv": CsvSink,
        ".parquet": ParquetSink,
        ".segments.csv": SegmentCsvSink,
        ".vtt": WebVttSink,
        ".srt": SubRipSink,
        **dict.fromkeys(PICTURE_SUFFIXES, PictureSink),
        **dict.fromkeys(_VIDEO_SUFFIXES, VideoSink),
    }
    if name.lower().endswith(".segments.csv"):
        suffix = ".segments.csv"
    if suffix not in kinds:
        raise SinkError(
            f"{name}: the suffix {suffix or '(none)'!r} is not known. Known: {' '.join(kinds)}, or "
            "a name that ends in / for a folder of annotated copies"
        )
    if target.exists() and not overwrite:
        raise SinkError(f"{name}: is already there. Choose another name, or use --overwrite")
    if not target.parent.is_dir():
        raise SinkError(f"{name}: there is no folder {target.parent}. Create it first")
    return kinds[suffix](target, labels, shape=shape)


def save_picture(image: UInt8Array, path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Write one RGB picture under another name, and rename it when it is complete.

    Raises:
        SinkError: not a picture's suffix, already there, or not writable.
    """
    target = Path(path)
    if target.suffix.lower() not in PICTURE_SUFFIXES:
        raise SinkError(f"{target}: expected a picture's suffix: {' '.join(PICTURE_SUFFIXES)}")
    with open_sink(target, overwrite=overwrite) as sink:
        sink.write(FrameResult(str(target), 0, 0.0, image.shape[1], image.shape[0]), image)


def _required(image: UInt8Array | None) -> UInt8Array:
    if image is None:
        raise ValueError("this sink draws: give `write` the annotated image")
    return image


def _save_picture(image: UInt8Array, file: Path) -> None:
    lossy = file.suffix.lower() in (".jpg", ".jpeg", ".webp")
    settings: dict[str, Any] = {"quality": 92} if lossy else {}
    Image.fromarray(image).save(file, **settings)
