"""Third-party weights that the build has brought in (hatch_build.py). Imports errors only."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from mien.errors import ModelError

ASSETS: Final = Path(__file__).parent / "assets"


def read_weights(name: str) -> bytes:
    """The bytes of `assets/<name>`, after checking them against the hash written by the build.

    Raises:
        ModelError: missing or altered.
    """
    file, sums = ASSETS / name, ASSETS / "SHA256SUMS"
    if not file.is_file() or not sums.is_file():
        raise ModelError(
            f"{file}: these weights are missing. They come in when mien is installed: run "
            "`pip install .` (or `pip install -e .`) in the repository again"
        )
    data = file.read_bytes()
    rows = (line.split() for line in sums.read_text(encoding="utf-8").splitlines())
    expected = {member: digest for digest, member in rows}.get(name)
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise ModelError(
            f"{file}: altered or incomplete: expected SHA-256 {expected}, found {found}. "
            "Install mien again"
        )
    return data
