"""Write licenses/THIRD_PARTY.md: the licences of all that ships with mien or is installed with it.

    python scripts/write_licenses.py

The weights are those of third_party.py and models/registry.json; the packages are those of
requirements.lock, whose licences are read out of their wheels. Needs pip and a package registry;
imports from mien the models.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
LOCK = REPOSITORY / "requirements.lock"
METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
TARGET = REPOSITORY / "licenses" / "THIRD_PARTY.md"


def third_party() -> ModuleType:
    """The repository's third_party.py."""
    spec = importlib.util.spec_from_file_location("third_party", REPOSITORY / "third_party.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shipped_models() -> list[dict[str, Any]]:
    """The registry's rows of the models that go into the wheel."""
    registry = json.loads((REPOSITORY / "models" / "registry.json").read_text(encoding="utf-8"))
    return [row for row in registry if row["wheel"]]


class Own(NamedTuple):
    """Weights of the package that mien made.

    Attributes:
        name, sha256: of the file in `src/mien/`.
        title: what they are.
        source: what they were made by.
        terms: their licence.
    """

    name: str
    sha256: str
    title: str
    source: str
    terms: str


def own_weights() -> list[Own]:
    """The weights that lie in the package itself."""
    known = {
        "centerface-int8.onnx": (
            "CenterFace weights of 8 bits, for searching videos",
            "scripts/quantize_detector.py",
            "MIT (the original's)",
        ),
        "cover.onnx": ("sees covered faces", "scripts/train_cover.py", "MIT (mien's)"),
    }
    sums = (REPOSITORY / "src" / "mien" / "SHA256SUMS").read_text(encoding="utf-8")
    rows = (line.split() for line in sums.splitlines())
    return [Own(name, digest, *known[name]) for digest, name in rows]


def weights() -> Iterator[str]:
    """What ships in the wheel, as Markdown."""
    from mien.classifier import ExpressionClassifier
    from mien.models import find_model
    from mien.temporal import TemporalModel

    yield "| file | what it is | where it comes from | SHA-256 | licence |"
    yield "|---|---|---|---|---|"
    for asset in third_party().ASSETS:
        yield (
            f"| `mien/assets/{asset.name}` | {asset.title}, {asset.home} | `{asset.member}` in "
            f"`{asset.package}` | `{asset.sha256}` (of that file) | {asset.terms} |"
        )
    for own in own_weights():
        yield (
            f"| `mien/{own.name}` | {own.title} | made by `{own.source}` | `{own.sha256}` | "
            f"{own.terms} |"
        )
    for row in shipped_models():
        entry = find_model(row["name"])
        spec = TemporalModel(entry).spec if entry.continues else None
        licence = (spec or ExpressionClassifier(row["name"]).spec).licence
        yield (
            f"| `mien/shipped_models/{row['file']}` | mien's own model | trained by mien: "
            f"`models/{row['name']}.md` | `{row['sha256']}` | {licence} |"
        )
    yield (
        "| `mien/cli/portrait.jpg` | NASA's portrait of Eileen Collins | `licenses/portrait.txt` | "
        "see there | public domain |"
    )


class Pin(NamedTuple):
    """A version of a package in requirements.lock.

    Attributes:
        name, version: which.
        hashes: pip's options with the hashes of its files.
        condition: where it holds; empty for everywhere.
    """

    name: str
    version: str
    hashes: str
    condition: str


def locked() -> list[Pin]:
    """All versions in requirements.lock. A package's may depend on the Python."""
    text = LOCK.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^([\w.-]+)==(\S+)(?: ; ([^-]*?))?((?:\s+--hash=\S+)+)", text, re.M)
    return [
        Pin(name, version, hashes.strip(), condition.strip())
        for name, version, condition, hashes in lines
    ]


def packages() -> Iterator[str]:
    """What is installed with mien, as Markdown."""
    yield "| package | version | licence, by its own metadata |"
    yield "|---|---|---|"
    for pin in locked():
        where = f" (where `{pin.condition}`)" if pin.condition else ""
        yield f"| {pin.name} | {pin.version}{where} | {licence_of(pin)} |"


def licence_of(pin: Pin) -> str:
    """The licence of one pinned package, which pip checks against its hashes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pin.txt"
        file.write_text(f"{pin.name}=={pin.version} {pin.hashes}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--ignore-requires-python", "--require-hashes"]
        command += ["--python-version", "3.13" if ">=" in pin.condition else "3.11"]
        done = subprocess.run(
            [*command, "--dest", folder, "-r", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"pip could not download {pin.name} {pin.version}:\n{done.stderr.strip()}")
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (each for each in archive.namelist() if METADATA.fullmatch(each))
            return stated(message_from_bytes(archive.read(name)))


def stated(metadata: Message) -> str:
    """What a package's metadata say of its licence: an expression, a word, or classifiers."""
    words = str(metadata["License-Expression"] or metadata["License"] or "").strip()
    if not words or "\n" in words or len(words) > 60:  # some put the whole text there
        classes = metadata.get_all("Classifier", [])
        licences = [each for each in classes if each.startswith("License ::")]
        words = ", ".join(each.rpartition(" :: ")[2] for each in licences)
    return words or "not stated"


def page(package_rows: Iterator[str]) -> str:
    """The whole file."""
    return "\n".join(
        [
            "# What ships with mien, and what is installed with it",
            "",
            "Written by `python scripts/write_licenses.py`. mien itself is under the MIT licence "
            "(`LICENSE`).",
            "",
            "## In the wheel",
            "",
            *weights(),
            "",
            "The licences' texts lie beside the weights (`mien/assets/*-LICENSE.txt`) and in this "
            "folder. The",
            "build adapts the three: it frees the detector's size, and turns the other two into "
            "ONNX.",
            "",
            "## Installed with it",
            "",
            "By `requirements.lock`, with the extra `server`. Wheels hold compiled libraries too, "
            "whose licences",
            "they bring along: PyAV's, for one, holds FFmpeg (LGPL 3 or later, by its own word) "
            "built with x264 and",
            "x265, which are under the GPL 2 or later where nobody has bought another licence. "
            "Whoever passes on an",
            "installation, and not only mien, has to keep to theirs.",
            "",
            *package_rows,
            "",
        ]
    )


def main() -> None:
    """Write the file."""
    TARGET.write_text(page(packages()), encoding="utf-8")
    print(TARGET.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
