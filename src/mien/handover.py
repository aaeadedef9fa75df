"""Tracks that go over to another person: from there on they are another face. May import from mien:
types.

Where two people cross, a tracker may exchange their numbers, and the names in results say so. They
also correct each other: who has just come in is nobody or a stranger, until enough was seen. So a
name counts once it has held for a second; looks without a name, or with one that did not hold, go
to the name that follows, and at the end of a track to the one before. Reports, timelines and the
summary of a terminal all count faces by this.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

from mien.types import FaceResult, FrameResult

HELD_S: Final = 1.0  # a name that is told for so long, none else between, is no slip
_WAIT_S: Final = 3.0  # a look waits no longer for a name that holds
_MOST_TRACKS: Final = 2000  # are known at a time; of a camera there is no end


@dataclass
class _Look:
    """One face of a frame, and as which it counts, once that is known."""

    face: FaceResult
    time_s: float
    settled: FaceResult | None = None

    def settle(self, number: int, name: str) -> None:
        """It counts as this number and person, if it is said to be anybody's."""
        face, identity = self.face, self.face.identity
        if identity is not None and identity.person not in (None, name):
            identity = replace(identity, person=name)
        if number != face.track_id or identity is not face.identity:
            face = replace(face, track_id=number, identity=identity)
        self.settled = face


@dataclass
class _Course:
    """One track.

    Attributes:
        number: as which it counts now.
        name: whose it is, told from `since_s` to `last_s`; empty for nobody known.
        other, other_s: who else it may be, and since when; empty for nobody known.
        open: looks since it may be somebody else's.
        numbers: as which it counts by name: who comes back to it is the same face.
    """

    number: int
    name: str = ""
    since_s: float = 0.0
    last_s: float = 0.0
    other: str = ""
    other_s: float = 0.0
    open: deque[_Look] = field(default_factory=deque)
    numbers: dict[str, int] = field(default_factory=dict)

    def goes_over(self, look: _Look) -> bool:
        """Take the next look; returns whether with it another name has held."""
        person, now_s = look.face.person, look.time_s
        if self.last_s - self.since_s < HELD_S:  # whatever was said was no more than a guess
            if person and person != self.name:
                self.name, self.since_s = person, now_s
            self.last_s = now_s if person else self.last_s
            look.settle(self.number, self.name)
            return False
        self.open.append(look)
        if person == self.name:
            self.last_s = now_s
            self.settle()
        elif person and person != self.other:
            self.other, self.other_s = person, now_s
        return bool(person) and person == self.other and now_s - self.other_s >= HELD_S

    def go_over(self, number: int) -> None:
        """It is the other's, from the first open look on."""
        self.numbers[self.name] = self.number
        self.number, self.name = self.numbers.setdefault(self.other, number), self.other
        self.since_s, self.last_s = self.other_s, self.open[-1].time_s
        self.settle()

    def settle(self, before_s: float = inf) -> None:
        """Its looks until then are whose it is."""
        while self.open and self.open[0].time_s < before_s:
            self.open.popleft().settle(self.number, self.name)
        if not self.open:
            self.other = ""


class Handovers:
    """Takes the frames of one recording, and gives them back with a number for each face of each
    track: its own, or one below zero after it has gone over to another person.
    """

    def __init__(self) -> None:
        self.waiting = 0  # faces that were not given back yet
        self._frames: deque[tuple[FrameResult, list[_Look]]] = deque()
        self._courses: dict[int, _Course] = {}  # by track; who was seen last comes last
        self._tracks: dict[int, int] = {}  # by number below zero

    def track_of(self, number: int) -> int:
        """The track behind a number that was given back."""
        return self._tracks.get(number, number)

    def add(self, result: FrameResult) -> list[FrameResult]:
        """Take the next frame; returns those, in order, of which everything is known."""
        looks = [_Look(face, result.time_s) for face in result.faces]
        self._frames.append((result, looks))
        self.waiting += len(looks)
        for look in looks:
            track = look.face.track_id
            if track is None:
                look.settled = look.face
                continue
            course = self._courses.pop(track, None) or _Course(track)
            self._courses[track] = course
            if course.goes_over(look):
                fresh = -1 - len(self._tracks)
                course.go_over(fresh)
                if course.number == fresh:
                    self._tracks[fresh] = track
        patient_s = result.time_s - _WAIT_S
        if self._frames[0][0].time_s < patient_s:
            for course in self._courses.values():
                course.settle(patient_s)
        while len(self._courses) > _MOST_TRACKS:
            self._courses.pop(next(iter(self._courses))).settle()
        return self._given_back()

    def finish(self) -> list[FrameResult]:
        """The frames that still wait."""
        for course in self._courses.values():
            course.settle()
        return self._given_back()

    def _given_back(self) -> list[FrameResult]:
        ready = []
        while self._frames:
            result, looks = self._frames[0]
            faces = tuple(look.settled for look in looks if look.settled is not None)
            if len(faces) < len(looks):
                break
            self._frames.popleft()
            self.waiting -= len(looks)
            changed = any(a is not b for a, b in zip(faces, result.faces, strict=True))
            ready.append(replace(result, faces=faces) if changed else result)
        return ready
