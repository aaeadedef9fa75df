"""What happened when: tables of segments, and subtitles. Imports errors, types, events, sink."""

from __future__ import annotations

import csv
import html
import io
import re
from abc import abstractmethod
from bisect import insort
from collections.abc import Sequence
from dataclasses import asdict, fields
from operator import attrgetter

from mien.errors import SinkError
from mien.events import Segment, SegmentFinder
from mien.sinks.sink import FileSink
from mien.types import FrameResult, UInt8Array


class SegmentSink(FileSink):
    """What happened when, recording by recording, in order of the beginning: see `mien.events`."""

    def _open(self) -> None:
        self._file = self._partial.open("w", encoding="utf-8", newline="")
        self._before: FrameResult | None = None
        self._finder = SegmentFinder()
        # In order: where one face shows the same for hours, what others show waits for its end.
        self._waiting: list[Segment] = []
        self._file.write(self._head())

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        if not result.follows(self._before):  # the clock of the one before ends with it
            self._wait(self._finder.finish())
            self._release(None)
        self._before = result
        self._wait(self._finder.update(result))
        self._release(self._finder.earliest_s())

    def _close(self) -> None:
        self._wait(self._finder.finish())
        self._release(None)
        self._file.close()

    def _wait(self, ended: Sequence[Segment]) -> None:
        for segment in ended:
            insort(self._waiting, segment, key=attrgetter("start_s", "track_id"))

    def _release(self, earliest_s: float | None) -> None:
        """Write the segments before which no other can come any more."""
        while self._waiting and (earliest_s is None or self._waiting[0].start_s <= earliest_s):
            self._file.write(self._line(self._waiting.pop(0)))

    @abstractmethod
    def _head(self) -> str:
        """What the file begins with."""

    @abstractmethod
    def _line(self, segment: Segment) -> str:
        """One segment as text."""


class SegmentCsvSink(SegmentSink):
    """One row per segment; whose it is only where that was asked for."""

    def _head(self) -> str:
        return ",".join(self._columns()) + "\n"

    def _line(self, segment: Segment) -> str:
        values, row = asdict(segment), io.StringIO()
        writer = csv.writer(row, lineterminator="\n")
        writer.writerow([values[name] for name in self._columns()])
        return row.getvalue()

    def _columns(self) -> list[str]:
        names = [field.name for field in fields(Segment)]
        return names if self.identity else [name for name in names if name != "person"]


class WebVttSink(SegmentSink):
    """Subtitles for players and web pages; neutral faces are left out."""

    _mark = "."

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        before = self._before
        if before is not None and not result.follows(before):
            raise SinkError(
                f"{self.target}: subtitles belong to one video, but {result.source} follows "
                f"{before.source}. Give one video, or take .segments.csv"
            )
        super()._write(result, image)

    def _head(self) -> str:
        return "WEBVTT\n\n"

    def _line(self, segment: Segment) -> str:
        if segment.expression == "neutral":
            return ""
        begin, end = (
            _subtitle_time(time_s, self._mark) for time_s in (segment.start_s, segment.end_s)
        )
        whose = segment.person or segment.track_id
        # On one line, whatever people are called: an empty line would end the cue.
        text = self._shown(" ".join(f"{whose}: {segment.expression} {segment.mean:.0%}".split()))
        return f"{self._number()}{begin} --> {end}\n{text}\n\n"

    def _shown(self, text: str) -> str:
        # Cues may hold neither arrows nor tags (W3C, WebVTT 4.2.2); people, and classes of one's
        # own, may be called anything.
        return html.escape(text, quote=False)

    def _number(self) -> str:
        return ""


class SubRipSink(WebVttSink):
    """The same in the older format, which numbers its lines."""

    _mark = ","

    def _head(self) -> str:
        self._count = 0
        return ""

    def _number(self) -> str:
        self._count += 1
        return f"{self._count}\n"

    def _shown(self, text: str) -> str:
        return re.sub("-{2,}>", "->", text)  # the older format knows no escapes


def _subtitle_time(time_s: float, mark: str) -> str:
    seconds, ms = divmod(round(time_s * 1000), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{ms:03}"
