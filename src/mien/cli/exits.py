"""Exit codes, and the one way to speak to the user beside results. Imports nothing of mien's."""

from __future__ import annotations

import sys
from typing import Final

GOOD: Final = 0
DEFECT: Final = 1  # ours: Python's own code for an uncaught exception
UNUSABLE: Final = 2  # wrong use, or no input that could be used
PARTLY: Final = 3  # some of many inputs failed (listed in failures.jsonl)
INTERRUPTED: Final = 130  # what a shell expects after Ctrl-C


def say(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)
