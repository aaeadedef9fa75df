"""How well faces are told apart: rank one, verification, and how a face must stand in the picture.

    python benchmarks/identity.py --data ../shared/data

Takes ORL (40 people, 10 pictures each), KDEF (sessions of people who show seven expressions, from
the front and from both sides) and CK+ (118 people at the peak of expressions). Every picture is
searched for faces, and the largest is described. That takes minutes: descriptors are kept in
`runs/identity`. Intervals are 95%, from 1,000 draws of people with replacement. Prints Markdown
tables.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.alignment import FRONT_NOSE_OFFSET, crop_transforms, nose_offset
from mien.datasets import load_pictures
from mien.detection import FaceDetector
from mien.geometry import similarity_transform, transform_points
from mien.identity import SAME_PERSON, FaceEmbedder
from mien.identity.embedder import PLACES, size_px
from mien.picture import read_picture
from mien.preprocess import resize
from mien.types import Detections, Frame

DETECTOR_PX = 320  # enough for portraits, and a fifth of the work
STEPS = np.arange(0.2, 1.2, 0.005)  # distances at which errors are counted
DRAWS = 1000
CACHE = Path("runs") / "identity"  # described faces

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Variant = Callable[[Frame, Detections], tuple[Frame, Detections]]  # of a picture with one face


@dataclass(frozen=True)
class Faces:
    """The described faces of one data set.

    Attributes:
        rows: descriptors `(N, 128)`.
        people: a number for each person `(N,)`.
        shown: index into `EXPRESSIONS` `(N,)`; -1 where unknown.
        turned: -1, 0, 1: to the picture's left, from the front, to its right `(N,)`.
    """

    rows: Array
    people: Ints
    shown: Ints
    turned: Ints

    def where(self, mask: npt.NDArray[np.bool_]) -> Faces:
        """Some of them."""
        return Faces(self.rows[mask], self.people[mask], self.shown[mask], self.turned[mask])


def pictures_of(data: Path, name: str) -> Iterator[tuple[Path, str, int]]:
    """Every picture of a set, whose it is, and what it shows."""
    if name == "orl":
        for file in sorted((data / "orl").rglob("*.pgm"), key=_numbers):
            yield file, file.parent.name, -1
    else:
        for picture in load_pictures(data / name):
            yield picture.path, picture.group, picture.label


def _numbers(file: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", f"{file.parent.name}/{file.stem}")]


def describe(data: Path, name: str, kept: Path, change: Variant | None = None) -> Faces:
    """The faces of a set, out of the file where they are kept, or described anew."""
    if not kept.is_file():
        detector, embedder = FaceDetector(long_side_px=DETECTOR_PX), FaceEmbedder()
        rows, people, shown, offsets, missed = [], [], [], [], 0
        for file, person, expression in pictures_of(data, name):
            frame = Frame(read_picture(file, str(file)))
            faces = detector.find(frame)
            if not len(faces):
                missed += 1
                continue
            largest = faces.select([int(faces.sides.argmax())])
            people.append(person)
            shown.append(expression)
            offsets.append(float(nose_offset(largest.landmarks)[0]))
            if change is not None:
                frame, largest = change(frame, largest)
            rows.append(embedder.describe(frame, largest)[0])
        np.savez(kept, rows=rows, people=people, shown=shown, offsets=offsets, missed=missed)
    with np.load(kept) as saved:
        offsets = saved["offsets"]
        turned = np.sign(offsets) * (np.abs(offsets) > FRONT_NOSE_OFFSET)
        numbers = np.unique(saved["people"], return_inverse=True)[1]
        if change is None:
            print(f"{name}: {len(offsets)} faces, {saved['missed']} pictures without", flush=True)
        return Faces(saved["rows"].astype(float), numbers, saved["shown"], turned.astype(int))


# --- what is measured ------------------------------------------------------------------------


def distances(a: Array, b: Array) -> Array:
    """Between all rows: `(N, M)`."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


@dataclass(frozen=True)
class Pairs:
    """How many pairs of pictures lie within each of `STEPS`, for every pair of people.

    Attributes:
        within: `(P, P, T)`.
        of: `(P, P)`, how many there are.
    """

    within: Ints
    of: Ints

    @classmethod
    def count(
        cls, faces: Faces, alike: Callable[[int], npt.NDArray[np.bool_]] | None = None
    ) -> Pairs:
        """All pairs of different pictures; or of each picture `i` with those of `alike(i)` only."""
        numbers, people = np.unique(faces.people, return_inverse=True)
        n, steps = len(numbers), len(STEPS) + 1
        counts = np.zeros((n, n, steps), np.int64)
        for i, row in enumerate(faces.rows):
            chosen = np.arange(len(people)) != i
            if alike is not None:
                chosen &= alike(i)
            away = distances(row[None], faces.rows[chosen])[0]
            cells = people[chosen] * steps + np.searchsorted(STEPS, away)
            counts[people[i]] += np.bincount(cells, minlength=n * steps).reshape(n, steps)
        return cls(counts.cumsum(2)[:, :, :-1], counts.sum(2))

    def rates(self, weights: Array) -> tuple[Array, Array]:
        """False rejects and false accepts at `STEPS`, people counted as often as `weights` say."""
        own = np.arange(len(weights))
        rejected = weights @ (self.of[own, own][:, None] - self.within[own, own])
        false_rejects = rejected / max(weights @ self.of[own, own], 1)
        both = np.outer(weights, weights)
        both[own, own] = 0
        accepted = np.tensordot(both, self.within, 2) / max(float((both * self.of).sum()), 1)
        return false_rejects, accepted

    def number(self) -> tuple[int, int]:
        """Pairs of one person, and of two."""
        own = int(np.trace(self.of))
        return own // 2, (int(self.of.sum()) - own) // 2


def interval(measure: Callable[[Array], float], people: int) -> str:
    """A figure and its interval, in per cent."""
    rng = np.random.default_rng(0)
    drawn = [
        measure(np.bincount(rng.integers(0, people, people), minlength=people).astype(float))
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{measure(np.ones(people)):.2%} ({low:.2%} to {high:.2%})"


def equal_error(rates: tuple[Array, Array]) -> float:
    """Where false rejects and false accepts meet."""
    rejects, accepts = rates
    meet = int(np.abs(rejects - accepts).argmin())
    return float(rejects[meet] + accepts[meet]) / 2


def at(distance: float) -> int:
    """The place of a distance in `STEPS`."""
    return int(np.searchsorted(STEPS, distance - 1e-9))


def linked(faces: Faces) -> Faces:
    """KDEF's people sat twice, and the names do not say who with whom: sessions whose means are
    each other's nearest, and within `SAME_PERSON`, are taken for one person's.
    """
    sessions = np.unique(faces.people)
    means = np.stack([faces.rows[faces.people == s].mean(0) for s in sessions])
    away = distances(means, means) + np.diag(np.full(len(sessions), np.inf))
    nearest = away.argmin(1)
    mutual = nearest[nearest] == np.arange(len(sessions))
    own = np.where(mutual & (away.min(1) <= SAME_PERSON), np.minimum(nearest, sessions), sessions)
    print(f"kdef: {len(sessions)} sessions of {len(np.unique(own))} people")
    return Faces(faces.rows, own[faces.people], faces.shown, faces.turned)


def verification(name: str, faces: Faces) -> None:
    """One row: equal error rate, errors at the threshold, and the threshold for 1 in 1,000."""
    pairs = Pairs.count(faces)
    people = len(pairs.of)
    same, other = pairs.number()
    figures = [
        interval(lambda w: equal_error(pairs.rates(w)), people),
        interval(lambda w: float(pairs.rates(w)[1][at(SAME_PERSON)]), people),
        interval(lambda w: float(pairs.rates(w)[0][at(SAME_PERSON)]), people),
    ]
    accepts = pairs.rates(np.ones(people))[1]
    strict = STEPS[max(int(np.searchsorted(accepts, 0.001, "right")) - 1, 0)]
    print(f"| {name} | {people} | {same:,} | {other:,} | {' | '.join(figures)} | {strict:.3f} |")


def rank_one(faces: Faces) -> tuple[list[float], list[float]]:
    """Rank one with the k-th picture of each person enrolled, for every k; and how many of those
    that are right lie within `SAME_PERSON`.
    """
    order = np.array([int((faces.people[:i] == p).sum()) for i, p in enumerate(faces.people)])
    right, answered = [], []
    for k in range(int(order.max()) + 1):
        enrolled = faces.where(order == k)
        asked = faces.where(order != k)
        away = distances(asked.rows, enrolled.rows)
        hit = enrolled.people[away.argmin(1)] == asked.people
        right.append(float(hit.mean()))
        answered.append(float((hit & (away.min(1) <= SAME_PERSON)).mean()))
    return right, answered


# --- what the picture does -----------------------------------------------------------------------


def of_size(size: float) -> Variant:
    """The face shrunk until it has so many pixels between eyes and mouth."""

    def change(frame: Frame, face: Detections) -> tuple[Frame, Detections]:
        factor = size / size_px(face.landmarks[0])
        width, height = (max(1, round(side * factor)) for side in (frame.width, frame.height))
        return Frame(resize(frame.image, width, height)), _marked(face, face.landmarks[0] * factor)

    return change


def framed(zoom: float, which: Sequence[int] = range(5)) -> Variant:
    """The face larger or smaller in the network's picture; placed by these landmarks only."""

    def change(frame: Frame, face: Detections) -> tuple[Frame, Detections]:
        middle = PLACES.mean(0)
        places = middle + (PLACES - middle) * zoom
        found = similarity_transform(places[which], face.landmarks[0][which])
        return frame, _marked(face, transform_points(found, PLACES))

    return change


def boxed(scale: float) -> Variant:
    """The face placed by the detector's box, turned upright by its landmarks."""

    def change(frame: Frame, face: Detections) -> tuple[Frame, Detections]:
        (found,) = crop_transforms(face, scale=scale, upright=True, size_px=FaceEmbedder.INPUT_PX)
        return frame, _marked(face, transform_points(found, PLACES))

    return change


def _marked(face: Detections, landmarks: npt.NDArray[np.floating]) -> Detections:
    return Detections(face.boxes, face.scores, landmarks[None].astype(np.float32))


VARIANTS: dict[str, Variant] = {
    "as mien does": framed(1.0),
    "a tenth smaller in the picture": framed(0.9),
    "a tenth larger": framed(1.1),
    "a fifth larger": framed(1.2),
    "placed without the nose": framed(1.0, [0, 1, 3, 4]),
    "placed by the box, 1.1 sides": boxed(1.1),
    "placed by the box, 1.25 sides": boxed(1.25),
    "24 pixels from eyes to mouth": of_size(24),
    "16 pixels": of_size(16),
    "12 pixels": of_size(12),
    "8 pixels": of_size(8),
}


def variants(data: Path, cache: Path) -> None:
    """ORL with faces framed in other ways, and shrunk."""
    print("\n| faces of ORL | equal error rate | accepted | rejected |\n|---|---|---|---|")
    for number, (name, change) in enumerate(VARIANTS.items()):
        faces = describe(data, "orl", cache / f"orl-{number}.npz", change)
        pairs = Pairs.count(faces)
        rejects, accepts = pairs.rates(np.ones(len(pairs.of)))
        error, place = equal_error((rejects, accepts)), at(SAME_PERSON)
        row = " | ".join(f"{value:.2%}" for value in (error, accepts[place], rejects[place]))
        print(f"| {name} | {row} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with orl, kdef, ckplus")
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    orl, ckplus, kdef = (
        describe(options.data, name, CACHE / f"{name}.npz") for name in ("orl", "ckplus", "kdef")
    )
    people = linked(kdef)
    right, answered = rank_one(orl)
    n = len(orl.people) - len(np.unique(orl.people))
    print(f"\nORL, rank one of {n}, enrolled with picture 1 to 10: {_list(right)}")
    print(f"right and within {SAME_PERSON}: {_list(answered)}")
    print(
        f"\n| faces | people | one person's pairs | two people's | equal error rate | accepted at "
        f"{SAME_PERSON} | rejected at {SAME_PERSON} | 1 in 1,000 accepted at |"
    )
    print("|---|---|---|---|---|---|---|---|")
    verification("ORL", orl)
    verification("CK+, at the peak", ckplus)
    verification("KDEF, from the front", people.where(people.turned == 0))
    verification("KDEF, all", people)
    variants(options.data, CACHE)


def _list(shares: list[float]) -> str:
    mean = f"mean {np.mean(shares):.2%}, least {min(shares):.2%}, most {max(shares):.2%}"
    return f"{', '.join(f'{share:.1%}' for share in shares)} ({mean})"


if __name__ == "__main__":
    main()
