"""Who has been met, and whose a new face is. May import numpy, and from mien: geometry, types,
gallery.

A person is what is known of them: how they look in a gallery's pictures, or in the pictures and
tracks in which a stranger was seen. A face belongs to the nearest person within a distance that was
measured, and one person stands in a frame once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
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


@dataclass(frozen=True)
class Look:
    """Views of a face, as far as distances go by them.

    Attributes:
        mean: of their descriptors, `(128,)`.
        spread: the variances of these numbers, added up; 0 for a single view.
    """

    mean: Float32Array
    spread: np.float32

    @classmethod
    def of(cls, views: Float32Array) -> Look:
        """Of descriptors `(n, 128)`."""
        return cls(views.mean(0), views.var(0).sum())


@dataclass
class Person:
    """Somebody, and how they look.

    Attributes:
        name: as it stands in results.
        known: out of the gallery; what is known of them then stays as it is.
        seen: how they look, by where that comes from: a picture, or the views of a track.
    """

    name: str
    known: bool
    seen: dict[Hashable, Look] = field(default_factory=dict)


def distance(a: Float32Array, b: Float32Array) -> float:
    """Of two sets of views `(n, 128)`, `(m, 128)`: root mean square over all pairs.

    Means of many views lie closer together than views do, strangers' too. This keeps the scale of
    two single pictures, whatever their number, and only trembles less.
    """
    other = Look.of(b)
    return float(_distances(Look.of(a), other.mean[None], np.array([other.spread]))[0])


def _distances(look: Look, means: Float32Array, spreads: Float32Array) -> Float32Array:
    """The same, `(M,)`: of a look from M others, whose means are `(M, 128)` and spreads `(M,)`."""
    apart = np.square(look.mean - means).sum(1)
    return np.asarray(np.sqrt(apart + look.spread + spreads), np.float32)


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
            Person(name, True, {f"{name} {i}": Look.of(row[None]) for i, row in enumerate(seen)})
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
        known = [
            (number, look)
            for number, person in enumerate(everybody)
            for key, look in person.seen.items()
            if key not in here
        ]
        distances = np.full((len(faces), len(everybody)), inf)
        if not known or not faces:
            return distances
        numbers = np.array([number for number, _ in known])
        means = np.array([look.mean for _, look in known])
        spreads = np.array([look.spread for _, look in known])
        for nearest, face in zip(distances, faces, strict=True):
            np.minimum.at(nearest, numbers, _distances(Look.of(face.views), means, spreads))
            loyal = np.array([person is face.person for person in everybody])
            nearest[~(nearest <= SAME_PERSON + _LOYALTY * loyal)] = inf
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
            _put_last(person.seen, face.key, Look.of(face.views), _MOST_SEEN)
            _put_last(self._strangers, person.name, person, _MOST_STRANGERS)


def _put_last(rows: dict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    """Set a value as the latest one, and forget the earliest where there are too many."""
    rows.pop(key, None)
    rows[key] = value
    while len(rows) > most:
        rows.pop(next(iter(rows)))
