"""Exit codes, the one way to speak to the user beside results, and what is not installed."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.util import find_spec
from typing import Final

from mien.errors import ConfigError
from mien.wording import printable

GOOD: Final = 0
DEFECT: Final = 1  # ours: Python's own code for an uncaught exception
UNUSABLE: Final = 2  # wrong use, or no input that could be used
PARTLY: Final = 3  # some of many inputs failed (listed in failures.jsonl)
INTERRUPTED: Final = 130  # what a shell expects after Ctrl-C


#: What the extra `train` brings along, by the names under which it is imported.
_TRAINING: Final = (
    "torch", "torchvision", "lightning_fabric", "onnx", "onnxscript", "tensorboard", "matplotlib"
)  # fmt: skip


def say(text: str) -> None:
    """A text on stderr, names in it as a terminal may show them. Where nobody reads that any more,
    the work goes on without a word.
    """
    with suppress(OSError):
        print(printable(text, lines=True), file=sys.stderr, flush=True)


def remark(*texts: str) -> None:
    """Lines on stderr that nobody asked for, on what to know; none for empty ones."""
    for text in filter(None, texts):
        say(f"mien: {text}")


def require_extra(extra: str, *packages: str) -> None:
    """Refuse politely where an optional part of mien is not installed.

    Raises:
        ConfigError: one of the packages is missing.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"this needs {', '.join(missing)}, which mien's runtime does without: "
            f"pip install 'mien[{extra}]'"
        )


def require_training() -> None:
    """As `require_extra`, for verbs that train, or make models out of models."""
    require_extra("train", *_TRAINING)
