"""Says whose the faces of a frame are: in pictures at once, in videos out of a track's best views.

May import numpy, and from mien: types, and its siblings.

In a video only a few views of each track are described: several in its first second, then one
every two seconds, and as good ones as can be had. The best stand for the track. Good is what is
large, sharp and seen from the front. Where a track was out of sight, or its views stop looking like
it (two faces were exchanged at a crossing), its views are collected anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import inf, isfinite
from operator import itemgetter
from pathlib import Path
from typing import Final

import numpy as np

from mien.identity.embedder import FaceEmbedder, size_px, turned_px
from mien.identity.gallery import Gallery
from mien.identity.people import SAME_PERSON, People, Person, Unnamed, distance
from mien.types import Detections, FaceIdentity, Float32Array, Frame, UInt8Array

_VIEWS: Final = 5  # of a track that count
_FIRST_EVERY_S: Final = 0.2  # until there are so many
_THEN_EVERY_S: Final = 2.0
_BETTER: Final = 1.5  # so much better than any so far, and a view is described before its time
_WORTH: Final = 0.5  # of the best quality so far; worse views wait
_OTHER: Final = SAME_PERSON + 0.1  # a view further from the others than this is doubtful
_GAP_S: Final = 0.3  # a track that was out of sight for longer may be another's
_DOUBTS: Final = 2  # so many doubtful views in a row are another person's
_MOST_A_FRAME: Final = 4  # faces that are described in one frame of a video
_NEW_FROM: Final = 3  # views, or so many seconds, after which a track may be a new person's
_NEW_FROM_S: Final = 0.5

_FORGET_S: Final = 10.0  # a track that was out of sight for longer is forgotten

#: Smaller faces (see `size_px`) belong to nobody: blurred ones look like each other.
_SMALLEST_PX: Final = 12.0
_LARGE_PX: Final = 56.0  # the network's picture has no more
_FRONT_PX: Final = 4.0  # see `turned_px`: as much counts half


@dataclass
class _Sighting:
    """What was seen of one track.

    Attributes:
        key: what it is remembered by.
        began_s, seen_s, described_s: when it was first and last seen, and last described.
        views: quality and descriptor of the best.
        doubts: views in a row that did not look like it.
        person, similarity: whose it is thought to be.
    """

    key: Hashable
    began_s: float
    seen_s: float
    described_s: float = -inf
    views: list[tuple[float, Float32Array]] = field(default_factory=list)
    doubts: int = 0
    person: Person | None = None
    similarity: float | None = None

    def wants(self, quality: float, time_s: float) -> bool:
        """Whether this view is worth describing."""
        if not quality:
            return False
        since_s = time_s - self.described_s
        best = max((q for q, _ in self.views), default=0.0)
        early = len(self.views) < _VIEWS or self.doubts or quality >= _BETTER * best
        every_s = _FIRST_EVERY_S if early else _THEN_EVERY_S
        # A poor view waits for a better one, but not for ever.
        return since_s >= (every_s if quality >= _WORTH * best else 2 * _THEN_EVERY_S)

    def note(self, descriptor: Float32Array, time_s: float) -> bool:
        """Count a described view; returns whether it fails to look like the track."""
        self.described_s = time_s
        far = bool(self.views) and distance(self.rows(), descriptor[None]) > _OTHER
        self.doubts = self.doubts + 1 if far else 0
        return far

    def add(self, quality: float, descriptor: Float32Array) -> None:
        """Keep the best views."""
        self.views = sorted([*self.views, (quality, descriptor)], key=itemgetter(0))[-_VIEWS:]

    def rows(self) -> Float32Array:
        """The descriptors of the views: `(n, 128)`."""
        return np.stack([row for _, row in self.views])

    def unnamed(self, time_s: float) -> Unnamed:
        """For `People.assign`, once there is a view."""
        new = len(self.views) >= _NEW_FROM or time_s - self.began_s >= _NEW_FROM_S
        return Unnamed(self.key, self.rows(), self.person, may_be_new=new)


class Sightings:
    """What was seen of the tracks of one video."""

    def __init__(self) -> None:
        self.tracks: dict[int, _Sighting] = {}
        self.shown: Sequence[int] = ()  # the tracks of the frame before

    def see(
        self, numbers: Sequence[int], keys: Iterator[Hashable], time_s: float
    ) -> list[_Sighting]:
        """The tracks that are in view. Those that were lost long ago are forgotten."""
        for number in numbers:
            before = self.tracks.get(number)
            if before is None:
                self.restart(number, keys, time_s)
            elif number not in self.shown and time_s - before.seen_s > _GAP_S:
                # It may have become another's while nobody looked.
                self.restart(number, keys, time_s).person = before.person
            self.tracks[number].seen_s = time_s
        self.tracks = {n: t for n, t in self.tracks.items() if time_s - t.seen_s <= _FORGET_S}
        return [self.tracks[number] for number in numbers]

    def restart(self, number: int, keys: Iterator[Hashable], time_s: float) -> _Sighting:
        """Know nothing of a track but that it is in view."""
        self.tracks[number] = _Sighting(next(keys), time_s, time_s)
        return self.tracks[number]


class Recognizer:
    """Says whose faces are, and remembers who has been met, in one picture or video or another.

    Args:
        threads: ONNX Runtime threads.
        device: as of `mien.inference.Network`.

    Raises:
        ModelError: the weights are missing or altered.
        ConfigError: the device cannot be used.
    """

    def __init__(self, *, threads: int = 1, device: str = "cpu") -> None:
        self.embedder = FaceEmbedder(threads=threads, device=device)
        self.gallery: Gallery | None = None
        self.people = People()
        self._keys = count()

    def learn(
        self,
        gallery: str | os.PathLike[str] | Gallery,
        find_faces: Callable[[Path], tuple[Frame, Detections]],
    ) -> None:
        """Know these people by name from now on, instead of those before; forget all strangers.

        Args:
            gallery: a folder (see `Gallery.from_folder`), or one that was read before.
            find_faces: opens one of its pictures and finds the faces in it.

        Raises:
            ConfigError: no such folder, or no usable picture in it.
        """
        if not isinstance(gallery, Gallery):
            gallery = Gallery.from_folder(
                gallery, lambda picture: self.embedder.describe(*find_faces(picture))
            )
        self.gallery = gallery
        self.forget_strangers()

    def forget_strangers(self) -> None:
        """Remember nobody but the gallery; strangers are counted from 1 again."""
        self.people = People(self.gallery)

    def identify(self, frame: Frame, faces: Detections) -> list[FaceIdentity]:
        """Whose the faces of a still picture are."""
        large = [i for i, points in enumerate(faces.landmarks) if size_px(points) >= _SMALLEST_PX]
        descriptors = self.embedder.describe(frame, faces.select(large))
        found = self.people.assign([Unnamed(next(self._keys), row[None]) for row in descriptors])
        identities = [FaceIdentity(None, None)] * len(faces)
        for i, row, (person, away) in zip(large, descriptors, found, strict=True):
            name = person.name if person else None
            identities[i] = FaceIdentity(name, _similarity(away), row)
        return identities

    def follow(
        self,
        frame: Frame,
        faces: Detections,
        crops: UInt8Array,
        numbers: Sequence[int],
        sightings: Sightings,
    ) -> list[FaceIdentity]:
        """Whose the faces of a video's frame are, as far as is known by then.

        Args:
            frame: the frame.
            faces: N faces.
            crops: grey `uint8 (N, S, S)`, by which their sharpness is judged.
            numbers: the track of each.
            sightings: of this video.
        """
        now_s = frame.time_s
        tracks = sightings.see(numbers, self._keys, now_s)
        qualities = [recognizability(faces, crops, i) for i in range(len(faces))]
        due = [i for i, track in enumerate(tracks) if track.wants(qualities[i], now_s)]
        # Who waits the longest comes first.
        due = sorted(due, key=lambda i: tracks[i].described_s)[:_MOST_A_FRAME]
        for i, row in zip(due, self.embedder.describe(frame, faces.select(due)), strict=True):
            if not tracks[i].note(row, now_s):
                tracks[i].add(qualities[i], row)
            elif tracks[i].doubts >= _DOUBTS:
                tracks[i] = sightings.restart(numbers[i], self._keys, now_s)
                tracks[i].note(row, now_s)
                tracks[i].add(qualities[i], row)
        if due or sightings.shown != numbers:
            self._assign([track for track in tracks if track.views], now_s)
            sightings.shown = list(numbers)
        return [_identity(track) for track in tracks]

    def _assign(self, tracks: Sequence[_Sighting], now_s: float) -> None:
        found = self.people.assign([track.unnamed(now_s) for track in tracks])
        for track, (person, away) in zip(tracks, found, strict=True):
            track.person, track.similarity = person, _similarity(away)


def recognizability(faces: Detections, crops: UInt8Array, i: int) -> float:
    """How well face `i` can be recognized, compared with other views of the same person.

    Large, sharp (differences of neighbouring pixels, in deviations), sure and from the front; 0
    where it cannot.
    """
    size = size_px(faces.landmarks[i])
    if size < _SMALLEST_PX:
        return 0.0
    pixels = crops[i].astype(np.float32)
    edges = np.abs(np.diff(pixels, axis=0)).mean() + np.abs(np.diff(pixels, axis=1)).mean()
    sharp = float(edges / max(float(pixels.std()), 1.0))
    front = 1 / (1 + (turned_px(faces.landmarks[i]) / _FRONT_PX) ** 2)
    return max(min(size / _LARGE_PX, 1.0) * sharp * float(faces.scores[i]) * front, 1e-6)


def _identity(track: _Sighting) -> FaceIdentity:
    mean = track.rows().mean(0) if track.views else None
    return FaceIdentity(track.person.name if track.person else None, track.similarity, mean)


def _similarity(away: float) -> float | None:
    return max(0.0, 1 - away) if isfinite(away) else None
