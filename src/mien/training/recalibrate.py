"""A model file calibrated anew: its weights as they are, its probabilities for other pictures.

Imports onnx (inside functions), the classifier, and its siblings calibration and export.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mien
from mien.classifier import ExpressionClassifier
from mien.datasets import FaceCrops
from mien.metrics import FloatArray
from mien.models import ModelSpec, find_member, require_another_file, require_classes
from mien.training.calibration import add_offsets, calibrate, calibrate_votes_of, calibrated
from mien.training.export import current_commit, save_model


def recalibrate(
    model: str | Path,
    calibration: FaceCrops,
    file: Path,
    *,
    name: str | None = None,
    version: str | None = None,
    shares: FloatArray | None = None,
) -> ModelSpec:
    """Fit a model's temperature, threshold and class offsets to other rows, and write it anew.

    Args:
        model: name or file.
        calibration: rows that the model has not learned from.
        file: the ONNX file to write.
        name, version: what the result is called; None for the name with `-calibrated`, and for the
            same version.
        shares: `(K,)`, how common the model expects each class to be, where it does not say so
            itself; None leaves its logits as they are.

    Returns:
        The new spec. Its `metrics` hold `original_accuracy` of the same rows.

    Raises:
        ConfigError: the rows have other classes, or `file` is the model, or a member of it.
        ModelError: the model cannot be read, or a fusion's members could not be found by the
            result: they lie in another folder than `file`, and mien does not know their names.
    """
    import onnx

    original = ExpressionClassifier(model, threads=2)
    spec = original.spec
    require_another_file(file, [original.entry])
    require_classes(spec, calibration.classes, str(model))
    for member in spec.members:
        find_member(member, file)
    said = original.predict(list(calibration.images))
    found = calibrate(calibration.labels, said.logits, spec.class_shares or shares)
    right = said.probs.argmax(1) == calibration.labels
    new = calibrated(spec, found, calibrate_votes_of(model, calibration))
    new = replace(
        new,
        name=name or f"{spec.name}-calibrated",
        version=version or spec.version,
        metrics={**new.metrics, "original_accuracy": float(right.mean())},
        commit=current_commit(),
        made_with=f"mien {mien.__version__}; weights: {spec.made_with}",
    )
    network = onnx.load_model_from_string(original.entry.read())
    add_offsets(network, found.offsets)
    save_model(network, new, file)
    return new
