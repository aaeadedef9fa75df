"""Whether a model is equally good for everybody: its accuracy by group. Imports errors, evaluate,
metrics and wording.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import compress
from math import comb
from pathlib import PurePath

import numpy as np

from mien.errors import DatasetError
from mien.evaluate import Answers, Evaluation
from mien.metrics import (
    accuracy_interval,
    by_person,
    interval_over_people,
    joint_quantile,
    share_difference,
    share_interval,
    shown_again,
)
from mien.wording import one_form


def by_group(evaluation: Evaluation, answers: Answers, group_of: Mapping[str, str]) -> Evaluation:
    """The evaluation with its accuracy by group.

    Where all pictures of a group say whom they show, and some show the same, its intervals are
    those over people.

    Args:
        evaluation: the figures.
        answers: the single answers behind them.
        group_of: whom each picture shows, by its path, the last parts of that, or its name, with
            or without suffix. Where several fit, the longest counts. Other pictures count in no
            group.

    Raises:
        DatasetError: no picture belongs to a group.
    """
    group_of = {one_form(name): group for name, group in group_of.items()}
    groups = np.array([_look_up(name, group_of) for name in answers.names])
    own = {str(group): groups == group for group in sorted({*groups} - {""})}
    if not own:
        raise DatasetError(
            f"groups: none of the {len(answers):,} pictures is named in the table, such as "
            f"{answers.names[0]}. Name them by their path, its last parts, or the file's name"
        )
    z = joint_quantile(comb(len(own), 2) or 1)
    rows, shares = [], {}
    for group, mine in own.items():
        correct, people = answers.correct[mine], list(compress(answers.groups, mine))
        k, n = int(correct.sum()), len(correct)
        said = {"accuracy_ci95": list(accuracy_interval(k, n)), **by_person(correct, people)}
        rows.append({"group": group, "n": n, "accuracy": k / n, **said})
        if shown_again(people):
            ends = interval_over_people(correct, people, z)
        else:
            ends = share_interval(k / n, n, z)
        shares[group] = (k / n, *ends)
    if len(own) < 2:
        return replace(evaluation, groups=rows)
    worst, *_, best = sorted(shares, key=lambda group: shares[group][0])
    gap, low, high = share_difference(shares[best], shares[worst])
    widest = {"best": best, "worst": worst, "gap": gap, "gap_ci95": [low, high]}
    return replace(evaluation, groups=rows, group_gap=widest)


def _look_up(name: str, group_of: Mapping[str, str]) -> str:
    """The group of a picture; empty where there is none."""
    parts = PurePath(one_form(name)).parts
    for start in range(len(parts)):
        tail = PurePath(*parts[start:])
        for known in (tail.as_posix(), tail.with_suffix("").as_posix()):
            if known in group_of:
                return group_of[known]
    return ""
