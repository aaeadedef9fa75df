"""What a face shows: `ExpressionClassifier` turns crops into calibrated probabilities.

May import numpy, and from mien: errors, types, preprocess, metrics, models, inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.inference import Network
from mien.metrics import softmax
from mien.models import ModelSpec, find_model
from mien.preprocess import network_input, resize_crop, to_gray
from mien.types import Float32Array, UInt8Array

_BATCH = 64  # crops per run: enough to fill the caches, little enough to hold them


@dataclass(frozen=True)
class Predictions:
    """The answers for N crops, as arrays.

    Attributes:
        probs: calibrated probabilities `float64 (N, 7)`; each row sums to 1.
        logits: the network's raw answers `float32 (N, 7)`.
        embeddings: `float32 (N, D)`, the features behind the answer.
        uncertain: `bool (N,)`, True where the confidence is below the model's threshold.
        labels: the classes, in the order of the columns.
    """

    probs: npt.NDArray[np.float64]
    logits: Float32Array
    embeddings: Float32Array
    uncertain: npt.NDArray[np.bool_]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.probs)

    @property
    def expressions(self) -> list[str]:
        """The most probable class of each crop."""
        return [self.labels[i] for i in self.probs.argmax(1)]


class ExpressionClassifier:
    """Classifies face crops with one exported model.

    Args:
        model: name of a model that comes with mien, or the path of an ONNX file made by
            `mien export`; None for the default model.
        threads: CPU threads.

    Raises:
        ModelError: no such model, a wrong hash, or not a mien model.
    """

    def __init__(self, model: str | Path | None = None, *, threads: int = 1) -> None:
        entry = find_model(model)
        self._network = Network(entry.read(), str(entry.path), threads=threads)
        self.spec = ModelSpec.from_metadata(self._network.metadata, str(entry.path))

    def predict(
        self, crops: UInt8Array | Sequence[UInt8Array], *, tta: bool = False
    ) -> Predictions:
        """Classify face crops, in batches.

        Args:
            crops: `uint8 (N, S, S)`, or a sequence of grey `(H, W)` or RGB `(H, W, 3)` crops of
                any size. A crop shows one upright face that fills it.
            tta: also look at the mirror image and average the logits (twice the work).

        Returns:
            One answer per crop, in order. The same crop gets the same answer in any batch.
        """
        size = self.spec.input_px
        small = [resize_crop(to_gray(np.asarray(crop)), size) for crop in crops]
        if not small:
            return self._predictions(np.zeros((0, 7), np.float32), np.zeros((0, 0), np.float32))
        logits, embeddings = [], []
        for start in range(0, len(small), _BATCH):
            batch = np.stack(small[start : start + _BATCH])
            answer, features = self._run(batch)
            if tta:
                mirrored, mirrored_features = self._run(np.ascontiguousarray(batch[:, :, ::-1]))
                answer = np.float32(0.5) * (answer + mirrored)
                features = np.float32(0.5) * (features + mirrored_features)
            logits.append(answer)
            embeddings.append(features)
        return self._predictions(np.concatenate(logits), np.concatenate(embeddings))

    def _run(self, crops: UInt8Array) -> tuple[Float32Array, Float32Array]:
        spec = self.spec
        pixels = network_input(
            crops, normalization=spec.normalization, mean=spec.mean, std=spec.std
        )
        logits, embedding = self._network.run(pixels, ["logits", "embedding"])
        return logits, embedding

    def _predictions(self, logits: Float32Array, embeddings: Float32Array) -> Predictions:
        probs = softmax(logits, self.spec.temperature) if len(logits) else logits.astype(float)
        confidence = probs.max(1, initial=0.0)
        return Predictions(
            probs,
            logits,
            embeddings,
            confidence < self.spec.uncertain_below,
            self.spec.labels,
        )
