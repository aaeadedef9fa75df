"""Models side by side on the same rows. May import evaluate and what lies below it.

Beside the measured rows stand those of others, from their publications or measured elsewhere; they
are marked, and never mixed into a test.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np

from mien.classifier import ExpressionClassifier
from mien.datasets import EVERY_SPLIT, SPLITS, FaceCrops, load_crops, read_rows
from mien.errors import ConfigError
from mien.evaluate import Answers, answer_crops
from mien.metrics import accuracy_interval, mcnemar_p, shown_again, warned_of_people
from mien.types import EXPRESSIONS, Views

_TIMED: Final = 60  # single crops whose median time is reported

#: How many pictures of each class FER2013 has: by that it is known in every layout, and in parts.
_FER2013: Final = {
    "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "PublicTest": (467, 56, 496, 895, 653, 415, 607),
    "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
}


@dataclass(frozen=True)
class ComparedModel:
    """One model of ours.

    Attributes:
        name: what it is called, with its file where two are called alike.
        accuracy: by split, 0..1.
        interval: 95% interval by split.
        parameters, macs: weights, and multiply-accumulates for one crop.
        ms: median time of one crop alone, one thread, milliseconds.
    """

    name: str
    accuracy: dict[str, float]
    interval: dict[str, tuple[float, float]]
    parameters: int
    macs: int
    ms: float


@dataclass(frozen=True)
class Reference:
    """Figures of somebody else's model, in per cent; None where they did not say."""

    name: str
    training: float | None
    public: float | None
    private: float | None
    parameters: str
    source: str


_SHIPPED: Final = "measured on its shipped file, PrivateTest by others"

#: What a reader will want to see beside ours.
REFERENCES: Final = (
    Reference("ResNet18, the starting point", 65.8, 54.6, 55.7, "11.2 M", "its authors"),
    Reference("VGG19, the starting point", 61.8, 57.7, 58.9, "20.0 M", "its authors"),
    Reference("fer 25.10.3, bundled model", None, 65.4, 65.8, "", _SHIPPED),
    Reference("human 3.3.6, emotion model", None, 65.6, 66.8, "", _SHIPPED),
    Reference("humans", None, None, 65.0, "", "Goodfellow et al., ICONIP 2013: 65 +- 5"),
    Reference("Tang, challenge winner", None, None, 71.2, "", "Tang, ICML workshop 2013"),
    Reference(
        "one VGG from scratch", None, None, 72.7, "1.8 M", "Pramerdorfer & Kampel, 2016"
    ),
    Reference(
        "eight networks from scratch", None, None, 75.2, "", "Pramerdorfer & Kampel, 2016"
    ),
    Reference(
        "ResMaskingNet, pretrained", None, None, 74.1, "143 M", "Pham, Vu & Tran, ICPR 2020"
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """The table.

    Attributes:
        data, views: what the models were examined on, and how often they looked at each crop.
        split: the one on which they are told apart.
        models: the rows.
        differences: for each pair of models their names and the exact McNemar p-value, 0..1.
        on_fer2013: whether the data are FER2013: others' figures are, and stand beside no others.
        people: how many `split` shows, where it shows some of them several times; else 0.
    """

    data: str
    views: str
    split: str
    models: list[ComparedModel]
    differences: list[tuple[str, str, float]]
    on_fer2013: bool = True
    people: int = 0

    @property
    def references(self) -> tuple[Reference, ...]:
        """Figures of others on the same data."""
        return REFERENCES if self.on_fer2013 else ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "references": [asdict(reference) for reference in self.references]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Comparison:
        """Read back what `to_dict` gave; the references are today's."""
        models = [
            ComparedModel(
                **{**m, "interval": {s: (lo, hi) for s, (lo, hi) in m["interval"].items()}}
            )
            for m in values["models"]
        ]
        differences = [(a, b, p) for a, b, p in values["differences"]]
        head = (values["data"], values["views"], values["split"])
        more = (values.get("on_fer2013", True), values.get("people", 0))
        return cls(*head, models, differences, *more)


def compare(
    models: Sequence[str | Path],
    data: str | Path,
    *,
    views: Views = "single",
    note: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Examine models on every split that a set has, and test whether they differ.

    Args:
        models: names or files.
        data: a set of face crops.
        views: how often to look at each crop: see `ExpressionClassifier.predict`.
        note: called with a line on what is going on.

    Raises:
        ConfigError: the models answer in different classes.
        DatasetError: no such set, no picture of these classes in it, or one that is unreadable.
        ModelError: a model cannot be read.
    """
    classifiers = _open(models)
    splits = _load_splits(data, classifiers)
    judge = next(name for name in ("PublicTest", "PrivateTest", *splits) if name in splits)
    names = _names(models, [classifier.spec.name for classifier in classifiers])
    rows, correct = [], []
    for name, model, classifier in zip(names, models, classifiers, strict=True):
        answers: dict[str, Answers] = {}
        for split, crops in splits.items():
            note(f"{name} on {len(crops):,} rows of {split}")
            answers[split] = answer_crops(classifier, crops, views=views)
        correct.append(answers[judge].correct)
        rows.append(
            ComparedModel(
                name,
                {split: float(a.correct.mean()) for split, a in answers.items()},
                {s: accuracy_interval(int(a.correct.sum()), len(a)) for s, a in answers.items()},
                classifier.spec.parameters,
                classifier.spec.macs,
                _time_ms(model, splits[judge].images, views=views),
            )
        )
    judged = zip(names, correct, strict=True)
    differences = [(a, b, mcnemar_p(x, y)) for (a, x), (b, y) in combinations(judged, 2)]
    on_fer2013 = all(_is_fer2013(split, crops) for split, crops in splits.items())
    name, shown = Path(data).resolve().stem, splits[judge].groups
    people = len({*shown}) if shown_again(shown) else 0
    return Comparison(name, views, judge, rows, differences, on_fer2013, people)


def _open(models: Sequence[str | Path]) -> list[ExpressionClassifier]:
    """Models that answer in the same classes."""
    classifiers = [ExpressionClassifier(model, threads=2) for model in models]
    first, *others = (classifier.spec for classifier in classifiers)
    for spec in others:
        if spec.labels != first.labels:
            raise ConfigError(
                f"{spec.name}: answers in other classes than {first.name}. Compare models of the "
                "same classes"
            )
    return classifiers


def _load_splits(
    data: str | Path, classifiers: Sequence[ExpressionClassifier]
) -> dict[str, FaceCrops]:
    """Every split that a set has, in pictures as large as the most demanding model takes."""
    labels = classifiers[0].spec.labels
    size = max(classifier.spec.input_px for classifier in classifiers)
    rows = list(read_rows(data))
    there = {row.split for row in rows if row.expression in labels}
    own: list[str] = [split for split in SPLITS if split in there]
    return {
        split: load_crops(data, split, size_px=size, classes=labels, rows=rows)
        for split in own or [EVERY_SPLIT]
    }


def _is_fer2013(split: str, crops: FaceCrops) -> bool:
    counts = tuple(np.bincount(crops.labels, minlength=len(crops.classes)).tolist())
    return crops.classes == EXPRESSIONS and counts == _FER2013.get(split)


def _names(models: Sequence[str | Path], called: Sequence[str]) -> list[str]:
    """What models are called in a table: files of one name with their file's, or path."""
    names = list(called)
    for told in (lambda model: Path(model).name, str):
        names = [
            f"{own} ({told(model)})" if names.count(name) > 1 and str(model) != own else name
            for name, own, model in zip(names, called, models, strict=True)
        ]
    return names


def _time_ms(
    model: str | Path, images: np.ndarray[Any, np.dtype[np.uint8]], *, views: Views
) -> float:
    classifier = ExpressionClassifier(model, threads=1)
    times = []
    for image in images[:_TIMED]:
        began = time.perf_counter()
        classifier.predict(image[None], views=views)
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times))


def format_comparison(comparison: Comparison) -> str:
    """The comparison as Markdown."""
    splits = list(dict.fromkeys(s for model in comparison.models for s in model.accuracy))
    lines = [
        f"On {comparison.data}, {comparison.views} view. Accuracy in per cent, with 95% intervals.",
        "",
        f"| model | {' | '.join(splits)} | parameters | MMAC | ms a face | source |",
        "|---" * (len(splits) + 5) + "|",
    ]
    if comparison.people:
        lines[1:1] = [
            "",
            f"{warned_of_people(comparison.people)}, and p-values too small. `mien evaluate` gives "
            "each model's interval over people.",
        ]
    for model in comparison.models:
        cells = []
        for split in splits:
            low, high = model.interval[split]
            cells.append(f"{model.accuracy[split]:.1%} ({low:.1%} to {high:.1%})".replace("%", ""))
        lines.append(
            f"| **{model.name}** | {' | '.join(cells)} | {model.parameters / 1e6:.1f} M "
            f"| {model.macs / 1e6:.0f} | {model.ms:.1f} | this table |"
        )
    for other in comparison.references:
        figures = {
            "Training": other.training, "PublicTest": other.public, "PrivateTest": other.private
        }  # fmt: skip
        shown = [figures.get(split) for split in splits]
        private = "" if "PrivateTest" in splits or other.private is None else (
            f" (PrivateTest {other.private})"
        )  # fmt: skip
        cells = ["" if value is None else f"{value}" for value in shown]
        lines.append(
            f"| {other.name} | {' | '.join(cells)} | {other.parameters} | | "
            f"| {other.source}{private} |"
        )
    return "\n".join([*lines, *_format_differences(comparison)])


def _format_differences(comparison: Comparison) -> list[str]:
    """The p-values as half a square; the other half would say the same."""
    if not comparison.differences:
        return []
    p_values = {(a, b): p for a, b, p in comparison.differences}
    names = [model.name for model in comparison.models]
    lines = [
        "",
        f"Do they differ on {comparison.split}? p-values of the exact McNemar test; in bold below "
        "0.05, which one pair in twenty is by chance.",
        "",
        f"| | {' | '.join(names[1:])} |",
        "|---" * len(names) + "|",
    ]
    for name in names[:-1]:
        shown = [
            "" if p is None else f"**{p:.2g}**" if p < 0.05 else f"{p:.2g}"
            for p in (p_values.get((name, other)) for other in names[1:])
        ]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return lines
