"""What came of an examination: its figures, as a record and as text. Imports datasets, metrics and
types.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from mien.datasets import EVERY_SPLIT
from mien.metrics import told_by_person
from mien.types import Pose


@dataclass(frozen=True)
class Evaluation:
    """What an examination found. Fractions are 0..1.

    Attributes:
        model, version, data, split, views: what was examined, and how.
        n: pictures examined.
        accuracy, accuracy_ci95: share of right answers, with its 95% interval (Wilson).
        macro_f1: mean F1 of the classes.
        per_class: for each class its `n`, `precision`, `recall` and `f1`.
        confusion: counts, row = true class, column = answer; where there is a column more than
            there are classes, it is of pictures in which no face was found.
        ece: expected calibration error (15 bins). nll: negative log-likelihood, nats. Both of
            the faces that were found; None where none was.
        answered, answered_accuracy: share of pictures with an answer that is not `uncertain`, and
            how often those answers are right, None where there are none. A face that was not found
            is not answered.
        deduplicated_n, deduplicated_accuracy: without pictures that stand, pixel for pixel,
            among the training rows; None when no training rows were given.
        missed: full pictures in which no face was found (they count as wrong).
        coverage: if only the surest tenth of the answers were given, two tenths, … all: for each
            the `coverage`, and the `accuracy` of those answers. Pictures without a face found
            come last.
        pipeline: whether full pictures went through the whole pipeline, or crops straight in.
        uncertain_below: the confidence below which the model calls itself uncertain.
        gated: whether faces that cannot be read (`FaceQuality.doubtful`) were `uncertain` too, as
            they are to users; not so in figures from before they were.
        pose: which faces of the full pictures count: `all`, seen from the `front`, or `turned`.
        expect: `balanced` where all classes were taken for equally likely.
        classes: `ferplus` where the answers and the truth are in FER+'s classes.
        by_person: where all pictures say whom they show, and some show the same, the number of
            `people` (of sessions, where a set's names say those) and `accuracy_ci95` for others
            like them: pictures of one person are no independent ones. Else empty.
        groups, group_gap: where groups were asked for (`mien.groups`), for each its `group`, `n`,
            `accuracy` and `accuracy_ci95`, with the number of `people` where that is over people;
            and of the `best` and the `worst` of them the `gap` with `gap_ci95`, empty where there
            are not two.
    """

    model: str
    version: str
    data: str
    split: str
    views: str
    n: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    macro_f1: float
    per_class: dict[str, dict[str, float]]
    confusion: list[list[int]]
    ece: float | None
    nll: float | None
    answered: float
    answered_accuracy: float | None
    coverage: list[dict[str, float]]
    deduplicated_n: int | None = None
    deduplicated_accuracy: float | None = None
    missed: int = 0
    pipeline: bool = False
    pose: Pose = "all"
    uncertain_below: float = 0.0
    gated: bool = False
    expect: str = ""
    classes: str = ""
    by_person: dict[str, Any] = field(default_factory=dict)
    groups: list[dict[str, Any]] = field(default_factory=list)
    group_gap: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The evaluation as plain JSON types."""
        return {**asdict(self), "accuracy_ci95": list(self.accuracy_ci95)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Evaluation:
        """Read back what `to_dict` gave."""
        low, high = values["accuracy_ci95"]
        return cls(**{**values, "accuracy_ci95": (low, high)})


def figure(value: float | None, how: str) -> str:
    """A figure as text in a format; `-` where there is none."""
    return "-" if value is None else format(value, how)


def format_evaluation(evaluation: Evaluation) -> str:
    """The evaluation as text for a terminal."""
    e = evaluation
    low, high = e.accuracy_ci95
    people = told_by_person(e.by_person)
    lines = [
        f"{e.model} v{e.version} on {_examined(e)}, n = {e.n:,}, {e.views} view"
        + (", all classes taken for equally likely" if e.expect else ""),
        "",
        f"accuracy              {e.accuracy:7.2%}   95% interval {low:.2%} to {high:.2%}",
        *([f"{'':32}{people}"] if people else []),
        f"macro F1              {e.macro_f1:7.3f}",
        f"calibration error     {figure(e.ece, '7.3f')}   negative log-likelihood "
        f"{figure(e.nll, '.3f')}",
        f"answers given         {e.answered:7.2%}   of which right "
        f"{figure(e.answered_accuracy, '.2%')}",
    ]
    if e.deduplicated_accuracy is not None:
        lines.append(
            f"deduplicated          {e.deduplicated_accuracy:7.2%}   n = {e.deduplicated_n:,}, "
            "without pictures that stand in the training rows"
        )
    if e.missed:
        lines.append(f"no face found         {e.missed:7,}   (counted as wrong)")
    names = list(e.per_class)
    wide = max([10, *(len(name) + 1 for name in names)])
    lines += [
        "",
        f"{'':{wide}}{'n':>6}{'precision':>11}{'recall':>8}{'F1':>7}   answered as",
    ]
    columns = [*names, "none"][: len(e.confusion[0])]
    lines.append(" " * (wide + 35) + "".join(f"{name[:5]:>6}" for name in columns))
    for name, row in zip(names, e.confusion, strict=True):
        c = e.per_class[name]
        lines.append(
            f"{name:{wide}}{int(c['n']):6,}{c['precision']:11.3f}{c['recall']:8.3f}{c['f1']:7.3f}"
            + "   "
            + "".join(f"{count:6}" for count in row)
        )
    return "\n".join([*lines, *_by_group(e)])


def _by_group(e: Evaluation) -> list[str]:
    """Lines on the groups, where they were asked for."""
    if not e.groups:
        return []
    wide = max(len("by group"), *(len(row["group"]) for row in e.groups))
    lines = ["", f"{'by group':{wide}}{'n':>8}   right   95% interval"]
    for row in e.groups:
        low, high = row["accuracy_ci95"]
        lines.append(
            f"{row['group']:{wide}}{row['n']:8,}{row['accuracy']:8.2%}   {low:.2%} to {high:.2%}"
            + (f", over {row['people']:,} people" if "people" in row else "")
        )
    if e.group_gap:
        low, high = (100 * end for end in e.group_gap["gap_ci95"])
        lines.append(
            f"widest gap: {100 * e.group_gap['gap']:.1f} points between {e.group_gap['best']} and "
            f"{e.group_gap['worst']}, 95% interval {low:.1f} to {high:.1f}"
            + (", which may be chance" if low <= 0 else "")
        )
    return lines


def _examined(e: Evaluation) -> str:
    if not e.pipeline:
        return f"{e.data}, {e.split}" + (", FER+ labels" if e.classes else "")
    split = "" if e.split == EVERY_SPLIT else f", {e.split}"
    return f"{e.data}{split}, {e.pose} poses, whole pipeline"
