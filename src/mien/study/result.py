"""What came of a study, and its table. Imports errors, evaluate, metrics and slices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.errors import ConfigError
from mien.evaluate import Evaluation
from mien.metrics import paired_difference, warned_of_people
from mien.slices import AS_IT_IS, Sliced


@dataclass(frozen=True)
class Trial:
    """One finished run.

    Attributes:
        variant, seed: which.
        epochs, parameters: of the run.
        macs: multiply-accumulates for one crop at the model's own size.
        trained_tmac: those of the whole training, forward and backward, in units of 10^12: what it
            cost whatever the machine did beside it.
        core_hours: processor time that it took here.
        evaluations: `single`, `flip`, then `pictures`, seen from the front.
        correct: which watched rows were read rightly with the mirror image, `0` or `1` each.
        sliced: some of them degraded, with one view; None where the study does not ask for it.
        failure: why it could not be finished, and then there are no figures; empty otherwise.
    """

    variant: str
    seed: int
    epochs: int = 0
    parameters: int = 0
    macs: int = 0
    trained_tmac: float = 0.0
    core_hours: float = 0.0
    evaluations: tuple[Evaluation, ...] = ()
    correct: str = ""
    failure: str = ""
    sliced: Sliced | None = None

    @property
    def single(self) -> Evaluation:
        """On the watched rows, with one view."""
        return self.evaluations[0]

    @property
    def flip(self) -> Evaluation:
        """The same with the mirror image."""
        return self.evaluations[1]

    @property
    def pictures(self) -> tuple[Evaluation, ...]:
        """On each set of full pictures."""
        return self.evaluations[2:]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        values = {**asdict(self), "evaluations": [e.to_dict() for e in self.evaluations]}
        del values["sliced"]
        return values | ({"sliced": self.sliced.to_dict()} if self.sliced else {})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Trial:
        """Read back what `to_dict` gave."""
        evaluations = tuple(Evaluation.from_dict(e) for e in values["evaluations"])
        sliced = Sliced.from_dict(values["sliced"]) if "sliced" in values else None
        return cls(**{**values, "evaluations": evaluations, "sliced": sliced})


@dataclass(frozen=True)
class StudyResult:
    """A study's title, its reference variant, and what came of its trials."""

    name: str
    question: str
    trials: tuple[Trial, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "name": self.name,
            "question": self.question,
            "trials": [trial.to_dict() for trial in self.trials],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StudyResult:
        """Read back what `to_dict` gave."""
        trials = tuple(Trial.from_dict(trial) for trial in values["trials"])
        return cls(values["name"], values["question"], trials)


def read_result(path: str | Path) -> StudyResult:
    """Read a finished study's `study.json`.

    Raises:
        ConfigError: no such file, or not one of a study.
    """
    try:
        return StudyResult.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Check the path") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: not the study.json of `mien study` ({error!r})") from error


def format_study(result: StudyResult) -> str:
    """The study as Markdown. Means over seeds; differences are paired, row by row."""
    variants = list(dict.fromkeys(trial.variant for trial in result.trials))
    every = {v: [t for t in result.trials if t.variant == v] for v in variants}
    groups = {v: [t for t in trials if not t.failure] for v, trials in every.items()}
    first = next((trial for trial in result.trials if not trial.failure), None)
    if first is None:
        return f"{result.question}\n\nEvery variant failed: the loss became infinite."
    sets = [e.data for e in first.pictures]
    seeds = len({trial.seed for trial in result.trials})
    rare = _rarest(first.flip)
    heads = [
        "variant",
        first.flip.split,
        *(["of each seed"] if seeds > 1 else []),
        f"against {variants[0]}",
        "macro F1",
        f"recall of {rare}",
        *(f"{name}, front" for name in sets),
        "epochs",
        "M weights",
        "TMAC",
        "core-hours",
    ]
    lines = [result.question, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name in variants:
        trials = groups[name]
        if not trials:
            lines.append(f"| {name} | failed: the loss became infinite |")
            continue
        flips = [trial.flip for trial in trials]
        cells = [name, f"{fmean(e.accuracy for e in flips):.1%}"]
        if seeds > 1:
            cells.append(
                ", ".join("failed" if t.failure else f"{t.flip.accuracy:.1%}" for t in every[name])
            )
        cells += [
            "" if name == variants[0] else _difference(groups[variants[0]], trials),
            f"{fmean(e.macro_f1 for e in flips):.3f}",
            f"{fmean(e.per_class[rare]['recall'] for e in flips):.1%}",
            *(
                f"{fmean(trial.pictures[i].accuracy for trial in trials):.1%}"
                for i in range(len(sets))
            ),
            f"{trials[0].epochs}",
            f"{trials[0].parameters / 1e6:.1f}",
            f"{fmean(trial.trained_tmac for trial in trials):.0f}",
            f"{fmean(trial.core_hours for trial in trials):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"{first.flip.split} (n = {first.flip.n:,}) with the mirror image; "
        f"{', '.join(sets) or 'no pictures'} with one view; "
        f"{seeds} seed{'s' if seeds > 1 else ''} each. Differences in points with their "
        "95% interval over the rows: it does not cover what another seed would change.",
        *(["", f"{warned_of_people(shown['people'])}."] if (shown := first.flip.by_person) else []),
        *_degraded(groups),
    ]
    return "\n".join(lines)


def _degraded(groups: Mapping[str, Sequence[Trial]]) -> list[str]:
    """Lines on degraded rows, where the study asks for them."""
    shown = {name: [t.sliced for t in trials if t.sliced] for name, trials in groups.items()}
    first = next((sliced for group in shown.values() for sliced in group), None)
    if first is None:
        return []
    ways = [figures.name for figures in first.slices]
    lines = ["", f"| variant | {AS_IT_IS} | {' | '.join(ways)} |", "|---" * (len(ways) + 2) + "|"]
    for name, group in shown.items():
        if group:
            plain = fmean(s.slices[0].level(AS_IT_IS).accuracy for s in group)
            cells = [
                fmean(v.accuracy for s in group for v in s.slices[i].levels if v.level != AS_IT_IS)
                for i in range(len(ways))
            ]
            lines.append(f"| {name} | {' | '.join(f'{cell:.1%}' for cell in [plain, *cells])} |")
    n = first.slices[0].level(AS_IT_IS).n
    return [
        *lines,
        "",
        f"{n:,} of those rows ({first.split}), the same for all variants, with one view: as they "
        "are, and made worse in nine ways (docs/robustness.md), the mean over the amounts of each.",
    ]


def _rarest(evaluation: Evaluation) -> str:
    """The class that fewest of the rows show, of those that any does."""
    counts = {name: row["n"] for name, row in evaluation.per_class.items() if row["n"]}
    return min(counts, key=lambda name: counts[name])


def _difference(reference: Sequence[Trial], trials: Sequence[Trial]) -> str:
    shared = {trial.seed for trial in reference} & {trial.seed for trial in trials}
    if not shared:
        return "no seed in common"
    first, second = (
        np.mean([_bits(trial.correct) for trial in group if trial.seed in shared], axis=0)
        for group in (reference, trials)
    )
    mean, low, high = (100 * value for value in paired_difference(first, second))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def _bits(text: str) -> npt.NDArray[np.float64]:
    return np.array([int(digit) for digit in text], np.float64)
