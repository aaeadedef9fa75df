"""Who has been met, and whose a new face is. May import numpy, and from mien: geometry, types,
gallery.

A person is what is known of them: the descriptors of a gallery's pictures, or of the pictures and
tracks in which a stranger was seen. A face belongs to the nearest person within a distance that was
measured, and one person stands in a frame once.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from mien.geometry import best_pairs
from mien.identity.gallery import Gallery
from mien.types import Float32Array

#: Distance of two descriptors up to which they count as one person's. Measured: docs/identity.md.
SAME_PERSON: Final = 0.5
#: A track keeps its person up to this much further away: an answer that changes to and fro between
#: two frames helps nobody.
_LOYALTY: Final = 0.05
#: What is remembered of a stranger: so many pictures or tracks, the latest.
_MOST_SEEN: Final = 8
#: So many strangers are remembered; who was seen the longest ago is forgotten first.
_MOST_STRANGERS: Final = 1000

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass
class Person:
    """Somebody, and how they look.

    Attributes:
        name: as it stands in results.
        known: out of the gallery; what is known of them then stays as it is.
        seen: descriptors `(n, 128)` by where they come from: a picture, or the views of a track.
    """

    name: str
    known: bool
    seen: dict[Hashable, Float32Array] = field(default_factory=dict)

    def distance(self, views: Float32Array, apart_from: Collection[Hashable]) -> float:
        """To the nearest picture or track, but for those of `apart_from`; infinite if none."""
        known = (rows for key, rows in self.seen.items() if key not in apart_from)
        return min((distance(views, rows) for rows in known), default=inf)


def distance(a: Float32Array, b: Float32Array) -> float:
    """Of two sets of views `(n, 128)`, `(m, 128)`: root mean square over all pairs.

    Means of many views lie closer together than views do, strangers' too. This keeps the scale of
    two single pictures, whatever their number, and only trembles less.
    """
    away = a.mean(0) - b.mean(0)
    return float(np.sqrt((away**2).sum() + a.var(0).sum() + b.var(0).sum()))


@dataclass
class Unnamed:
    """A face to which a person is wanted.

    Attributes:
        key: where it comes from, and what it is remembered by.
        views: descriptors `(n, 128)`: of the picture, or of views of the track.
        person: whose it was thought to be so far.
        may_be_new: whether enough was seen of it to call it a new person.
    """

    key: Hashable
    views: Float32Array
    person: Person | None = None
    may_be_new: bool = True


class People:
    """Everybody met by one analyzer.

    Args:
        gallery: those who are known by name.
    """

    def __init__(self, gallery: Gallery | None = None) -> None:
        rows = gallery.people.items() if gallery else ()
        self._known = [
            Person(name, True, {f"{name} {i}": seen[i : i + 1] for i in range(len(seen))})
            for name, seen in rows
        ]
        self._strangers: dict[str, Person] = {}  # who was seen last comes last
        self._names = {person.name for person in self._known}
        self._met = 0

    def assign(self, faces: Sequence[Unnamed]) -> list[tuple[Person | None, float]]:
        """The person of each face of one frame, and the distance from what else is known of them.

        None, and an infinite distance, for a face that belongs to nobody known and may not be new;
        an infinite distance for one who is met for the first time.
        """
        everybody = [*self._known, *self._strangers.values()]
        distances = self._distances(faces, everybody)
        recognized = {
            face: (everybody[number], float(distances[face, number]))
            for face, number in best_pairs(distances)
        }
        answers = [recognized.get(i) or (self._alone(face), inf) for i, face in enumerate(faces)]
        for unnamed, (person, _) in zip(faces, answers, strict=True):
            self._remember(unnamed, person)
        return answers

    def _distances(
        self, faces: Sequence[Unnamed], everybody: Sequence[Person]
    ) -> npt.NDArray[np.float64]:
        """Of each face from each person; infinite where it is too far away to be theirs."""
        # What is known of a person through a face of this frame says nothing about another one.
        here = {face.key for face in faces}
        distances = np.full((len(faces), len(everybody)), inf)
        for row, face in enumerate(faces):
            for column, person in enumerate(everybody):
                away = person.distance(face.views, here)
                if away <= SAME_PERSON + _LOYALTY * (person is face.person):
                    distances[row, column] = away
        return distances

    def _alone(self, face: Unnamed) -> Person | None:
        """The person of a face that looks like nobody else's."""
        person = face.person
        if person is not None and not person.known and set(person.seen) == {face.key}:
            return person  # a stranger who was met in this very track
        if not face.may_be_new:
            return None
        self._met += 1
        while f"person-{self._met}" in self._names:  # a gallery may call people so
            self._met += 1
        return Person(f"person-{self._met}", False)

    def _remember(self, face: Unnamed, person: Person | None) -> None:
        before = face.person
        if before is not None and before is not person and not before.known:
            before.seen.pop(face.key, None)
            if not before.seen:  # it was somebody else all along
                self._strangers.pop(before.name, None)
        face.person = person
        if person is not None and not person.known:
            _put_last(person.seen, face.key, face.views, _MOST_SEEN)
            _put_last(self._strangers, person.name, person, _MOST_STRANGERS)


def _put_last(rows: dict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    """Set a value as the latest one, and forget the earliest where there are too many."""
    rows.pop(key, None)
    rows[key] = value
    while len(rows) > most:
        rows.pop(next(iter(rows)))
