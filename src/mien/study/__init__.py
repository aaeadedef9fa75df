"""A study: variants of one recipe, trained alike and examined alike, in one table.

A question such as "does attention help?" is a TOML file in recipes/studies/, and its answer the
table that one command makes of it. `plan.py` reads the question, `bench.py` runs it, and
`result.py` tells the answer; only `bench.py` needs torch, and is imported by who runs a study.
"""

from mien.study.plan import Study, Variant, load_study
from mien.study.result import StudyResult, Trial, format_study, read_result

__all__ = [
    "Study",
    "StudyResult",
    "Trial",
    "Variant",
    "format_study",
    "load_study",
    "read_result",
]
