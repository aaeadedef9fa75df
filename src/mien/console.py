"""What a terminal shows: a table of results and a progress bar. Imports handover, types, wording.

Nothing here prints: the table is text, and the bar writes to the stream it is given.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from pathlib import PurePath
from typing import Self, TextIO, TypeVar

from mien.handover import Handovers
from mien.types import FrameResult
from mien.wording import counted, fitted, percent, printable

_SILENT_S = 2.0  # a bar for work that ends sooner would only flicker
_REFRESH_S = 0.1
_BAR_CHARS = 24
_MOST_FACES = 5  # of a video, those seen longest
_MOST_COUNTED = 2000  # tracks, and names, whose frames are counted; of a camera there is no end

_Key = TypeVar("_Key", int, str)

#: What the mark behind an expression means; to stand below a table that has one.
UNCERTAIN_NOTE = (
    "? uncertain: too often wrong at such confidence, or the face is covered or badly lit"
)


def table_head(*, identity: bool = False) -> str:
    """The line above `table_rows`."""
    return (
        f"{'source':28} {'time s':>8} {'face':>4}  {'expression':<10} {'sure':>5}  "
        f"{'box x, y, w, h':<22} detected{'  person' if identity else ''}"
    )


def table_rows(result: FrameResult, *, is_video: bool, identity: bool = False) -> Iterator[str]:
    """A line for each face of a frame, or one for a frame without; in videos with its track.

    With `identity`, whose face it is follows. What is wrong with a face stands last.
    """
    name = fitted(PurePath(result.source).name or "array", 28)
    when = f"{result.time_s:8.3f}" if is_video else f"{'':8}"
    if not result.faces:
        yield printable(f"{name:28} {when} {'-':>4}  no face found")
    for index, face in enumerate(result.faces):
        mark = "?" if face.uncertain else ""
        number = index if face.track_id is None else face.track_id
        box = ", ".join(f"{value:.0f}" for value in face.box)
        wrong = face.quality.reasons if face.quality is not None else ()
        yield printable(
            f"{name:28} {when} {number:>4}  {face.expression + mark:<10} "
            f"{face.confidence:>5.0%}  {box:<22} "
            + (f"{face.score:<8.0%}  {face.person or '-'}" if identity else f"{face.score:.0%}")
            + (f"  ({', '.join(wrong)})" if wrong else "")
        )


class FaceTally:
    """What the faces of one video showed, in how many of its frames. All faces of one name are one,
    as in reports.

    Where there are too many, the half with the fewest frames is only numbered.
    """

    def __init__(self) -> None:
        self._frames = 0
        self._handovers = Handovers()
        self._answers: dict[int, Counter[str]] = defaultdict(Counter)  # by track
        self._people: dict[int, str] = {}  # by track; see `mien.handover`
        self._earlier: dict[str, Counter[str]] = defaultdict(Counter)  # by name, of tracks let go
        self._let_go = 0  # faces without a name, and names

    def count(self, result: FrameResult) -> None:
        """Take the next frame."""
        self._frames += 1
        for known in self._handovers.add(result):
            self._count(known)

    def _count(self, result: FrameResult) -> None:
        for face in result.faces:
            if face.track_id is not None:
                answer = "uncertain" if face.uncertain else face.expression
                self._answers[face.track_id][answer] += 1
                if face.person:
                    self._people[face.track_id] = face.person
        if len(self._answers) > _MOST_COUNTED:
            self._let_some_go({face.track_id for face in result.faces})

    def _let_some_go(self, present: Set[int | None]) -> None:
        """Those in few frames, but for who is still there. What is known of a name is kept for when
        it comes back.
        """
        for track in _rarest({t: n for t, n in self._answers.items() if t not in present}):
            answers, name = self._answers.pop(track), self._people.pop(track, None)
            if name is None:
                self._let_go += 1
            else:
                self._earlier[name] += answers
        if len(self._earlier) > _MOST_COUNTED:
            for name in _rarest(self._earlier):
                del self._earlier[name]
                self._let_go += 1

    def lines(self) -> list[str]:
        """A line for each face, those in most frames first, and one for all that are left out."""
        for known in self._handovers.finish():
            self._count(known)
        if self._frames and not self._answers:
            return ["no face found"]
        named: dict[str, Counter[str]] = defaultdict(Counter)
        for name, answers in self._earlier.items():
            named[name] += answers
        for track, answers in self._answers.items():
            named[self._people.get(track, f"face {track}")] += answers
        faces = sorted(named.items(), key=lambda item: -item[1].total())
        lines = [self._line(name, answers) for name, answers in faces[:_MOST_FACES]]
        more = len(faces) - _MOST_FACES + self._let_go
        if more > 0:
            lines.append(f"{counted(more, 'more face')}, in no more frames than these")
        return lines

    def _line(self, face: str, answers: Counter[str]) -> str:
        seen = answers.total()
        shares = ", ".join(f"{name} {percent(n / seen)}" for name, n in answers.most_common())
        return f"{face}, in {seen:,} of {counted(self._frames, 'frame')}: {shares}"


def _rarest(counts: Mapping[_Key, Counter[str]]) -> list[_Key]:
    """The half that was counted least."""
    return sorted(counts, key=lambda key: counts[key].total())[: len(counts) // 2]


def stage_lines(stage_ms: Mapping[str, float]) -> list[str]:
    """What each stage takes, milliseconds a frame, and its share of all."""
    total = sum(stage_ms.values())
    lines = [
        f"  {stage:14} {ms:8.2f} ms/frame  {ms / total:6.1%}" for stage, ms in stage_ms.items()
    ]
    return ["by stage (a video's work side by side, and wait for each other):", *lines]


class Progress:
    """A bar with rate and remaining time; silent for short work and when not on a terminal.

    A context manager: the bar is wiped at the end, also where the work fails.

    Args:
        total: steps expected, or None when unknown.
        unit: what a step is called, in the plural.
        quiet: show nothing at all.
        stream: where to write; stderr by default.
    """

    def __init__(
        self,
        total: int | None,
        unit: str,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        self._stream = stream or sys.stderr
        self._shown = not quiet and self._stream.isatty()
        self._total, self._unit = total, unit
        self._began = self._last = time.monotonic()
        self._drawn = False
        self.done = 0.0

    def update(self, done: float, total: int | None = None) -> None:
        """Set the number of steps done (parts count), and the total where it has changed."""
        self.done, self._total = done, total or self._total
        now = time.monotonic()
        if self._shown and now - self._began > _SILENT_S and now - self._last > _REFRESH_S:
            self._last, self._drawn = now, True
            width = shutil.get_terminal_size().columns - 1
            self._put("\r" + self.line(now - self._began)[:width].ljust(width))

    def restart(self, total: int | None) -> None:
        """Begin again at zero, for the next round of the same work."""
        self.close()
        self._began = self._last = time.monotonic()
        self._total, self.done = total, 0.0

    def line(self, elapsed_s: float) -> str:
        """The bar as text, `elapsed_s` seconds after the start."""
        rate = self.done / elapsed_s if elapsed_s > 0 else 0.0
        text = f"{int(self.done):,} {self._unit}, {rate:.1f}/s"
        if not self._total:
            return text
        share = min(1.0, self.done / self._total)
        filled = round(share * _BAR_CHARS)
        bar = "█" * filled + "░" * (_BAR_CHARS - filled)
        left_s = (self._total - self.done) / rate if rate else 0.0
        minutes, seconds = divmod(max(0, round(left_s)), 60)
        return f"{bar} {share:4.0%}  {text}, {minutes}:{seconds:02d} left"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wipe the bar, so that what follows starts on a clean line."""
        if self._drawn:
            self._put("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            self._drawn = False

    def _put(self, text: str) -> None:
        with suppress(OSError):  # a terminal that was closed: the work goes on without it
            self._stream.write(text)
            self._stream.flush()
