"""What a finished network's answers are worth: temperature, threshold, and how common classes are.

May import numpy, onnx (inside functions), and from mien: classifier, datasets, metrics, models.
Nothing is learned here but a few numbers, from rows that the network has not learned from.

Networks learn how common each class is, and answer the common ones when in doubt. FER2013's
Training rows hold 436 faces of disgust and 7,215 happy ones; the world does not. A part of that is
taken back by offsets on the logits (Menon et al., "Long-tail learning via logit adjustment", ICLR
2021), as much as helps the rare classes for at most half a point of accuracy: there, the common
classes are as common as where the network learned, and elsewhere they seldom are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.classifier import ExpressionClassifier
from mien.datasets import FaceCrops
from mien.metrics import (
    FloatArray,
    IntArray,
    confidence_for_accuracy,
    confusion_matrix,
    fit_temperature,
    mean_recall,
    softmax,
)
from mien.models import ModelSpec, find_model

#: Answers that are given (not `uncertain`) are right this often on the calibration rows.
ANSWER_ACCURACY: Final = 0.85

_STRENGTHS: Final = tuple(i / 10 for i in range(11))  # how much of the shares is taken back
GIVEN: Final = 0.005  # accuracy that this may cost: a third of what PublicTest's rows can tell
OFFSETS: Final = "class_offsets"  # name of the weights in the model file


@dataclass(frozen=True)
class Calibration:
    """What was found.

    Attributes:
        offsets: `float64 (K,)`, to be added to the logits.
        temperature: logits are divided by it before softmax.
        uncertain_below: an answer with less confidence is uncertain.
        class_shares: how common the probabilities now take each class to be; empty when unknown.
        metrics: figures on the calibration rows.
    """

    offsets: npt.NDArray[np.float64]
    temperature: float
    uncertain_below: float
    class_shares: tuple[float, ...]
    metrics: dict[str, float]


def calibrate(
    labels: IntArray,
    logits: FloatArray,
    shares: FloatArray | Sequence[float] | None = None,
    *,
    given: float = GIVEN,
) -> Calibration:
    """Find what makes logits into probabilities that can be trusted.

    The offsets are those, of eleven strengths, with the highest mean recall among those that cost
    no more accuracy than may be given for it. Macro F1 would not do: it counts how often a rare
    class is answered wrongly, which depends on how rare it is among these rows.

    Args:
        labels: `int64 (N,)`.
        logits: `float (N, K)`.
        shares: `(K,)`, how common each class was where the network learned, summing to 1; None
            to leave the logits as they are.
        given: a fraction of the rows.
    """
    plain = np.asarray(logits, np.float64)
    classes = plain.shape[1]
    common = np.full(classes, 1 / classes) if shares is None else np.asarray(shares, np.float64)
    known = common > 0  # of a class that was never seen, nothing can be taken back
    lean = np.where(known, np.log(np.where(known, common, 1.0)), 0.0)
    answers = [(plain - strength * lean).argmax(1) for strength in _STRENGTHS]
    accuracies = [float((answer == labels).mean()) for answer in answers]
    scores = [
        mean_recall(confusion_matrix(labels, answer, classes))
        if accuracy >= accuracies[0] - given
        else -1.0
        for answer, accuracy in zip(answers, accuracies, strict=True)
    ]
    strength = _STRENGTHS[int(np.argmax(scores))]
    offsets = -strength * lean
    temperature = fit_temperature(_doubted(labels, classes), plain + offsets)
    probs = softmax(plain + offsets, temperature)
    threshold = confidence_for_accuracy(labels, probs, ANSWER_ACCURACY)
    left = common * np.exp(offsets / temperature)
    return Calibration(
        offsets,
        temperature,
        threshold,
        () if shares is None else tuple(map(float, left / left.sum())),
        {
            "calibration_n": len(labels),
            "calibration_accuracy": float((probs.argmax(1) == labels).mean()),
            "answered_share": float((probs.max(1) >= threshold).mean()),
            "shares_taken_back": strength,
        },
    )


def _doubted(labels: IntArray, classes: int) -> npt.NDArray[np.float64]:
    """The truth of N rows as distributions `(N, K)`, each doubted as much as befits so few.

    As if one row more were known, whose class nobody can tell: a few rows that are all read rightly
    would else call for no doubt about any answer (Platt, "Probabilistic Outputs for Support Vector
    Machines", 1999, does so for two classes).
    """
    doubt = 1 / (len(labels) + 1)
    truth = np.full((len(labels), classes), doubt / classes)
    truth[np.arange(len(labels)), labels] += 1 - doubt
    return truth


@dataclass(frozen=True)
class VoteCalibration:
    """The same for a head that answers with a distribution of votes, which needs no offsets."""

    temperature: float
    uncertain_below: float
    metrics: dict[str, float]


def calibrate_votes(shares: FloatArray, logits: FloatArray) -> VoteCalibration | None:
    """Temperature and threshold of the FER+ head; None where nobody voted.

    The temperature makes the votes most likely; an answer is right when it is the class that most
    people voted for.

    Args:
        shares: `float (N, 8)` of votes; rows without any are left out.
        logits: `float (N, 8)`.
    """
    voted = shares.sum(1) > 0
    if not voted.any():
        return None
    truth, said = np.asarray(shares[voted], np.float64), np.asarray(logits[voted], np.float64)
    temperature = fit_temperature(truth, said)
    probs, majority = softmax(said, temperature), truth.argmax(1)
    threshold = confidence_for_accuracy(majority, probs, ANSWER_ACCURACY)
    return VoteCalibration(
        temperature,
        threshold,
        {
            "ferplus_n": len(truth),
            "ferplus_accuracy": float((probs.argmax(1) == majority).mean()),
            "ferplus_answered_share": float((probs.max(1) >= threshold).mean()),
        },
    )


def calibrate_votes_of(model: str | Path, rows: FaceCrops) -> VoteCalibration | None:
    """The same for a model file; None where the model has no such head, or the rows no votes."""
    if rows.votes is None or not find_model(model).spec().ferplus_temperature:
        return None
    voters = ExpressionClassifier(model, threads=2, classes="ferplus")
    return calibrate_votes(rows.vote_shares(), voters.predict(list(rows.images)).logits)


def calibrated(spec: ModelSpec, found: Calibration, votes: VoteCalibration | None) -> ModelSpec:
    """A model's description with what was found; what was not looked for stays as it was."""
    return replace(
        spec,
        temperature=found.temperature,
        uncertain_below=found.uncertain_below,
        class_shares=found.class_shares or spec.class_shares,
        ferplus_temperature=votes.temperature if votes else spec.ferplus_temperature,
        ferplus_uncertain_below=(votes.uncertain_below if votes else spec.ferplus_uncertain_below),
        metrics=found.metrics | (votes.metrics if votes else {}),
    )


def class_shares(labels: IntArray, classes: int, balance: float = 0.0) -> npt.NDArray[np.float64]:
    """How common each class is among rows `(K,)`, summing to 1.

    Args:
        labels: `int64 (N,)`.
        classes: K.
        balance: as in a recipe: how far the sampling made up for it.
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    shown = np.where(counts > 0, np.maximum(counts, 1) ** (1 - balance), 0.0)
    return np.asarray(shown / shown.sum())


def joined_shares(
    shares: Sequence[Sequence[float] | FloatArray], weights: Sequence[float] | FloatArray
) -> npt.NDArray[np.float64]:
    """How common classes are `(K,)` to a weighted mean of models that disagree about it.

    0 for a class that one of them has never seen: nobody knows what is to be taken back of it.
    """
    powers = np.asarray(shares, np.float64) ** np.asarray(weights, np.float64)[:, None]
    joined = np.prod(powers, axis=0)
    return np.asarray(joined / joined.sum())


def add_offsets(model: Any, offsets: FloatArray) -> None:
    """Let an ONNX model add offsets `(K,)` to its logits, beside those that it adds already."""
    from onnx import helper, numpy_helper

    if not np.any(offsets):
        return
    for weights in model.graph.initializer:
        if weights.name == OFFSETS:
            total = numpy_helper.to_array(weights) + np.asarray(offsets, np.float32)
            weights.CopyFrom(numpy_helper.from_array(total, OFFSETS))
            return
    before = "logits_before_offsets"
    for node in model.graph.node:
        for values in (node.input, node.output):
            for i, name in enumerate(values):
                if name == "logits":
                    values[i] = before
    values = np.asarray(offsets, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, OFFSETS))
    model.graph.node.append(helper.make_node("Add", [before, OFFSETS], ["logits"]))
