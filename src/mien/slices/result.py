"""What came of examining models on degraded pictures: counts, shares, tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from typing import Any, Final

from mien import plots
from mien.datasets import EVERY_SPLIT
from mien.errors import DatasetError
from mien.metrics import accuracy_interval
from mien.types import Pose

AS_IT_IS: Final = "as it is"

#: Of slices whose levels are parts of the set, instead of the set shown over and over.
LIGHT_UNIT: Final = "angle of the light, degrees"


@dataclass(frozen=True)
class LevelFigures:
    """What a model made of pictures degraded by one amount.

    Attributes:
        level: the amount, or `as it is`.
        n: pictures.
        right: how many were read rightly.
        missed: in how many no face was found. They are neither right nor answered.
        answered, answered_right: how many answers were not `uncertain`, and right of those.
    """

    level: str
    n: int
    right: int
    missed: int
    answered: int
    answered_right: int

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0..1."""
        return self.right / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95% interval (Wilson)."""
        return accuracy_interval(self.right, self.n)


@dataclass(frozen=True)
class SliceFigures:
    """A way of degrading, with the figures of its amounts in the order of the table."""

    name: str
    unit: str
    levels: tuple[LevelFigures, ...]

    def level(self, name: str) -> LevelFigures:
        """The one of that name."""
        return next(level for level in self.levels if level.level == name)


@dataclass(frozen=True)
class Sliced:
    """What one model made of one set of pictures, degraded in every way.

    Attributes:
        model, version, data, split: what was examined, and on what.
        views: how often each face was looked at, as of `ExpressionClassifier.predict`.
        pipeline, pose: as in `Evaluation`.
        sample, seed: how many pictures were drawn (None: all of them), and which.
        uncertain_below: the confidence below which the model calls itself uncertain; 0 for a
            program that always answers.
        slices: the figures.
        gated: as in `Evaluation`.
    """

    model: str
    version: str
    data: str
    split: str
    views: str
    pipeline: bool
    pose: Pose
    sample: int | None
    seed: int
    uncertain_below: float
    slices: tuple[SliceFigures, ...]
    gated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; each level also with its `accuracy` and `accuracy_ci95`."""
        values = asdict(self)
        for made, figures in zip(values["slices"], self.slices, strict=True):
            for level, own in zip(made["levels"], figures.levels, strict=True):
                level |= {"accuracy": own.accuracy, "accuracy_ci95": list(own.interval)}
        if not self.gated:
            del values["gated"]  # as in files from before there was such a thing
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Sliced:
        """Read back what `to_dict` gave."""
        counts = ("level", "n", "right", "missed", "answered", "answered_right")
        slices = tuple(
            SliceFigures(
                s["name"],
                s["unit"],
                tuple(LevelFigures(**{key: level[key] for key in counts}) for level in s["levels"]),
            )
            for s in values["slices"]
        )
        return cls(**{**values, "slices": slices})


def read_sliced(file: str | Path) -> list[Sliced]:
    """The examinations that `mien evaluate --slices --json` wrote.

    Raises:
        DatasetError: the file cannot be read, or holds something else.
    """
    try:
        values = json.loads(Path(file).read_text("utf-8"))
        if not isinstance(values, list) or not values:
            raise ValueError("no list of examinations")
        return [Sliced.from_dict(v) for v in values]
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            f"{file}: expected what `mien evaluate --slices --json` prints ({error!r})"
        ) from error


def require_comparable(sliced: Sequence[Sliced]) -> None:
    """Refuse to lay figures side by side that come from different pictures.

    Raises:
        ValueError: they differ in more than the model.
    """
    grounds = {
        (
            *(s.data, s.split, s.pipeline, s.pose, s.sample, s.seed),
            *((f.name, f.unit, tuple((v.level, v.n) for v in f.levels)) for f in s.slices),
        )
        for s in sliced
    }
    if len(grounds) != 1:
        raise ValueError(f"expected figures of the same pictures, got {len(grounds)} kinds")


def format_sliced(sliced: Sequence[Sliced]) -> str:
    """Models side by side as a Markdown table.

    A model's cells: how many of 100 pictures are read rightly (95% interval); and where it can be
    uncertain, how many of 100 it answers, and how many of 100 answers are right. What is the same
    for every slice, the pictures as they are, stands in the first row alone.
    """
    require_comparable(sliced)
    first = sliced[0]
    heads = ["slice", "level"]
    if first.pipeline:
        heads.append("found")
    for s in sliced:
        heads.append(f"{s.model}: right")
        if s.uncertain_below:
            heads += ["answers", "right of them"]
    rows = [heads, ["---"] * len(heads)]
    plain = _plain(sliced)
    if plain:
        rows.append(_row("", plain, pipeline=first.pipeline, sliced=sliced))
    for i, figures in enumerate(first.slices):
        name = f"**{figures.name}**: {figures.unit}"
        for levels in zip(*(s.slices[i].levels for s in sliced), strict=True):
            if levels != plain:
                rows.append(_row(name, levels, pipeline=first.pipeline, sliced=sliced))
                name = ""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def draw_sliced(sliced: Sequence[Sliced], file: Path) -> None:
    """The same as small multiples, one for each slice (matplotlib)."""
    require_comparable(sliced)
    panels = [(f.name, f.unit, [level.level for level in f.levels]) for f in sliced[0].slices]
    models = {s.model: [_curves(s, figures) for figures in s.slices] for s in sliced}
    plots.slices_chart(panels, models, file)


def describe(sliced: Sequence[Sliced]) -> str:
    """What was examined on what, on one line."""
    first = sliced[0]
    counts = [level.n for level in first.slices[0].levels]
    n = sum(counts) if first.slices[0].unit == LIGHT_UNIT else counts[0]
    rows = "the whole pipeline" if first.pipeline else "face crops"
    split = "" if first.split == EVERY_SPLIT else f" {first.split}"
    pose = "" if first.pose == "all" else f", {first.pose} poses"
    drawn = f", drawn with seed {first.seed}" if first.sample else ""
    models = ", ".join(f"{s.model} v{s.version}" for s in sliced)
    view = {"single": "", "flip": ", with mirror images", "shifts": ", 18 views"}[first.views]
    return f"{models} on {first.data}{split}{pose}, n = {n:,}{drawn}, {rows}{view}. In per cent."


def _plain(sliced: Sequence[Sliced]) -> tuple[LevelFigures, ...]:
    """Each model's figures of the pictures as they are; empty where slices differ in them."""
    found = {
        levels
        for slices in zip(*(s.slices for s in sliced), strict=True)
        for levels in zip(*(figures.levels for figures in slices), strict=True)
        if levels[0].level == AS_IT_IS
    }
    return found.pop() if len(found) == 1 else ()


def _row(
    name: str, levels: Sequence[LevelFigures], *, pipeline: bool, sliced: Sequence[Sliced]
) -> list[str]:
    first = levels[0]
    cells = [name, first.level]
    if pipeline:
        cells.append(f"{100 * (first.n - first.missed) / first.n:.0f}")
    for s, level in zip(sliced, levels, strict=True):
        cells.append(_share(level.right, level.n))
        if s.uncertain_below:
            cells += [
                f"{100 * level.answered / level.n:.0f}",
                _share(level.answered_right, level.answered) if level.answered else "-",
            ]
    return cells


def _share(part: int, whole: int) -> str:
    """Per cent, with its interval."""
    low, high = accuracy_interval(part, whole)
    return f"{100 * part / whole:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def _curves(sliced: Sliced, figures: SliceFigures) -> dict[str, list[float]]:
    levels = figures.levels
    curves = {
        "right": [level.accuracy for level in levels],
        "low": [level.interval[0] for level in levels],
        "high": [level.interval[1] for level in levels],
    }
    if sliced.uncertain_below:
        curves["answered"] = [level.answered / level.n for level in levels]
        curves["answered_right"] = [
            level.answered_right / level.answered if level.answered else nan for level in levels
        ]
    return curves
