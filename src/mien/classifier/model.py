"""One exported model, or a fusion of several, that classifies crops.

Imports numpy, errors, types, preprocess, metrics, models, inference, and its siblings.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from mien.classifier.looks import LOOKS, Look, seen
from mien.classifier.predictions import Predictions, are_uncertain, mean_vote
from mien.errors import ModelError
from mien.inference import Network
from mien.metrics import log_softmax, softmax
from mien.models import ModelSpec, find_member, find_model
from mien.preprocess import (
    BACKGROUNDS,
    ILLUMINATIONS,
    NORMALIZATIONS,
    network_input,
    resize_crop,
    to_gray,
)
from mien.types import FERPLUS_EXPRESSIONS, Float32Array, UInt8Array, Views, require_one_of

_BATCH = 64  # crops per run: enough to fill the caches, little enough to hold them
_COVER = 0.45  # of `evidence`: side of the square that covers a place, in sides of the crop
_PLACES = 9  # along each side of the crop
#: How crops may be prepared.
_WAYS: Final = {
    "normalization": NORMALIZATIONS,
    "illumination": ILLUMINATIONS,
    "background": BACKGROUNDS,
}


class ExpressionClassifier:
    """Classifies face crops with one exported model, or with a fusion of several.

    Args:
        model: name of a model that comes with mien, or the path of an ONNX file made by
            `mien export` or `mien fuse`; None for the default model.
        threads: CPU threads.
        classes: `ferplus` for the eight classes of FER+ (with contempt), as people's votes would
            fall on them; empty for the model's own.
        device: on what to compute, as of `mien.Analyzer`.

    Attributes:
        entry: the file.
        spec: what it says about itself; with `classes`, about those answers.
        device: on what it computes; of `auto`, what was chosen.

    Raises:
        ModelError: no such model, a wrong hash, or not a mien model; a fusion's member is missing;
            a model that does not know the classes.
        ConfigError: the device cannot be used.
        ValueError: other classes than these two.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        threads: int = 1,
        classes: Literal["", "ferplus"] = "",
        device: str = "cpu",
    ) -> None:
        require_one_of("classes", classes, ("", "ferplus"))
        self.entry = entry = find_model(model)
        self._network = Network(entry.read(), str(entry.path), threads=threads, device=device)
        self.device = device = self._network.device
        self.spec = ModelSpec.from_metadata(self._network.metadata, str(entry.path))
        self._members = [
            ExpressionClassifier(
                find_member(member, entry.path).path, threads=threads, device=device
            )
            for member in self.spec.members
        ]
        self._require_as_described()
        self._head = "logits"
        if classes:
            self._answer_as_voters()

    def _require_as_described(self) -> None:
        """Refuse a file whose network is another than it says: it may come from anywhere."""
        spec, network = self.spec, self._network
        for name, known in _WAYS.items():
            if getattr(spec, name) not in known:
                raise ModelError(
                    f"{self.entry.path}: expected {name} to be one of {', '.join(known)}, found "
                    f"{getattr(spec, name)!r}. It may come from another version of mien: export it "
                    "again"
                )
        first, side = next(iter(network.inputs), "pixels"), spec.input_px
        expected = {"logits": f"float[n,{len(spec.labels)}]"}
        if self._members:
            expected[first] = f"float[n,{sum(len(m.spec.labels) for m in self._members)}]"
        else:
            expected |= {first: f"float[n,1,{side},{side}]", "embedding": "float[n,N]"}
            if spec.ferplus_temperature:
                expected["ferplus"] = f"float[n,{len(FERPLUS_EXPRESSIONS)}]"
            if self.attends:
                expected["attention"] = "float[n,N,N]"
        network.require(expected, "ModelSpec", "Use a model made by `mien export`")

    def as_voters(self) -> ExpressionClassifier:
        """The same, opened once, but answering in the classes of FER+.

        Raises:
            ModelError: it does not know them.
        """
        voters = copy(self)
        voters._answer_as_voters()
        return voters

    def _answer_as_voters(self) -> None:
        """Answer in the classes of FER+ from now on; of a fusion's members, those that can."""
        spec = self.spec
        if not spec.ferplus_temperature:
            raise ModelError(
                f"{self.entry.path}: {spec.name} does not answer in the eight classes of FER+. "
                "Choose a model that was exported with that head, such as mien-m"
            )
        self._head = "ferplus"
        self._members = [m.as_voters() for m in self._members if m.spec.ferplus_temperature]
        self.spec = replace(
            spec,
            labels=FERPLUS_EXPRESSIONS,
            temperature=spec.ferplus_temperature,
            uncertain_below=spec.ferplus_uncertain_below,
            class_shares=(),
        )

    @property
    def features(self) -> int:
        """How many numbers its embeddings have."""
        if self._members:
            return sum(member.features for member in self._members)
        return self._network.width("embedding")

    @property
    def attends(self) -> bool:
        """Whether its predictions come with an attention map."""
        return "attention" in self._network.outputs

    def predict(
        self, crops: UInt8Array | Sequence[UInt8Array], *, views: Views = "single"
    ) -> Predictions:
        """Classify face crops, in batches.

        Args:
            crops: `uint8 (N, S, S)`, or a sequence of grey `(H, W)` or RGB `(H, W, 3)` crops of
                any size. A crop shows one upright face that fills it.
            views: how often to look at each crop; the logits are averaged. `flip` also looks at
                the mirror image (twice the work), `shifts` at both in nine places (18 times).

        Returns:
            One answer per crop, in order. The same crop gets the same answer in any batch.

        Raises:
            ValueError: other views than these, one crop instead of several, or other pixels than
                `uint8`.
        """
        require_one_of("views", views, tuple(LOOKS))
        if isinstance(crops, np.ndarray) and (crops.ndim == 2 or crops.shape[2:] == (3,)):
            # Its rows would pass for crops.
            raise ValueError(f"crops: expected several, got one {crops.shape}: give [crop]")
        gray = [to_gray(np.asarray(crop)) for crop in crops]
        answers = []
        for start in range(0, len(gray), _BATCH):
            batch = gray[start : start + _BATCH]
            answers.append(_mean([self._look(batch, view) for view in LOOKS[views]]))
        return self._predictions(answers, len(gray))

    def with_probs(self, predictions: Predictions, probs: npt.NDArray[np.float64]) -> Predictions:
        """The same answers with other probabilities `(N, K)`, and what is uncertain of those."""
        uncertain = are_uncertain(probs, self.spec.uncertain_below)
        return replace(predictions, probs=probs, uncertain=uncertain)

    def balanced(self, predictions: Predictions) -> Predictions:
        """The same answers as they would be where every class is equally common.

        Networks expect classes to be as common as where they learned. Probabilities are divided by
        those shares (Saerens, Latinne & Decaestecker, Neural Computation 14, 2002).

        Raises:
            ModelError: the model does not say what it expects.
        """
        shares = self.require_shares()
        probs = predictions.probs / shares
        return self.with_probs(predictions, probs / probs.sum(1, keepdims=True))

    def require_shares(self) -> npt.NDArray[np.float64]:
        """How common the model expects each class to be, `(K,)`; 1 for one that it never met.

        Nothing of such a class can be taken back: it is not that the model thinks it rare.

        Raises:
            ModelError: it does not say.
        """
        if not self.spec.class_shares:
            raise ModelError(
                f"{self.entry.path}: {self.spec.name} does not say how common it expects its "
                "classes to be, so they cannot be taken for equally common. `mien calibrate` "
                "makes a file that says so"
            )
        shares = np.asarray(self.spec.class_shares, np.float64)
        return np.where(shares > 0, np.maximum(shares, 1e-6), 1.0)

    def evidence(
        self,
        crops: UInt8Array | Sequence[UInt8Array],
        *,
        views: Views = "single",
        answers: Sequence[int] | None = None,
    ) -> Float32Array:
        """How much each place of a crop speaks for an answer: `float32 (N, S, S)`.

        A square is laid over the crop, place by place (Zeiler & Fergus, "Visualizing and
        Understanding Convolutional Networks", ECCV 2014). A pixel's value is the probability that
        the answer loses, on average over the squares that cover it; negative where it gains. Works
        for any model, at the price of 81 more looks at each face.

        Args:
            crops, views: as for `predict`. S is the model's own input size.
            answers: for each crop the number of the class that is asked about; None for the one
                that the classifier gives it.
        """
        size = self.spec.input_px
        reach = _COVER / 2 * size
        spans = [
            slice(max(0, round(middle - reach)), round(middle + reach))
            for middle in np.linspace(0, size, _PLACES)
        ]
        squares = [(rows, columns) for rows in spans for columns in spans]
        maps = np.zeros((len(crops), size, size), np.float32)
        for i, (crop, loss) in enumerate(zip(crops, maps, strict=True)):
            whole = resize_crop(to_gray(np.asarray(crop)), size)
            covered = np.repeat(whole[None], len(squares), axis=0)
            for picture, square in zip(covered, squares, strict=True):
                picture[square] = round(float(whole.mean()))
            probs = self.predict([whole, *covered], views=views).probs
            answer = probs[0].argmax() if answers is None else answers[i]
            times = np.zeros_like(loss)
            for p, square in zip(probs[1:, answer], squares, strict=True):
                loss[square] += probs[0, answer] - p
                times[square] += 1
            loss /= times
        return maps

    def pixels(self, crops: Sequence[UInt8Array]) -> Float32Array:
        """What the network is given of grey crops `(H, W)` of any size: `float32 (N, 1, S, S)`."""
        spec = self.spec
        return network_input(
            np.stack([resize_crop(crop, spec.input_px) for crop in crops]),
            normalization=spec.normalization,
            mean=spec.mean,
            std=spec.std,
            illumination=spec.illumination,
            background=spec.background,
        )

    def _look(self, crops: Sequence[UInt8Array], look: Look) -> _Answer:
        """What is said about grey crops, seen in one way; maps of mirror images are turned back.

        Those of shifted crops are left: a shift is less than one place of a map.
        """
        answer = self._answer([seen(crop, look) for crop in crops])
        if look.mirrored and answer.attention is not None:
            return replace(answer, attention=answer.attention[:, :, ::-1])
        return answer

    def _answer(self, crops: Sequence[UInt8Array]) -> _Answer:
        """What the network, or the fused networks, say about grey crops of any size."""
        if self._members:
            parts = [member._answer(crops) for member in self._members]
            logits = self._vote(parts) if self._head == "ferplus" else self._fuse(parts)
            return _Answer(logits, np.concatenate([part.embedding for part in parts], 1), None)
        pixels = self.pixels(crops)
        wanted = (self._head, "embedding", "attention")
        outputs = [name for name in wanted if name in self._network.outputs]
        logits, embedding, *attention = self._network.run(pixels, outputs)
        return _Answer(logits, embedding, attention[0] if attention else None)

    def _fuse(self, parts: Sequence[_Answer]) -> Float32Array:
        """The fusion's logits `(N, K)` of what its members say."""
        said = np.concatenate([log_softmax(part.logits) for part in parts], axis=1)
        logits: Float32Array = self._network.run(said.astype(np.float32), ["logits"])[0]
        return logits

    def _vote(self, parts: Sequence[_Answer]) -> Float32Array:
        """What members that answer as voters say together, `(N, 8)`."""
        probs = [
            softmax(part.logits, member.spec.temperature)
            for member, part in zip(self._members, parts, strict=True)
        ]
        return mean_vote(probs).astype(np.float32)

    def _predictions(self, answers: Sequence[_Answer], crops: int) -> Predictions:
        classes = len(self.spec.labels)
        if not answers:  # nobody was shown
            nothing = np.zeros((0, classes), np.float32)
            answers = [_Answer(nothing, nothing[:, :0], None)]
        logits = np.concatenate([answer.logits for answer in answers])
        if logits.shape != (crops, classes) or not np.isfinite(logits).all():
            raise ModelError(
                f"{self.entry.path}: its network does not answer with {classes} finite numbers for "
                "each face. Use a model made by `mien export`, or copy the file again"
            )
        probs = softmax(logits, self.spec.temperature)
        maps = [answer.attention for answer in answers if answer.attention is not None]
        return Predictions(
            probs,
            logits,
            np.concatenate([answer.embedding for answer in answers]),
            are_uncertain(probs, self.spec.uncertain_below),
            self.spec.labels,
            np.concatenate(maps) if maps else None,
        )


@dataclass(frozen=True)
class _Answer:
    """A network's raw outputs for one batch."""

    logits: Float32Array
    embedding: Float32Array
    attention: Float32Array | None


def _mean(answers: Sequence[_Answer]) -> _Answer:
    """The mean of several answers for the same crops."""
    maps = [answer.attention for answer in answers if answer.attention is not None]
    return _Answer(
        np.mean([answer.logits for answer in answers], axis=0),
        np.mean([answer.embedding for answer in answers], axis=0),
        np.mean(maps, axis=0) if maps else None,
    )
