"""`python -m mien.cli` is the `mien` command."""

from mien.cli import run

run()
