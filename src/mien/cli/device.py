"""Options that say on what a verb computes: those of every verb that trains, and of those that only
use networks.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mien.cli.exits import say

if TYPE_CHECKING:
    from mien.pipeline import Analyzer


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Declare `--threads` and `--precision`."""
    add = parser.add_argument
    add("--threads", type=int, metavar="N", help="CPU threads (all cores)")
    add(
        "--precision",
        default="auto",
        choices=("auto", "32-true", "bf16-mixed", "16-mixed"),
        help="auto: bfloat16 where the device computes in it",
    )


def add_inference_device(parser: argparse.ArgumentParser) -> None:
    """Declare `--device`."""
    parser.add_argument(
        "--device",
        default="cpu",
        metavar="NAME",
        help="on what networks compute: cpu (default), cuda, cuda:1, openvino, openvino:gpu, "
        "coreml, or auto: cuda where it works, else cpu",
    )


def say_chosen(options: argparse.Namespace, analyzer: Analyzer) -> None:
    """Say what `--device auto` has come to."""
    if options.device == "auto":
        say(f"mien: computes on {analyzer.device}")
