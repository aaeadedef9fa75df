"""What a report knows of one recording: sums over short spans of time. May import numpy, from
mien companions, events, types.

A recording of any length becomes a few thousand spans for each face: `Spans` makes them wider as
time goes on. Everything a report says is made of these sums, of segments and of counts. What holds
arrays is equal to itself alone: a video may stand in a table twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.companions import last_part
from mien.events import Segment
from mien.types import QUALITY_REASONS

FloatArray = npt.NDArray[np.float64]

#: Whose face it is in a recording: a name, or a number (of `mien.handover`) where nobody is named;
#: None for those faces of pictures that nobody names.
Who = str | int | None

MOST_SPANS: Final = 4096  # of a recording; then they become twice as wide
SHORTEST_S: Final = 0.1  # tables of curves tell tenths of a second
_HAIR_S: Final = 1e-6  # clocks are rounded

#: Around a marker: offsets in seconds at which a response is known. The second before is its base.
STEP_S: Final = 0.25
OFFSETS_S: Final = np.arange(-1.0, 5.0, STEP_S)


def span_at(time_s: float, width_s: float) -> int:
    """In which span a time lies; clocks are rounded, and 0.3 s begins the fourth of 0.1 s."""
    return int((time_s + _HAIR_S) // width_s)


def parts(time_s: float, lasted_s: float, width_s: float) -> Iterator[tuple[int, float]]:
    """The spans in which a stretch of time lies, and how many of its seconds lie in each."""
    end_s, i = time_s + lasted_s, span_at(time_s, width_s)
    while (edge_s := (i + 1) * width_s) < end_s - _HAIR_S:
        yield i, edge_s - time_s
        time_s, i = edge_s, i + 1
    yield i, end_s - time_s


@dataclass
class Spans:
    """Sums over equal spans of time, sparse: only those in which there was something.

    Attributes:
        width_s: of a span; span i begins at i * width_s.
        index: which spans are there, ascending.
        rows: `(columns,)` each, the sums.
    """

    width_s: float
    index: list[int] = field(default_factory=list)
    rows: list[FloatArray] = field(default_factory=list)

    def add(self, time_s: float, lasted_s: float, each_s: FloatArray) -> None:
        """Add what holds for a while, per second, from a time that is not before the last one.

        A frame may last longer than a span, or into the next one: each gets its part.
        """
        for i, part_s in parts(time_s, lasted_s, self.width_s):
            if self.index and self.index[-1] >= i:  # frames of one face may overlap by a hair
                self.rows[-1] = self.rows[-1] + part_s * each_s
            else:
                self.index.append(i)
                self.rows.append(part_s * each_s)

    def widen(self) -> None:
        """Join spans in pairs."""
        old, self.index, self.rows = zip(self.index, self.rows, strict=True), [], []
        self.width_s *= 2
        for i, row in old:
            if self.index and self.index[-1] == i // 2:
                self.rows[-1] = self.rows[-1] + row
            else:
                self.index.append(i // 2)
                self.rows.append(row)


@dataclass(frozen=True, eq=False)
class Track:
    """One face of a recording over time, or a named person's, however often they came back.

    Attributes:
        numbers: its `track_id`, or several of a person, the first first; none in pictures.
        index: `(N,)` which spans of time it was seen in.
        seen_s, uncertain_s: `(N,)` seconds in sight, and without a sure answer, in each of them.
        shown_s: `(N, K)` seconds of sure answers by class.
        probs_s: `(N, K)` probabilities times seconds.
        segments: what it showed, in order of time.
        person: whose it is, where results say so, as `mien.handover` tells it.
    """

    numbers: tuple[int, ...]
    index: npt.NDArray[np.int64]
    seen_s: FloatArray
    uncertain_s: FloatArray
    shown_s: FloatArray
    probs_s: FloatArray
    segments: tuple[Segment, ...]
    person: str | None = None

    @property
    def number(self) -> int | None:
        """What it is called where nobody is named; None for the faces of pictures."""
        return self.numbers[0] if self.numbers else None

    @property
    def total_s(self) -> float:
        """How long it was in sight; for pictures, how many faces."""
        return float(self.seen_s.sum())


@dataclass
class Quality:
    """How usable a recording was. Seconds; for pictures, numbers of them.

    Attributes:
        frames: how many were analysed.
        recorded_s: time covered by frames, gaps left out.
        with_face_s: with at least one face in sight.
        face_s: summed over faces.
        uncertain_s, small_s, turned_s: of that, without a sure answer, with a small face, with a
            face turned away.
        uncertain_small_s, uncertain_turned_s: both at once.
        rated_s, poor_s: of it, with a known quality, and with something wrong with it.
        reasons_s: `(6,)` by reason, in the order of `QUALITY_REASONS`; a face may have several.
        shape_s: of it, with a known pose.
        gaps, gap_s: breaks in time, and how long they were together.
        longest_step_s: between two frames.
    """

    frames: int = 0
    recorded_s: float = 0.0
    with_face_s: float = 0.0
    face_s: float = 0.0
    uncertain_s: float = 0.0
    small_s: float = 0.0
    turned_s: float = 0.0
    uncertain_small_s: float = 0.0
    uncertain_turned_s: float = 0.0
    rated_s: float = 0.0
    poor_s: float = 0.0
    reasons_s: FloatArray = field(default_factory=lambda: np.zeros(len(QUALITY_REASONS)))
    shape_s: float = 0.0
    gaps: int = 0
    gap_s: float = 0.0
    longest_step_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Response:
    """What the faces of a recording showed around one marker.

    Attributes:
        label: the marker's.
        time_s: when it was.
        faces: for each face near it, by its person's name or its number, `(T, 1 + K)`: at each of
            `OFFSETS_S` seconds in sight, and probabilities times seconds.
    """

    label: str
    time_s: float
    faces: Mapping[Who, FloatArray]


@dataclass(frozen=True, eq=False)
class Recording:
    """One video, or one picture, of a table.

    Attributes:
        table: the file it was read from.
        table_name: what the report calls that file.
        source: what the table calls it.
        labels: the K classes; empty where no face was ever seen.
        is_video: whether it has more than one frame. A picture weighs 1 instead of seconds.
        width_s: of its spans of time.
        start_s, end_s: first and last moment.
        tracks: its faces, those longest in sight first.
        quality: how usable it was.
        responses: one for every marker that concerns it, in order of time.
        models: whose answers they are, as far as the table says.
    """

    table: Path
    table_name: str
    source: str
    labels: tuple[str, ...]
    is_video: bool
    width_s: float
    start_s: float
    end_s: float
    tracks: tuple[Track, ...]
    quality: Quality
    responses: tuple[Response, ...]
    models: tuple[str, ...]

    @property
    def name(self) -> str:
        """The source's last part."""
        return last_part(self.source) or "unnamed"

    def together(self) -> Track:
        """All faces as one: sums over them in every span of time."""
        return together(self.tracks, len(self.labels))

    def segments(self) -> list[Segment]:
        """Those of all faces, in order of time."""
        found = [segment for track in self.tracks for segment in track.segments]
        return sorted(found, key=lambda segment: segment.start_s)


def timed(recordings: Sequence[Recording]) -> list[Recording]:
    """The videos, or the pictures where there are none: seconds and pictures do not add up."""
    return [recording for recording in recordings if recording.is_video] or list(recordings)


def together(tracks: Sequence[Track], classes: int) -> Track:
    """Sums over tracks in every span of time."""
    if not tracks:
        nothing = np.zeros(0)
        grid = np.zeros((0, classes))
        return Track((), np.zeros(0, np.int64), nothing, nothing, grid, grid, ())
    index, at = np.unique(np.concatenate([t.index for t in tracks]), return_inverse=True)

    def added(parts: Sequence[FloatArray]) -> FloatArray:
        values = np.concatenate(parts)
        sums = np.zeros((len(index), *values.shape[1:]))
        np.add.at(sums, at, values)
        return sums

    return Track(
        (),
        index,
        added([track.seen_s for track in tracks]),
        added([track.uncertain_s for track in tracks]),
        added([track.shown_s for track in tracks]),
        added([track.probs_s for track in tracks]),
        (),
    )


def one_face(tracks: Sequence[Track]) -> Track:
    """The tracks of one person, in the order in which they began, as one."""
    if len(tracks) == 1:
        return tracks[0]
    segments = [segment for track in tracks for segment in track.segments]
    return replace(
        together(tracks, tracks[0].shown_s.shape[1]),
        numbers=tuple(dict.fromkeys(number for track in tracks for number in track.numbers)),
        segments=tuple(sorted(segments, key=lambda segment: segment.start_s)),
        person=tracks[0].person,
    )
