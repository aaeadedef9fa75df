"""Options of every verb that trains: on what, and how precisely."""

from __future__ import annotations

import argparse


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
