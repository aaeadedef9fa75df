"""Whether a model is equally good for everybody: its accuracy by group. Imports evaluate, metrics
and errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import comb
from pathlib import PurePath

import numpy as np

from mien.errors import DatasetError
from mien.evaluate import Answers, Evaluation
from mien.metrics import accuracy_interval, share_difference


def by_group(evaluation: Evaluation, answers: Answers, group_of: Mapping[str, str]) -> Evaluation:
    """The evaluation with its accuracy by group.

    Args:
        evaluation: the figures.
        answers: the single answers behind them.
        group_of: whom each picture shows, by its path, the last parts of that, or its name, with
            or without suffix. Where several fit, the longest counts. Other pictures count in no
            group.

    Raises:
        DatasetError: no picture belongs to a group.
    """
    groups = np.array([_look_up(name, group_of) for name in answers.names])
    right: dict[str, tuple[int, int]] = {}
    for group in sorted({*groups} - {""}):
        mine = answers.correct[groups == group]
        right[str(group)] = int(mine.sum()), len(mine)
    if not right:
        raise DatasetError(
            f"groups: none of the {len(answers):,} pictures is named in the table, such as "
            f"{answers.names[0]}. Name them by their path, its last parts, or the file's name"
        )
    rows = [
        {"group": group, "n": n, "accuracy": k / n, "accuracy_ci95": list(accuracy_interval(k, n))}
        for group, (k, n) in right.items()
    ]
    if len(right) < 2:
        return replace(evaluation, groups=rows)
    worst, *_, best = sorted(right, key=lambda group: right[group][0] / right[group][1])
    gap, low, high = share_difference(right[best], right[worst], comparisons=comb(len(right), 2))
    widest = {"best": best, "worst": worst, "gap": gap, "gap_ci95": [low, high]}
    return replace(evaluation, groups=rows, group_gap=widest)


def _look_up(name: str, group_of: Mapping[str, str]) -> str:
    """The group of a picture; empty where there is none."""
    parts = PurePath(name).parts
    for start in range(len(parts)):
        tail = PurePath(*parts[start:])
        for known in (tail.as_posix(), tail.with_suffix("").as_posix()):
            if known in group_of:
                return group_of[known]
    return ""
