"""Reads a table frame by frame and adds it up: `take_in`. Imports numpy and from mien: errors,
companions, events, handover, results, types, and the sibling `recording`.

Memory does not depend on the length of a table, only on how many faces it holds. A frame counts for
the time until the next one; after a break it counts for a usual step, and the break is noted.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, inf, log2
from pathlib import Path
from typing import Final

import numpy as np

from mien.companions import Marker, last_part
from mien.errors import SourceError
from mien.events import Segment, SegmentFinder
from mien.handover import Handovers
from mien.report.recording import (
    MOST_SPANS,
    OFFSETS_S,
    SHORTEST_S,
    STEP_S,
    FloatArray,
    Quality,
    Recording,
    Response,
    Spans,
    Track,
    Who,
    one_face,
    parts,
    span_at,
)
from mien.results import checked_results
from mien.types import QUALITY_REASONS, FaceResult, FrameResult

SMALL_PX: Final = 24.0  # the shorter side of a face's box below which it is read worse
TURNED_DEG: Final = 30.0  # yaw or pitch beyond which a face counts as turned away
GAP_STEPS: Final = 4.0  # a step so many times the usual one is a break
GAP_S: Final = 0.5  # and at least so long
_LOOK_AHEAD: Final = 100  # frames by which the usual step is known
_MODELS: Final = 8  # of one recording, at most so many are named
_MOST_CLASSES: Final = 256  # a table of what followed what has their square


def take_in(
    table: Path, markers: Sequence[Marker] = (), *, name: str = "", most: float = inf
) -> list[Recording]:
    """The recordings of one table, in the order in which they begin.

    Args:
        table: what `mien analyze` or another part of mien wrote.
        markers: moments to look at more closely.
        name: what the report calls the table, if not as its file. Errors name its path.
        most: how many recordings and faces it may hold together: memory depends on that.

    Raises:
        SourceError: not such a table, damaged, empty, out of order, with values that cannot be, or
            with more recordings and faces.
    """
    held = 0
    begun: list[_Intake] = []
    under_way: dict[str, _Intake] = {}  # by source; one that is given twice is two recordings
    try:
        for result in checked_results(table):
            source = result.source
            if source not in under_way or not result.follows(under_way[source].last):
                concerned = [marker for marker in markers if marker.concerns(source)]
                under_way[source] = _Intake(table, name or table.name, source, concerned)
                begun.append(under_way[source])
                held += 1
            held += under_way[source].add(result)
            if held > most:
                raise SourceError(
                    f"{table}: holds more recordings and faces than there is room for ({most:,}). "
                    "Report on parts of it, or with `mien report` on a computer of your own"
                )
        recordings = [intake.finished() for intake in begun]
    # JSON holds values of any kind under any name.
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{table}: not results of `mien analyze` ({type(error).__name__}: {error}). "
            "Analyse the source again"
        ) from error
    if not recordings:
        raise SourceError(f"{table}: holds no frame. Analyse the source again")
    return recordings


@dataclass
class _Face:
    """A face that is being added up."""

    spans: Spans
    segments: list[Segment] = field(default_factory=list)
    person: str | None = None


class _Intake:
    """Adds up one recording. Frames wait until the next one says how long they lasted."""

    def __init__(self, table: Path, name: str, source: str, markers: Sequence[Marker]) -> None:
        self._table, self._name, self._source = table, name, source
        self._labels: tuple[str, ...] = ()
        self._waiting: list[FrameResult] = []
        self._step_s = 0.0  # the usual one, once it is known
        self._width_s = SHORTEST_S
        self._start_s = 0.0
        self.last: FrameResult | None = None
        self._handovers = Handovers()
        self._faces: dict[Who, _Face] = {}  # by its number; those of pictures by name
        self._finder = SegmentFinder()
        self._quality = Quality()
        self._markers = sorted(markers, key=lambda marker: marker.time_s)
        self._marked_s = [marker.time_s for marker in self._markers]
        self._responses: dict[int, dict[Who, FloatArray]] = defaultdict(dict)  # by marker
        self._models: list[str] = []

    def add(self, result: FrameResult) -> int:
        """Take one frame. Returns how many more faces are held then, those that wait included."""
        self._require_next(result)
        before = self._held()
        if not self.last:
            self._start_s = result.time_s
        self._quality.frames += 1
        if result.model and result.model not in self._models and len(self._models) < _MODELS:
            self._models.append(str(result.model))
        self.last = result
        for known in self._handovers.add(result):
            self._take(known)
        return self._held() - before

    def _held(self) -> int:
        waiting = sum(len(result.faces) for result in self._waiting)
        return len(self._faces) + self._handovers.waiting + waiting

    def _take(self, result: FrameResult) -> None:
        """A frame of which is known whose its faces are."""
        self._waiting.append(result)
        if self._step_s and len(self._waiting) == 2:
            self._count(self._waiting.pop(0), result.time_s)
        elif len(self._waiting) == _LOOK_AHEAD:
            self._learn_step()

    def finished(self) -> Recording:
        """What it came to."""
        for known in self._handovers.finish():
            self._take(known)
        is_video = self._quality.frames > 1
        if not is_video:
            self._width_s = 1.0  # a picture's weight: all of it is one moment
        elif not self._step_s:
            self._learn_step()
        for result in self._waiting:
            self._weigh(result, self._step_s if is_video else 1.0)
        self._file(self._finder.finish())
        tracks: dict[Who, list[Track]] = defaultdict(list)
        for number, face in self._faces.items():
            track = self._track(number, face)
            if track.total_s > 0:
                tracks[self._who(number)].append(track)
        faces = sorted(map(one_face, tracks.values()), key=lambda track: -track.total_s)
        return Recording(
            table=self._table,
            table_name=self._name,
            source=self._source,
            labels=self._labels,
            is_video=is_video,
            width_s=self._width_s,
            start_s=self._start_s,
            end_s=(self.last.time_s if self.last else 0.0) + self._step_s,
            tracks=tuple(faces),
            quality=self._quality,
            responses=tuple(map(self._response, range(len(self._markers)))),
            models=tuple(self._models),
        )

    def _require_next(self, result: FrameResult) -> None:
        where = f"{self._table}: frame {result.frame} of {last_part(self._source) or 'its source'}"
        if self.last and result.time_s < self.last.time_s:
            raise SourceError(
                f"{where}: is at {result.time_s:g} s, after one at {self.last.time_s:g} s. "
                "Expected the order of time: sort the table, or analyse the source again"
            )
        for face in result.faces:
            labels = tuple(face.probs)
            if len(labels) > _MOST_CLASSES:
                raise SourceError(
                    f"{where}: has {len(labels):,} classes. Expected at most {_MOST_CLASSES}"
                )
            self._labels = self._labels or labels
            if labels != self._labels:
                raise SourceError(
                    f"{where}: has the classes {', '.join(labels)}, and frames before it "
                    f"{', '.join(self._labels)}. Expected the answers of one model"
                )

    def _learn_step(self) -> None:
        """How long frames usually last, by the first of them; then count these."""
        steps = [b.time_s - a.time_s for a, b in pairwise(self._waiting)]
        positive = sorted(step for step in steps if step > 0)
        self._step_s = positive[len(positive) // 2] if positive else 0.04
        # Spans hold a frame each at least, so that a face in sight is in each of them.
        self._width_s = SHORTEST_S * 2 ** max(0, ceil(log2(self._step_s / SHORTEST_S) - 0.01))
        waiting, self._waiting = self._waiting, self._waiting[-1:]
        for first, second in pairwise(waiting):
            self._count(first, second.time_s)

    def _count(self, result: FrameResult, next_s: float) -> None:
        lasted_s = next_s - result.time_s
        quality = self._quality
        quality.longest_step_s = max(quality.longest_step_s, lasted_s)
        if lasted_s > max(GAP_S, GAP_STEPS * self._step_s):
            quality.gaps += 1
            quality.gap_s += lasted_s - self._step_s
            lasted_s = self._step_s
        self._weigh(result, lasted_s)

    def _weigh(self, result: FrameResult, lasted_s: float) -> None:
        """Add a frame that counts for so long."""
        self._quality.recorded_s += lasted_s
        self._quality.with_face_s += lasted_s if result.faces else 0.0
        while span_at(result.time_s + lasted_s - self._start_s, self._width_s) >= MOST_SPANS:
            self._width_s *= 2
            for wide in self._faces.values():
                wide.spans.widen()
        for face in result.faces:
            self._rate(face, lasted_s)
            probs = np.fromiter(face.probs.values(), np.float64, len(self._labels))
            row = np.zeros(2 + 2 * len(probs))
            row[0] = 1.0
            if face.uncertain:
                row[1] = 1.0
            else:
                row[2 + self._labels.index(face.expression)] = 1.0
            row[2 + len(probs) :] = probs
            who = face.person if face.track_id is None else face.track_id
            if who not in self._faces:
                self._faces[who] = _Face(Spans(self._width_s))
            known = self._faces[who]
            known.spans.add(result.time_s, lasted_s, row)
            known.person = face.person or known.person
            self._respond(result.time_s, lasted_s, who, probs)
        self._file(self._finder.update(result))

    def _rate(self, face: FaceResult, lasted_s: float) -> None:
        quality = self._quality
        small = min(face.box[2:]) < SMALL_PX
        turned = False
        if face.shape is not None:
            turned = max(abs(face.shape.yaw_deg), abs(face.shape.pitch_deg)) > TURNED_DEG
            quality.shape_s += lasted_s
        quality.face_s += lasted_s
        quality.small_s += lasted_s * small
        quality.turned_s += lasted_s * turned
        if face.quality is not None:
            reasons = face.quality.reasons
            quality.rated_s += lasted_s
            quality.poor_s += lasted_s * bool(reasons)
            quality.reasons_s += [lasted_s * (reason in reasons) for reason in QUALITY_REASONS]
        if face.uncertain:
            quality.uncertain_s += lasted_s
            quality.uncertain_small_s += lasted_s * small
            quality.uncertain_turned_s += lasted_s * turned

    def _respond(self, time_s: float, lasted_s: float, who: Who, probs: FloatArray) -> None:
        for i in self._near(time_s, lasted_s):
            since_s = time_s - self._markers[i].time_s - OFFSETS_S[0]
            for at, part_s in parts(since_s, lasted_s, STEP_S):
                if 0 <= at < len(OFFSETS_S):
                    faces = self._responses[i]
                    if who not in faces:
                        faces[who] = np.zeros((len(OFFSETS_S), 1 + len(probs)))
                    faces[who][at, 0] += part_s
                    faces[who][at, 1:] += part_s * probs

    def _near(self, time_s: float, lasted_s: float) -> range:
        """Markers whose window may hold a part of this frame."""
        first = bisect_left(self._marked_s, time_s - OFFSETS_S[-1] - STEP_S)
        last = bisect_right(self._marked_s, time_s + lasted_s - OFFSETS_S[0] + STEP_S)
        return range(first, last)

    def _response(self, i: int) -> Response:
        faces: dict[Who, FloatArray] = {}
        for number, sums in self._responses.get(i, {}).items():
            who = self._who(number)
            faces[who] = faces[who] + sums if who in faces else sums
        return Response(self._markers[i].label, self._markers[i].time_s, faces)

    def _who(self, number: Who) -> Who:
        return self._faces[number].person or number

    def _file(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            self._faces[segment.track_id].segments.append(segment)

    def _track(self, number: Who, face: _Face) -> Track:
        sums = np.stack(face.spans.rows)
        classes = len(self._labels)
        return Track(
            (self._handovers.track_of(number),) if isinstance(number, int) else (),
            np.array(face.spans.index, np.int64),
            seen_s=sums[:, 0],
            uncertain_s=sums[:, 1],
            shown_s=sums[:, 2 : 2 + classes],
            probs_s=sums[:, 2 + classes :],
            segments=tuple(sorted(face.segments, key=lambda segment: segment.start_s)),
            person=face.person,
        )
