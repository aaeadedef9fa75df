"""Where the thresholds of `mien.quality` come from, and what its reasons are worth.

    python benchmarks/quality.py --data ../shared/data --n 1200

FER2013's PublicTest crops are made worse by known amounts. For each measure, the pictures of its
ladder are sorted by what was measured; the threshold is where the running share of right answers
falls to 60%. Then, with the thresholds that `mien.quality` has: how often each reason is given, and
how often the answers for faces with it are right. CK+ and KDEF only check afterwards.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien import quality
from mien.alignment import nose_offset
from mien.classifier import ExpressionClassifier
from mien.datasets import FaceCrops, crop_frame, load_crops, load_pictures
from mien.detection import FaceDetector
from mien.metrics import accuracy_interval
from mien.pipeline import Analyzer
from mien.preprocess import resize_crop
from mien.slices.degrade import (
    STANDARD_FACE,
    Degradation,
    blur,
    brighten,
    cover_eyes,
    cover_mouth,
    flatten,
    shrink,
)
from mien.training.occluders import draw_occluders, occlude
from mien.types import EXPRESSIONS, QUALITY_REASONS, Detections, UInt8Array

_PX = 48  # FER2013's crops
_FACE = STANDARD_FACE.scaled(_PX)  # in them
_WANTED = 0.6  # share of right answers at a threshold
_WINDOW = 600  # faces of the running share

_LADDERS: dict[str, tuple[Degradation, tuple[float, ...]]] = {
    "face of so many pixels": (shrink, (24, 18, 16, 14, 12, 10)),
    "blur, % of the face's side": (blur, (2, 3, 4, 5, 6, 8)),
    "brightness, factor": (brighten, (1.5, 2, 2.5, 3)),
    "contrast, factor": (flatten, (0.1, 0.05, 0.03, 0.02, 0.01)),
    "bar over the eyes, % of the face": (cover_eyes, (10, 20, 30)),
    "bar over the mouth, % of the face": (cover_mouth, (15, 25, 35)),
}

_DRAWN = ("dark glasses", "mask", "hand")


@dataclass
class Rung:
    """Crops made worse by one amount, what was measured and what was answered: N each."""

    kind: str
    amount: float | None
    crops: UInt8Array
    measures: dict[str, Any]
    right: Any
    answered: Any


def worse(apply: Degradation, amount: float, images: UInt8Array) -> UInt8Array:
    """Crops made worse in one way, by one amount."""
    return np.stack([apply(image, _FACE, amount, 1) for image in images])


def drawn(images: UInt8Array, seed: int) -> dict[str, UInt8Array]:
    """All crops with one of the occluders of the training side before each, kind by kind."""
    dice = draw_occluders(len(images), 1.0, torch.Generator().manual_seed(seed))
    covered = {}
    for number, name in enumerate(_DRAWN, start=1):
        dice[:, 0] = number
        dice[:, 6] = 0.25  # glasses are dark ones
        shown = occlude(torch.from_numpy(images)[:, None].float(), dice)
        covered[name] = shown[:, 0].round().byte().numpy()
    return covered


def rungs(
    images: UInt8Array, labels: Any, model: ExpressionClassifier, gate: quality.QualityGate
) -> Iterator[Rung]:
    """Every ladder, after the crops as they are."""

    def rung(kind: str, amount: float | None, shown: UInt8Array) -> Rung:
        size = model.spec.input_px
        crops = np.stack([resize_crop(image, size) for image in shown])
        predictions = model.predict(crops)
        side = min(amount or _FACE.side, _FACE.side) if kind.startswith("face") else _FACE.side
        measures = dict(
            quality.crop_measures(crops),
            covered=gate.covers(crops),
            small=np.full(len(crops), side),
        )
        right = predictions.probs.argmax(1) == labels
        return Rung(kind, amount, crops, measures, right, ~predictions.uncertain)

    yield rung("as it is", None, images)
    for kind, (apply, amounts) in _LADDERS.items():
        for amount in amounts:
            yield rung(kind, amount, worse(apply, amount, images))
    for kind, shown in drawn(images, seed=5).items():
        yield rung(kind, None, shown)


def crossing(measure: Any, right: Any, *, worse_is_more: bool) -> float:
    """The measure at which the running share of right answers falls to `_WANTED`, or nan."""
    order = np.argsort(measure if worse_is_more else -measure, kind="stable")
    window = np.ones(_WINDOW) / _WINDOW
    running = np.convolve(right[order].astype(float), window, mode="valid")
    below = np.nonzero(running < _WANTED)[0]
    return float(measure[order][below[0] + _WINDOW // 2]) if len(below) else float("nan")


def share(hits: Any) -> str:
    """A share in per cent, with its 95% interval."""
    low, high = accuracy_interval(int(np.sum(hits)), len(hits))
    return f"{100 * np.mean(hits):.1f} ({100 * low:.1f} to {100 * high:.1f}), n = {len(hits):,}"


def worth(name: str, flagged: Any, right: Any, answered: Any) -> str:
    """A line of the table of reasons."""
    if not flagged.any():
        return f"| {name} | 0 | | |"
    given = flagged & answered
    of_answers = share(right[given]) if given.any() else ""
    return f"| {name} | {flagged.mean():.1%} | {share(right[flagged])} | {of_answers} |"


def detected(images: UInt8Array) -> tuple[Detections, Any]:
    """The largest face in each crop that has one, and which crops those are."""
    detector = FaceDetector(long_side_px=96)
    found, rows = [], []
    for i, image in enumerate(images):
        faces = detector.detect(crop_frame(image))
        if len(faces):
            found.append(faces.select([int(faces.sides.argmax())]))
            rows.append(i)
    return Detections.concatenate(found), np.array(rows)


#: The ladders on which each measure's threshold was chosen.
_CHOSEN_ON = {
    "small": ("face of so many pixels",),
    "blurred": ("blur, % of the face's side",),
    "too bright": ("brightness, factor",),
    "too flat": ("contrast, factor",),
    "covered": tuple(kind for kind in _LADDERS if kind.startswith("bar")) + _DRAWN,
}
#: What is shown to the detector, for its score.
_HARD = (
    (blur, 4),
    (blur, 6),
    (shrink, 12),
    (brighten, 3),
    (cover_eyes, 30),
    (cover_mouth, 25),
    (cover_mouth, 35),
)


def wrong(name: str, measure: Any) -> Any:
    """Which faces are beyond the threshold of a measure."""
    return quality.scored(name, np.asarray(measure, np.float32)) < 0.5


def ladders(steps: Sequence[Rung]) -> None:
    """Print the tables of what is measured on crops."""
    plain = steps[0]
    print("| crops | right | answered | of these right | reasons given |\n|---|---|---|---|---|")
    for step in steps:
        given = {name: wrong(name, step.measures[name]).mean() for name in _CHOSEN_ON}
        said = ", ".join(f"{name} {part:.1%}" for name, part in given.items() if part > 0.002)
        name = step.kind if step.amount is None else f"{step.kind}: {step.amount:g}"
        answers = share(step.right[step.answered]) if step.answered.any() else ""
        print(f"| {name} | {share(step.right)} | {step.answered.mean():.1%} | {answers} | {said} |")
    print(
        "\n| beyond the threshold of | threshold | share falls to 60% at | median of PublicTest |"
    )
    print("|---|---|---|---|")
    pooled = {}
    for name, kinds in _CHOSEN_ON.items():
        mine = [plain, *(step for step in steps if step.kind in kinds)]
        measure = np.concatenate([step.measures[name] for step in mine])
        right = np.concatenate([step.right for step in mine])
        answered = np.concatenate([step.answered for step in mine])
        best, threshold, worst = quality.ANCHORS[name]
        found = crossing(measure, right, worse_is_more=worst > best)
        print(f"| {name} | {threshold:g} | {found:.3g} | {np.median(plain.measures[name]):.3g} |")
        pooled[name] = (wrong(name, measure), right, answered)
    print("\n| reason | of its ladder | right | answered, of which right |\n|---|---|---|---|")
    for name, arrays in pooled.items():
        print(worth(name, *arrays))
    print("\n| false alarms on PublicTest as it is | |\n|---|---|")
    for name in _CHOSEN_ON:
        print(f"| {name} | {share(wrong(name, plain.measures[name]))} |")
    print("\n| covered: AUC against PublicTest as it is | |\n|---|---|")
    for step in steps:
        if step.kind in _CHOSEN_ON["covered"]:
            auc = _auc(plain.measures["covered"], step.measures["covered"])
            print(
                f"| {step.kind}{'' if step.amount is None else f': {step.amount:g}'} | {auc:.3f} |"
            )


def _auc(negative: Any, positive: Any) -> float:
    return float((negative[:, None] < positive[None]).mean())


def from_the_detector(rows: FaceCrops, model: ExpressionClassifier, hard: int) -> None:
    """Print what pose and the detector's score say, on PublicTest and on hard copies of it."""
    print("\n| by the detector | of the faces | right | answered, of which right |")
    print("|---|---|---|---|")
    faces, found = detected(rows.images)
    seen = model.predict(rows.images[found])
    right, answered = seen.probs.argmax(1) == rows.labels[found], ~seen.uncertain
    offset = np.abs(nose_offset(faces.landmarks))
    for name, measure in (("turned", offset), ("unsure-detection", faces.scores)):
        print(worth(f"{name}, as it is", wrong(name, measure), right, answered))
        print(worth(f"not {name}, as it is", ~wrong(name, measure), right, answered))
        print(f"median of {name}: {np.median(measure):.3g}")
    parts: list[tuple[Any, ...]] = []
    few, labels = rows.images[:hard], rows.labels[:hard]
    for apply, amount in _HARD:
        images = worse(apply, amount, few)
        faces, found = detected(images)
        seen = model.predict(images[found])
        parts.append((faces.scores, seen.probs.argmax(1) == labels[found], ~seen.uncertain))
    scores, right, answered = (np.concatenate(part) for part in zip(*parts, strict=True))
    low = wrong("unsure-detection", scores)
    print(worth("unsure-detection, made worse", low, right, answered))
    print(worth("not unsure-detection, made worse", ~low, right, answered))


def check(folder: Path, step: int) -> None:
    """Print what the whole pipeline says of real photographs: nothing was chosen on them."""
    analyzer = Analyzer("mien-s-int8")
    pictures = load_pictures(folder)[::step]
    reasons, right, answered = [], [], []
    for picture in pictures:
        (result,) = analyzer.stream(picture.path)
        if not result.faces:
            continue
        face = max(result.faces, key=lambda face: face.box[2] * face.box[3])
        assert face.quality is not None
        reasons.append(face.quality.reasons)
        right.append(face.expression == EXPRESSIONS[picture.label])
        # As the model alone would have it.
        answered.append(face.confidence >= analyzer.classifier.spec.uncertain_below)
    print(f"\n{folder.name}, every {step}: {len(right):,} faces")
    print("\n| reason | given | right | answered, of which right |")
    print("|---|---|---|---|")
    for name in (*QUALITY_REASONS, ""):
        given = np.array([name in said if name else not said for said in reasons])
        print(worth(name or "no reason", given, np.array(right), np.array(answered)))


def speed(gate: quality.QualityGate, crops: UInt8Array) -> None:
    """Print what a face costs, one alone and sixteen at once."""
    for n in (1, 16):
        boxes = np.tile(np.array([0, 0, 50, 50], np.float32), (n, 1))
        five = np.array([[16, 20], [34, 20], [25, 29], [18, 36], [32, 36]], np.float32)
        points = np.tile(five, (n, 1, 1))
        faces = Detections(boxes, np.ones(n, np.float32), points)
        took = []
        for _ in range(300):
            began = time.perf_counter()
            gate.rate(faces, crops[:n])
            took.append((time.perf_counter() - began) / n)
        print(f"\n{n} at once: {1e3 * np.median(took):.3f} ms a face")


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with fer2013, ckplus, kdef"
    )
    parser.add_argument("--n", type=int, default=1200, help="rows of PublicTest, drawn with seed 0")
    parser.add_argument("--hard", type=int, default=400, help="of them, for the detector's score")
    parser.add_argument("--every", type=int, default=1, help="of the pictures of CK+ and KDEF")
    options = parser.parse_args()
    model, gate = ExpressionClassifier("mien-s-int8"), quality.QualityGate()
    every = load_crops(options.data / "fer2013", "PublicTest")
    order = np.random.default_rng(0).permutation(len(every))
    images, labels = every.images[order[: options.n]], every.labels[order[: options.n]]
    steps = list(rungs(images, labels, model, gate))
    ladders(steps)
    speed(gate, steps[0].crops)
    from_the_detector(every, model, options.hard)
    for name in ("ckplus", "kdef"):
        check(options.data / name, options.every)


if __name__ == "__main__":
    main()
