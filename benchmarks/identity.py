"""How well faces are told apart: rank one, verification, and what the expression does to it.

    python benchmarks/identity.py --data ../shared/data

Takes ORL (40 people, 10 pictures each), KDEF (sessions of people who show seven expressions, from
the front and from both sides) and CK+ (118 people at the peak of expressions). Every picture is
searched for faces, and the largest is described. That takes minutes: descriptors are kept in the
folder `--cache`. Intervals are 95%, from 1,000 draws of people with replacement. Prints Markdown
tables.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.alignment import nose_offset
from mien.datasets import load_pictures
from mien.detection import FaceDetector
from mien.identity import SAME_PERSON, FaceEmbedder
from mien.identity.embedder import size_px
from mien.picture import read_picture
from mien.preprocess import resize
from mien.types import EXPRESSIONS, Detections, Frame

FRONT = 0.15  # nose offset, in eye distances, up to which a face is seen from the front
NEUTRAL = EXPRESSIONS.index("neutral")
STEPS = np.arange(0.2, 1.2, 0.005)  # distances at which errors are counted
SIZES = (8, 12, 16, 24)  # pixels; see `size_px`
DRAWS = 1000

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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


def describe(data: Path, name: str, cache: Path) -> Faces:
    """The faces of a set, out of the cache or described anew."""
    kept = cache / f"{name}.npz"
    if not kept.is_file():
        detector, embedder = FaceDetector(), FaceEmbedder()
        rows, people, shown, offsets, missed = [], [], [], [], 0
        for file, person, expression in pictures_of(data, name):
            frame = Frame(read_picture(file, str(file)))
            faces = detector.detect(frame)
            if not len(faces):
                missed += 1
                continue
            largest = faces.select([int(_sides(faces).argmax())])
            rows.append(embedder.describe(frame, largest)[0])
            people.append(person)
            shown.append(expression)
            offsets.append(float(nose_offset(largest.landmarks)[0]))
        np.savez(kept, rows=rows, people=people, shown=shown, offsets=offsets, missed=missed)
    with np.load(kept) as saved:
        offsets = saved["offsets"]
        turned = np.sign(offsets) * (np.abs(offsets) > FRONT)
        numbers = np.unique(saved["people"], return_inverse=True)[1]
        print(f"{name}: {len(offsets)} faces, {saved['missed']} pictures without", flush=True)
        return Faces(saved["rows"].astype(float), numbers, saved["shown"], turned.astype(int))


def _sides(faces: Detections) -> Array:
    return np.asarray((faces.boxes[:, 2:] - faces.boxes[:, :2]).max(1), float)


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


# --- what the expression does ------------------------------------------------------------------


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


def errors_by_kind(front: Faces) -> None:
    """Pairs that show the same and pairs that do not: how far apart, and how often mistaken."""
    kinds = {
        "the same expression": lambda i: front.shown == front.shown[i],
        "two expressions": lambda i: front.shown != front.shown[i],
        "neutral and another": lambda i: (front.shown == NEUTRAL) != (front.shown[i] == NEUTRAL),
    }
    print("\n| pairs that show | one person's | rejected | two people's | accepted |")
    print("|---|---|---|---|---|")
    for kind, alike in kinds.items():
        pairs = Pairs.count(front, alike)
        people = len(pairs.of)
        same, other = pairs.number()
        rejects, accepts = (
            interval(lambda w, k=k, p=pairs: float(p.rates(w)[k][at(SAME_PERSON)]), people)
            for k in (0, 1)
        )
        print(f"| {kind} | {same:,} | {rejects} | {other:,} | {accepts} |")


def enrolment(front: Faces, sessions: Ints) -> None:
    """One session enrolled, the other one asked: with a neutral face, another, or several."""
    first = np.array([sessions[front.people == p].min() for p in front.people]) == sessions
    both = [p for p in np.unique(front.people) if not first[front.people == p].all()]
    known = front.where(first & np.isin(front.people, both))
    asked = front.where(~first & np.isin(front.people, both))

    def enrolled(person: int, wanted: npt.NDArray[np.bool_]) -> Array:
        return np.asarray(known.rows[(known.people == person) & wanted], float)

    print("\n| enrolled | people | asked | rank one | rejected |\n|---|---|---|---|---|")
    every = np.ones(len(known.people), bool)
    kinds = {
        **{f"a {EXPRESSIONS[e]} face": (known.shown == e, False) for e in range(len(EXPRESSIONS))},
        "the mean over all expressions": (every, True),
        "all expressions, the nearest counts": (every, False),
    }
    for kind, (wanted, averaged) in kinds.items():
        away = np.full((len(asked.people), len(both)), np.inf)
        for column, person in enumerate(both):
            rows = enrolled(person, wanted)
            if len(rows):
                rows = rows.mean(0, keepdims=True) if averaged else rows
                away[:, column] = distances(asked.rows, rows).min(1)
        place = np.searchsorted(both, asked.people)
        hit = away.argmin(1) == place
        lost = away[np.arange(len(place)), place] > SAME_PERSON
        n = len(place)
        print(f"| {kind} | {len(both)} | {n} | {hit.mean():.2%} | {lost.mean():.2%} |")


def without_expression(front: Faces) -> None:
    """Directions that expressions move descriptors along, learned on half of the people and taken
    out of the others'; and all variation within people evened out, learned in the same way.
    """
    people = np.unique(front.people)
    print("\n| descriptors | equal error rate | rejected at 1 in 1,000 accepted |\n|---|---|---|")
    methods: dict[str, Callable[[Faces], Array]] = {
        "as they are": lambda _: np.eye(front.rows.shape[1]),
        "without the expression's directions": _off_expression,
        "variation within people evened out": _whitened,
    }
    for name, learn in methods.items():
        errors, rejected = [], []
        for half in (0, 1):
            train = front.where(np.isin(front.people, people[half::2]))
            test = front.where(np.isin(front.people, people[1 - half :: 2]))
            rows = test.rows @ learn(train)
            # Distances are brought to the same scale, so that `STEPS` reach as far.
            rows *= np.median(distances(test.rows, test.rows)) / np.median(distances(rows, rows))
            moved = Faces(rows, test.people, test.shown, test.turned)
            pairs = Pairs.count(moved)
            rejects, accepts = pairs.rates(np.ones(len(pairs.of)))
            errors.append(equal_error((rejects, accepts)))
            rejected.append(float(np.interp(0.001, accepts, rejects)))
        print(f"| {name} | {np.mean(errors):.2%} | {np.mean(rejected):.2%} |")


def _centred(faces: Faces) -> Array:
    """Descriptors less the mean of their person."""
    return np.stack([
        row - faces.rows[faces.people == person].mean(0)
        for row, person in zip(faces.rows, faces.people, strict=True)
    ])  # fmt: skip


def _off_expression(train: Faces) -> Array:
    centred = _centred(train)
    moves = np.stack([centred[train.shown == e].mean(0) for e in range(len(EXPRESSIONS))])
    directions = np.linalg.svd(moves, full_matrices=False)[2][: len(EXPRESSIONS) - 1]
    return np.asarray(np.eye(centred.shape[1]) - directions.T @ directions)


def _whitened(train: Faces) -> Array:
    centred = _centred(train)
    spread = centred.T @ centred / len(centred)
    values, vectors = np.linalg.eigh(spread)
    # Half of the mean variance is added, so that directions without any do not count for all.
    return np.asarray(vectors / np.sqrt(values + values.mean() / 2))


def sizes(data: Path, cache: Path) -> None:
    """ORL's faces shrunk until they have so many pixels between eyes and mouth."""
    print("\n| face, pixels | equal error rate | accepted | rejected |\n|---|---|---|---|")
    kept = cache / "orl-sizes.npz"
    if not kept.is_file():
        detector, embedder = FaceDetector(), FaceEmbedder()
        rows: dict[str, list[Array]] = {str(size): [] for size in SIZES}
        people = []
        for file, person, _ in pictures_of(data, "orl"):
            frame = Frame(read_picture(file, str(file)))
            faces = detector.detect(frame)
            largest = faces.select([int(_sides(faces).argmax())])
            people.append(person)
            for size in SIZES:
                factor = size / size_px(largest.landmarks[0])
                width, height = round(frame.width * factor), round(frame.height * factor)
                small = Frame(resize(frame.image, width, height))
                landmarks = largest.landmarks * np.float32(factor)
                moved = Detections(largest.boxes, largest.scores, landmarks)
                rows[str(size)].append(embedder.describe(small, moved)[0])
        np.savez(kept, people=people, **rows)  # type: ignore[arg-type]
    with np.load(kept) as saved:
        numbers = np.unique(saved["people"], return_inverse=True)[1]
        for size in SIZES:
            unknown = np.zeros(len(numbers), int)
            faces = Faces(saved[str(size)].astype(float), numbers, unknown, unknown)
            pairs = Pairs.count(faces)
            rejects, accepts = pairs.rates(np.ones(len(pairs.of)))
            error, place = equal_error((rejects, accepts)), at(SAME_PERSON)
            print(f"| {size} | {error:.2%} | {accepts[place]:.2%} | {rejects[place]:.2%} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with orl, kdef, ckplus")
    parser.add_argument("--cache", type=Path, default=Path("runs") / "identity")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    orl, ckplus, kdef = (
        describe(options.data, s, options.cache) for s in ("orl", "ckplus", "kdef")
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
    front = people.turned == 0
    errors_by_kind(people.where(front))
    enrolment(people.where(front), kdef.people[front])
    without_expression(people.where(front))
    sizes(options.data, options.cache)


def _list(shares: list[float]) -> str:
    mean = f"mean {np.mean(shares):.2%}, least {min(shares):.2%}, most {max(shares):.2%}"
    return f"{', '.join(f'{share:.1%}' for share in shares)} ({mean})"


if __name__ == "__main__":
    main()
