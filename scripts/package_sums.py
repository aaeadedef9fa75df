"""Keeps the hashes of mien's own weights in the package: src/mien/SHA256SUMS."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mien.weights import PACKAGE, SUMS


def record(file: Path) -> None:
    """Write down what a file in the package is now; files elsewhere are nobody's business."""
    sums = PACKAGE / SUMS
    if file.resolve().parent != PACKAGE.resolve():
        return
    rows = dict(line.split()[::-1] for line in sums.read_text(encoding="utf-8").splitlines())
    rows[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    lines = [f"{digest}  {name}\n" for name, digest in sorted(rows.items())]
    sums.write_text("".join(lines), encoding="utf-8")
