"""Which face is which over time: `FaceTracker` gives every face of a video a number that it keeps,
and steadies its box.

May import numpy, and from mien: geometry, preprocess, types.

Every track predicts where its face should be now (constant velocity), how large, and how it looks;
a found face goes to the track that expects it most. A track that finds nothing waits a while, so
that a short occlusion, a missed detection or a crossing does not cost the number. For the seventh
part of a second the prediction will do, where what is seen there looks like the face. After a cut
only looks tell who is who.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.geometry import best_pairs
from mien.preprocess import averaged
from mien.types import Detections, Float32Array, UInt8Array

#: A face may lie this far from where it is expected, in its own sides; and this much further for
#: every second that it was not seen, up to the last value.
_REACH: Final = 0.6
_REACH_PER_S: Final = 1.5
_REACH_MOST: Final = 2.0
#: A face may be this much larger or smaller than expected (as a difference of logarithms).
_GROWTH: Final = 0.6
#: Weights of the differences in place, size and looks.
_PLACE: Final = 1.0
_SIZE: Final = 0.5
_LOOKS: Final = 1.5
#: After a gap longer than this, a face must also look like the one that was lost.
_SHORT_GAP_S: Final = 0.3
_ALIKE: Final = 0.5  # least cosine then
#: After a cut it must look very much like it. Of pairs of KDEF's people, from the front, one in six
#: does; nearly everyone looks like that a moment later.
_ALIKE_AFTER_CUT: Final = 0.8
#: Time constants: of the velocity, the looks, the place, and of size and landmarks. A detector's
#: boxes tremble by some per cent from frame to frame, and so would what is read from their crops.
_VELOCITY_S: Final = 0.15
_LOOKS_S: Final = 0.5
_PLACE_S: Final = 0.06
_SHAPE_S: Final = 0.25
#: How long a track waits for a face that is out of sight.
PATIENCE_S: Final = 1.5
#: However seldom frames come, a face may be missed in one of them and keep its number. How seldom
#: they come is the median of so many steps.
_PATIENT_STEPS: Final = 2.2
_STEPS: Final = 9
#: For so long faces need not be looked for: in four of five frames at 30 a second, in three of four
#: at 25.
_COAST_S: Final = 0.14
_COAST_ALIKE: Final = 0.9  # least cosine of what is seen where the face should be
_COAST_APART: Final = 1.2  # faces closer together, in their sides, may hide each other
#: Side of the miniature that stands for a face's looks.
_LOOK_PX: Final = 12


@dataclass
class _Track:
    """One face that is, or was, in view.

    Attributes:
        number: its name.
        place: centre x, centre y, logarithm of the longer side; pixels, steadied.
        velocity: of the place, per second.
        shape: corners of the box and landmarks `(7, 2)`, about the centre, in sides; steadied.
        looks: see `looks_of`.
        since_s: since when its velocity has been learned.
        seen_s: when it was last seen.
        score: the detector's confidence then, 0..1.
        is_lost: it was looked for since, and not found.
        is_doubted: the scene has changed since.
    """

    number: int
    place: npt.NDArray[np.float64]
    velocity: npt.NDArray[np.float64]
    shape: npt.NDArray[np.float64]
    looks: Float32Array
    since_s: float
    seen_s: float
    score: float
    is_lost: bool = False
    is_doubted: bool = False

    def may_coast(self, time_s: float) -> bool:
        """Whether it was seen so lately, and is so well known, that it need not be looked for."""
        old_enough = self.seen_s - self.since_s >= _VELOCITY_S
        sure = not self.is_lost and not self.is_doubted
        return old_enough and sure and 0 <= time_s - self.seen_s <= _COAST_S

    def expected(self, time_s: float) -> npt.NDArray[np.float64]:
        """Where and how large it should be. A lost face is not thought to run on for long."""
        return self.place + self.velocity * min(time_s - self.seen_s, _SHORT_GAP_S)

    def learn(
        self,
        place: npt.NDArray[np.float64],
        shape: npt.NDArray[np.float64],
        looks: Float32Array,
        score: float,
        time_s: float,
    ) -> None:
        """It was found: learn where it goes and how it looks."""
        gap_s = time_s - self.seen_s
        if gap_s > _SHORT_GAP_S:  # what was known is out of date
            self.place, self.velocity, self.shape = place, np.zeros(3), shape
            self.since_s = time_s
        elif gap_s > 0:
            expected = self.expected(time_s)
            off = place - expected
            gain = _gain(gap_s, [_PLACE_S, _PLACE_S, _SHAPE_S])
            self.place = expected + gain * off
            # The gain goes to nought with the gap: their ratio stays finite, however short it is.
            self.velocity += gain * off * (_gain(gap_s, _VELOCITY_S) / gap_s)
            self.shape += _gain(gap_s, _SHAPE_S) * (shape - self.shape)
        blend = np.float32(_gain(gap_s, _LOOKS_S))
        mixed = self.looks + blend * (looks - self.looks)
        self.looks = np.asarray(mixed / max(float(np.linalg.norm(mixed)), 1e-6), np.float32)
        self.seen_s, self.score = time_s, score
        self.is_lost = self.is_doubted = False


class FaceTracker:
    """Follows the faces of one video. Call `update` with the faces of each frame that was searched
    for them, in order of time.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._next = 1
        self._now_s = -np.inf
        self._steps: deque[float] = deque(maxlen=_STEPS)

    def expected(self, time_s: float, *, but: Sequence[int] = ()) -> Float32Array:
        """Boxes `(N, 4)`, xyxy, where the faces that are not lost should be now.

        Args:
            time_s: when, in seconds.
            but: numbers of faces to leave out.
        """
        here = [t.expected(time_s) for t in self._tracks if not t.is_lost and t.number not in but]
        if not here:
            return np.zeros((0, 4), np.float32)
        x, y, log_side = np.stack(here, axis=1)
        half = np.exp(log_side) / 2
        return np.stack([x - half, y - half, x + half, y + half], 1).astype(np.float32)

    def coasting(self, time_s: float) -> tuple[list[int], Detections]:
        """The faces that need not be looked for, as they should be now, and their numbers.

        Those were seen a moment ago, are old enough for their velocity to be known, and not close
        to another. Nothing is remembered of it: see `look_right` before it is believed.

        Returns:
            best score first.
        """
        places = np.array([track.expected(time_s) for track in self._tracks]).reshape(-1, 3)
        steps = np.hypot(*(places[:, None, :2] - places[None, :, :2]).transpose(2, 0, 1))
        sides = np.exp(places[:, 2])
        near = steps < _COAST_APART * np.maximum(sides[:, None], sides)
        alone = near.sum(1) == 1  # each is near itself
        rows = [i for i, t in enumerate(self._tracks) if alone[i] and t.may_coast(time_s)]
        rows.sort(key=lambda i: -self._tracks[i].score)
        tracks = [self._tracks[i] for i in rows]
        if not tracks:
            return [], Detections.empty()
        scores = np.array([track.score for track in tracks], np.float32)
        return [track.number for track in tracks], _at(places[rows], tracks, scores)

    def doubt(self) -> None:
        """The scene has changed: whoever is found in a face's place next may be somebody else."""
        for track in self._tracks:
            track.is_doubted = True

    def look_right(self, numbers: Sequence[int], looks: Float32Array) -> npt.NDArray[np.bool_]:
        """Whether what is seen where each numbered face should be, `(N, D)`, looks like it."""
        known = {track.number: track.looks for track in self._tracks}
        alike = [float(look @ known[n]) for n, look in zip(numbers, looks, strict=True)]
        return np.array(alike) >= _COAST_ALIKE

    def update(
        self,
        faces: Detections,
        looks: Float32Array,
        time_s: float,
        *,
        coasting: Sequence[int] = (),
    ) -> tuple[list[int], Detections]:
        """The number of each face, from 1, and the faces with steadied boxes and landmarks.

        A face that is new gets a number that was never used.

        Args:
            faces: N faces of this frame.
            looks: `(N, D)`, from `looks_of`.
            time_s: when, in seconds. Not before the last frame's.
            coasting: numbers of faces that were not looked for, and are none of these.
        """
        if np.isfinite(self._now_s):
            self._steps.append(time_s - self._now_s)
        self._now_s = time_s
        usual_s = median(self._steps) if self._steps else 0.0
        patience_s = max(PATIENCE_S, _PATIENT_STEPS * usual_s)
        self._tracks = [t for t in self._tracks if time_s - t.seen_s <= patience_s]
        sought = [track for track in self._tracks if track.number not in coasting]
        for known in sought:
            known.is_lost = True  # until it is found
        places, shapes = _places_and_shapes(faces)
        # Few faces compete for a track, and then their looks decide.
        pairs = best_pairs(_costs(sought, places, looks, time_s))
        owners = {face: sought[row] for row, face in pairs}
        tracks = []
        for face, (place, shape, look) in enumerate(zip(places, shapes, looks, strict=True)):
            score = float(faces.scores[face])
            track = owners.get(face)
            if track is None:
                velocity = np.zeros(3)
                track = _Track(self._next, place, velocity, shape, look, time_s, time_s, score)
                self._tracks.append(track)
                self._next += 1
            else:
                track.learn(place, shape, look, score, time_s)
            tracks.append(track)
        if not tracks:
            return [], Detections.empty()
        places = np.stack([track.place for track in tracks])
        return [track.number for track in tracks], _at(places, tracks, faces.scores)


def looks_of(crops: UInt8Array) -> Float32Array:
    """What tells faces apart at a glance: aligned crops `(N, S, S)` as miniatures `(N, 144)`.

    Each has mean 0 and length 1, so that a product of two is their correlation. Good enough for two
    people who cross in one video; it is no identity.
    """
    flat = averaged(crops, _LOOK_PX).reshape(len(crops), _LOOK_PX**2)
    flat -= flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(length, 1e-6), np.float32)


def _costs(
    tracks: Sequence[_Track],
    places: npt.NDArray[np.float64],
    looks: Float32Array,
    time_s: float,
) -> npt.NDArray[np.float64]:
    """How badly each face (columns) suits each track (rows); infinite where it cannot be."""
    costs = np.full((len(tracks), len(places)), np.inf)
    for row, track in enumerate(tracks):
        gap_s = time_s - track.seen_s
        away = places - track.expected(time_s)
        size = np.abs(away[:, 2])
        sides = np.exp((places[:, 2] + track.place[2]) / 2)
        distance = np.hypot(away[:, 0], away[:, 1]) / sides
        likeness = looks @ track.looks
        possible = distance <= min(_REACH + _REACH_PER_S * gap_s, _REACH_MOST)
        possible &= size <= _GROWTH
        if track.is_doubted:
            possible &= likeness >= _ALIKE_AFTER_CUT
        elif gap_s > _SHORT_GAP_S:
            possible &= likeness >= _ALIKE
        cost = _PLACE * distance + _SIZE * size + _LOOKS * (1 - likeness)
        costs[row, possible] = cost[possible]
    return costs


def _places_and_shapes(
    faces: Detections,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Where and how large faces are, `(N, 3)`, and their points about that, `(N, 7, 2)`."""
    points = np.concatenate([faces.boxes.reshape(-1, 2, 2), faces.landmarks], 1).astype(np.float64)
    middle = points[:, :2].mean(1)
    side = np.maximum((points[:, 1] - points[:, 0]).max(1, initial=0), 1.0)
    shapes = (points - middle[:, None]) / side[:, None, None]
    return np.column_stack([middle, np.log(side)]), shapes


def _at(
    places: npt.NDArray[np.float64], tracks: Sequence[_Track], scores: Float32Array
) -> Detections:
    """The faces as their tracks have them, at places `(N, 3)`."""
    shapes = np.stack([track.shape for track in tracks])
    sides = np.exp(places[:, 2])[:, None, None]
    points = np.asarray(places[:, None, :2] + shapes * sides, np.float32)
    return Detections(points[:, :2].reshape(-1, 4), scores, points[:, 2:])


def _gain(gap_s: float, time_constants_s: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """How far to go towards what is seen after a gap: 0 to 1."""
    return np.asarray(-np.expm1(-gap_s / np.asarray(time_constants_s)))
