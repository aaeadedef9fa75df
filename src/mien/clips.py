"""Examine a model on labelled videos, as its users read videos: through the whole pipeline and over
time. May import whatever the pipeline may.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mien.datasets import LabelledClip
from mien.errors import DatasetError, SourceError
from mien.events import dominant_expression
from mien.metrics import accuracy_interval, by_person, told_by_person
from mien.pipeline import Analyzer
from mien.types import EXPRESSIONS, Views
from mien.wording import printable


@dataclass(frozen=True)
class ClipAnswer:
    """What was read of one clip.

    Attributes:
        clip: its file, as seen from the folder.
        truth: the expression that its name or folder says.
        answer: the dominant expression (see `mien.events.dominant_expression`); None where no face
            that can be read was found, which counts as wrong.
        error: why it could not be read to its end, so that it does not count; else empty.
    """

    clip: str
    truth: str
    answer: str | None
    error: str = ""


@dataclass(frozen=True)
class ClipEvaluation:
    """What an examination on clips found.

    Attributes:
        model, version, temporal: what was examined: the expression model, and the temporal model
            that reads its answers over time, empty where there is none.
        data, views: on what, and how often each crop was looked at.
        expect: `balanced` where all classes were taken for equally likely.
        n, right: clips that count, and those read rightly.
        clips: all of them, in their order.
        by_person: as of `mien.evaluate.Evaluation`, where the names of all clips that count say
            whom they show.
    """

    model: str
    version: str
    temporal: str
    data: str
    views: str
    expect: str
    n: int
    right: int
    clips: list[ClipAnswer]
    by_person: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with `accuracy`, 0..1, and `accuracy_ci95` (Wilson)."""
        interval = list(accuracy_interval(self.right, self.n))
        return {**asdict(self), "accuracy": self.right / self.n, "accuracy_ci95": interval}


def examine_clips(
    analyzer: Analyzer,
    clips: Sequence[LabelledClip],
    folder: Path,
    *,
    views: Views = "single",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ClipEvaluation:
    """Show labelled clips of one person each to the whole pipeline.

    Args:
        analyzer: the pipeline, whose model answers in the classes of the labels.
        clips: files and their labels.
        folder: where they lie.
        views: what the analyzer was told about how often to look at each crop.
        progress: called with the number of clips done and their total.

    Raises:
        DatasetError: not one clip could be read.
    """
    answers = []
    for i, clip in enumerate(clips):
        progress(i, len(clips))
        answer, error = None, ""
        try:
            answer = dominant_expression(analyzer.stream(clip.path))
        except SourceError as broken:
            error = str(broken)
        name = str(clip.path.relative_to(folder))
        answers.append(ClipAnswer(name, EXPRESSIONS[clip.label], answer, error))
    read = [
        (answer, clip.group)
        for answer, clip in zip(answers, clips, strict=True)
        if not answer.error
    ]
    if not read:
        raise DatasetError(f"{folder}: no clip could be read. The first: {answers[0].error}")
    right = np.array([answer.answer == answer.truth for answer, _ in read])
    spec = analyzer.classifier.spec
    return ClipEvaluation(
        model=spec.name,
        version=spec.version,
        temporal=analyzer.temporal.spec.name if analyzer.temporal else "",
        data=folder.resolve().name,
        views=views,
        expect="balanced" if analyzer.balanced else "",
        n=len(read),
        right=int(right.sum()),
        clips=answers,
        by_person=by_person(right, [person for _, person in read]),
    )


def format_clips(evaluation: ClipEvaluation) -> str:
    """The examination as text for a terminal: a table of the clips, and how many were right."""
    e = evaluation
    low, high = accuracy_interval(e.right, e.n)
    wide = max(len("clip"), *(len(clip.clip) for clip in e.clips))
    lines = [
        f"{e.model} v{e.version} on {e.data}, clips, whole pipeline, n = {e.n:,}, {e.views} view"
        + (", all classes taken for equally likely" if e.expect else ""),
        "",
        f"{'clip':{wide}}  {'truth':8}  answer",
    ]
    for clip in e.clips:
        answer = "cannot be read" if clip.error else clip.answer or "no face that can be read"
        wrong = not clip.error and clip.answer != clip.truth
        said = f"{clip.clip:{wide}}  {clip.truth:8}  {answer}{' (wrong)' if wrong else ''}"
        lines.append(printable(said))
    lines += [
        "",
        f"accuracy  {e.right / e.n:.2%}   {e.right:,} of {e.n:,}, 95% interval {low:.2%} to "
        f"{high:.2%}",
    ]
    if people := told_by_person(e.by_person):
        lines.append(f"{'':10}{people}")
    return "\n".join(lines)
