"""Weights that mien cannot do without, checked before they are used. Imports errors only.

Third-party ones are brought into `assets/` by the build (hatch_build.py); mien's own lie in the
package. In both places `SHA256SUMS` beside them says what they must be.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from mien.errors import ModelError

PACKAGE: Final = Path(__file__).parent
ASSETS: Final = PACKAGE / "assets"
SUMS: Final = "SHA256SUMS"


def read_weights(name: str, folder: Path | None = None) -> bytes:
    """The bytes of a file with weights, after checking them against the hash that stands beside it.

    Args:
        name: of the file.
        folder: where it lies; None for `ASSETS`.

    Raises:
        ModelError: missing or altered.
    """
    folder = folder or ASSETS
    file, sums = folder / name, folder / SUMS
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
