"""From a face's probabilities over time to what happened when. May import from mien: types.

A `Segment` is a stretch of time in which one face shows one expression. Two thresholds (hysteresis)
keep it from breaking up where the probability trembles around one of them, and stretches too short
to be an expression are passed over: they are blinks, syllables and mistakes. Micro-expressions,
which are as short as those, cannot be found this way. A face that cannot be read
(`FaceQuality.doubtful`) counts as out of sight.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from mien.types import FaceResult, FrameResult

_PATIENCE_STEPS: Final = 2.5  # one look that is missed is bridged, however rare looks are
_STEPS: Final = 99  # between frames, by which the usual one is known
_ROUNDING_S: Final = 0.0015  # clocks are rounded to milliseconds in many files


@dataclass(frozen=True)
class Segment:
    """One expression of one face, from its onset to its offset.

    Attributes:
        source: the video.
        track_id: whose it is.
        expression: the class.
        start_s, end_s: first time it was shown, and the last.
        peak_s, peak: when its probability was highest, and how high, 0..1.
        mean: its mean probability over time, 0..1.
        person: whose it is by name, where that was asked for and is known at its end.
    """

    source: str
    track_id: int
    expression: str
    start_s: float
    peak_s: float
    end_s: float
    mean: float
    peak: float
    person: str | None = None

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return self.end_s - self.start_s


@dataclass
class _Open:
    """A segment under way."""

    expression: str
    start_s: float
    last_s: float
    last_p: float
    peak_s: float
    peak: float
    area: float = 0.0  # integral of the probability
    person: str | None = None
    denied: list[tuple[float, float]] = field(default_factory=list)  # times, and p, since it held

    def holds(self, face: FaceResult, enter: float, leave: float) -> bool:
        """Whether a face still shows it."""
        overtaken = face.expression != self.expression and face.probs[face.expression] >= enter
        return face.probs[self.expression] >= leave and not overtaken

    def outlives(self, now_s: float, shortest_s: float) -> bool:
        """Whether what denied it until now was too short to count, and shorter than itself."""
        if not self.denied:
            return True
        since_s = self.denied[0][0]
        return now_s - since_s + _ROUNDING_S < min(shortest_s, since_s - self.start_s)

    def extend(self, time_s: float, p: float) -> None:
        """It holds; so it did while it was denied."""
        for denied_s, denied_p in self.denied:
            self._integrate(denied_s, denied_p)
        self.denied.clear()
        self._integrate(time_s, p)

    def _integrate(self, time_s: float, p: float) -> None:
        self.area += (time_s - self.last_s) * (p + self.last_p) / 2
        self.last_s, self.last_p = time_s, p
        if p > self.peak:
            self.peak_s, self.peak = time_s, p

    def closed(self, source: str, track_id: int) -> Segment:
        length_s = self.last_s - self.start_s
        mean = self.area / length_s if length_s > 0 else self.peak
        return Segment(
            source, track_id, self.expression,
            self.start_s, self.peak_s, self.last_s, mean, self.peak, self.person,
        )  # fmt: skip


@dataclass
class SegmentFinder:
    """Finds segments as results come in; keeps nothing but what is under way.

    Attributes:
        enter: probability from which an expression that leads begins a segment.
        leave: probability below which it ends it. Another that leads and enters ends it too.
        shortest_s: shorter stretches are dropped, and what is interrupted by them goes on, if it
            has lasted longer than the interruption.
        patience_s: a face may be out of sight for so long within a segment; where frames are rare,
            for two and a half of the usual steps between them.
    """

    enter: float = 0.5
    leave: float = 0.35
    shortest_s: float = 0.25
    patience_s: float = 0.5
    #: Of each track what is under way: the oldest, and what began while it was denied.
    _open: dict[int, list[_Open]] = field(default_factory=dict)
    _source: str = ""
    _before: FrameResult | None = None
    _steps: list[float] = field(default_factory=list)  # the first of this recording, sorted

    def __post_init__(self) -> None:
        if not 0 < self.leave <= self.enter < 1:
            raise ValueError(f"expected 0 < leave <= enter < 1, got {self.leave}, {self.enter}")

    def update(self, result: FrameResult) -> list[Segment]:
        """The segments that this frame ends. A new recording ends all of the one before."""
        ended: list[Segment] = []
        now_s, before, self._before = result.time_s, self._before, result
        if before is None or not result.follows(before):
            ended = self.finish()
            self._source, self._steps = result.source, []
        elif now_s > before.time_s and len(self._steps) < _STEPS:
            insort(self._steps, now_s - before.time_s)
        reach_s = self.reach_s
        for track_id, under_way in list(self._open.items()):
            if now_s - under_way[-1].last_s > reach_s:
                ended += self._segments(track_id, self._open.pop(track_id))
        for face in result.faces:
            if face.track_id is not None and _can_be_read(face):
                ended += self._take_in(face, face.track_id, now_s)
        return ended

    @property
    def reach_s(self) -> float:
        """How long a face may be out of sight in this recording, by the steps seen so far."""
        return max(self.patience_s, _PATIENCE_STEPS * self.usual_s)

    @property
    def usual_s(self) -> float:
        """The usual step between frames of this recording, as far as it was seen; else 0."""
        return self._steps[(len(self._steps) - 1) // 2] if self._steps else 0.0

    def finish(self) -> list[Segment]:
        """The segments still under way when the recording ends."""
        left, self._open = self._open, {}
        return [each for number, open_ in left.items() for each in self._segments(number, open_)]

    def earliest_s(self) -> float | None:
        """When the oldest segment under way began: later ones may still be reported before it."""
        return min((under_way[0].start_s for under_way in self._open.values()), default=None)

    def _take_in(self, face: FaceResult, track_id: int, now_s: float) -> list[Segment]:
        under_way = self._open.pop(track_id, [])
        ended = [each for each in under_way if not each.outlives(now_s, self.shortest_s)]
        going_on = [each for each in under_way if each not in ended]
        for i, each in enumerate(going_on):
            p = face.probs[each.expression]
            if each.holds(face, self.enter, self.leave):
                each.extend(now_s, p)
                each.person = face.person or each.person
                del going_on[i + 1 :]  # they were too short
                break
            each.denied.append((now_s, p))
        else:
            leading, p = face.expression, face.probs[face.expression]
            if p >= self.enter:
                going_on.append(_Open(leading, now_s, now_s, p, now_s, p, person=face.person))
        if going_on:
            self._open[track_id] = going_on
        return self._segments(track_id, ended)

    def _segments(self, track_id: int, ended: Iterable[_Open]) -> list[Segment]:
        segments = [each.closed(self._source, track_id) for each in ended]
        return [segment for segment in segments if segment.duration_s >= self.shortest_s]


def _can_be_read(face: FaceResult) -> bool:
    return face.quality is None or not face.quality.doubtful


def find_segments(results: Iterable[FrameResult]) -> list[Segment]:
    """All segments of a finished analysis, in order of their beginning."""
    finder = SegmentFinder()
    found = [segment for result in results for segment in finder.update(result)]
    return sorted([*found, *finder.finish()], key=lambda segment: (segment.source, segment.start_s))


def dominant_expression(results: Iterable[FrameResult]) -> str | None:
    """What a video shows on the whole: the expression of most probability times duration.

    All segments of an expression count together, those of `neutral` not at all: it is the answer
    where there are no others. None where no frame has a face that can be read.
    """
    finder, seen = SegmentFinder(), False
    segments: list[Segment] = []
    for result in results:
        seen = seen or any(map(_can_be_read, result.faces))
        segments += finder.update(result)
    weights: dict[str, float] = {}
    for segment in [*segments, *finder.finish()]:
        if segment.expression != "neutral":
            area = segment.mean * segment.duration_s
            weights[segment.expression] = weights.get(segment.expression, 0.0) + area
    return max(weights, key=lambda name: weights[name], default="neutral") if seen else None
