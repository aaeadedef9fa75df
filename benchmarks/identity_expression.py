"""What an expression does to identity, and what can be done about it.

    python benchmarks/identity.py --data ../shared/data
    python benchmarks/identity_expression.py --data ../shared/data/kdef

On KDEF's faces seen from the front, as the first command has described them: whether strangers who
show the same are taken for each other, which pictures to enrol, and whether taking the expression
out of the descriptors helps. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from identity import (
    CACHE,
    Array,
    Faces,
    Ints,
    Pairs,
    at,
    describe,
    distances,
    equal_error,
    interval,
    linked,
)

from mien.identity import SAME_PERSON
from mien.types import EXPRESSIONS

NEUTRAL = EXPRESSIONS.index("neutral")


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
        rejects, accepts = (interval(partial(_rate, pairs, which), people) for which in (0, 1))
        print(f"| {kind} | {same:,} | {rejects} | {other:,} | {accepts} |")


def _rate(pairs: Pairs, which: int, weights: Array) -> float:
    """False rejects (0) or false accepts (1) at the threshold."""
    return float(pairs.rates(weights)[which][at(SAME_PERSON)])


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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="KDEF")
    options = parser.parse_args()
    kdef = describe(options.data.parent, options.data.name, CACHE / "kdef.npz")
    people = linked(kdef)
    front = people.turned == 0
    errors_by_kind(people.where(front))
    enrolment(people.where(front), kdef.people[front])
    without_expression(people.where(front))


if __name__ == "__main__":
    main()
