"""What every section of a report is written from, and how figures are written. Imports from mien
companions, wording, and the siblings `recording`, `statistics`, `thumbnails` and `views`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from typing import Final

from mien.companions import Marker, Member
from mien.report.recording import Recording, Track, timed
from mien.report.statistics import Estimate
from mien.report.thumbnails import Thumbnail
from mien.report.views import View
from mien.wording import NOTHING, counted, told_apart

FEW: Final = 10  # units, below which they say little about others
CROWD: Final = 5  # people, below which a mean may describe one of them


@dataclass(frozen=True)
class Material:
    """All that a report is made of.

    Attributes:
        view: who it is for.
        recordings: in the order of the tables.
        labels: the classes.
        markers: moments, if any were given.
        members: groups, if any were given.
        thumbnails: pictures of peaks, if they may be shown and were found.
        problems: what could not be read or shown, a line each.
        blurred: whether the faces in the pictures are unrecognizable.
    """

    view: View
    recordings: tuple[Recording, ...]
    labels: tuple[str, ...]
    markers: tuple[Marker, ...]
    members: tuple[Member, ...]
    thumbnails: tuple[Thumbnail, ...]
    problems: tuple[str, ...]
    blurred: bool

    @property
    def main(self) -> list[Recording]:
        """The videos, or the pictures where there are none."""
        return timed(self.recordings)

    @property
    def videos(self) -> list[Recording]:
        """Recordings with a time."""
        return [recording for recording in self.recordings if recording.is_video]

    @property
    def faces(self) -> list[tuple[Recording, Track]]:
        """The faces of all videos, those longest in sight first."""
        found = [(video, track) for video in self.videos for track in video.tracks]
        return sorted(found, key=lambda face: -face[1].total_s)

    @property
    def each(self) -> str:
        """What figures are made of: videos, or pictures where there are none."""
        return "recording" if self.videos else "picture"

    @property
    def sight(self) -> str:
        """What shares are of."""
        return "the time in sight" if self.videos else "the faces"

    @property
    def unit(self) -> str:
        """What groups are compared by."""
        return "people" if any(member.person for member in self.members) else f"{self.each}s"

    @property
    def over_time(self) -> bool:
        """Whether tables are sessions, one after the other: by their days, or for the view."""
        return "trends" in self.view.asks_for or any(member.day for member in self.members)

    @cached_property
    def titles(self) -> Mapping[Recording, str]:
        """Each recording by its file's name, with the table's where several tables hold one of that
        name, and a running number where even that does not tell them apart. Folders stay hidden.
        """
        tables: dict[str, set[str]] = defaultdict(set)
        for r in self.recordings:
            tables[r.name].add(r.table_name)
        names = [
            f"{r.name} ({r.table_name})" if len(tables[r.name]) > 1 else r.name
            for r in self.recordings
        ]
        return dict(zip(self.recordings, told_apart(names), strict=True))

    def mark(self, label: str) -> str:
        """The name of a class's colour; sums of classes have one of their own."""
        if label == "uncertain":
            return "cu"
        return f"c{self.labels.index(label)}" if label in self.labels else "ca"

    def title(self, recording: Recording) -> str:
        """What the report calls a recording: see `titles`; or a number, where nobody is to be
        named.
        """
        if self.view.anonymous:
            return f"recording {self.recordings.index(recording) + 1}"
        return self.titles[recording]

    def face_title(self, recording: Recording, track: Track) -> str:
        """What the report calls a face: as its recording, where nothing more needs to be said."""
        name = self.title(recording)
        if not track.person and (track.number is None or len(recording.tracks) == 1):
            return name
        face = track.person or f"face {track.number}"
        return face if len(self.recordings) == 1 else f"{name}, {face}"


def interval(estimate: Estimate, *, bare: bool = False) -> str:
    """A share's interval, `33% to 49%`."""
    if isnan(estimate.low):
        return NOTHING if bare else "no interval"
    return f"{100 * estimate.low:.0f}% to {100 * estimate.high:.0f}%"


def points(estimate: Estimate) -> str:
    """A change in percentage points with its interval."""
    if isnan(estimate.value):
        return NOTHING
    ends = (
        "" if isnan(estimate.low) else f" ({100 * estimate.low:+.1f} to {100 * estimate.high:+.1f})"
    )
    return f"{100 * estimate.value:+.1f}{ends}"


def number(estimate: Estimate) -> str:
    """An effect size with its interval."""
    if isnan(estimate.value):
        return NOTHING
    ends = "" if isnan(estimate.low) else f" ({estimate.low:+.2f} to {estimate.high:+.2f})"
    return f"{estimate.value:+.2f}{ends}"


def units(n: int, unit: str) -> str:
    """`1 person`, `2 people`: as many of a unit that intervals count."""
    return counted(n, "person" if unit == "people" else unit.removesuffix("s"), unit)


def length(time_s: float) -> str:
    """A length of time in words."""
    if round(10 * time_s) < 600:
        return f"{time_s:.1f} seconds"
    minutes, seconds = divmod(round(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    parts = (f"{hours} h" if hours else "", f"{minutes} min", f"{seconds} s" if not hours else "")
    return " ".join(part for part in parts if part)


def listed(words: Sequence[str]) -> str:
    """Words in a sentence: `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
