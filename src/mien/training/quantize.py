"""A model whose numbers have 8 bits: smaller, and several times as fast where the processor
multiplies bytes. Imports onnx, ONNX Runtime's quantization, the classifier and export.

Weights are rounded per filter, activations by ranges that Training rows showed (Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR
2018). The first layer, which sees the picture itself, and the heads keep floating point: they cost
little, and most of the error would come from there. Weights use 7 bits: with 8, processors without
VNNI clip the sums of two products.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import mien
from mien.classifier import ExpressionClassifier
from mien.datasets import FaceCrops
from mien.errors import ConfigError
from mien.inference import RUNTIME
from mien.models import ModelSpec, require_another_file, require_classes
from mien.training.calibration import calibrate, calibrate_votes_of, calibrated
from mien.training.export import current_commit, drop_idle_biases, save_model

_ROWS: Final = 512  # that show the ranges
_BATCH: Final = 64
_PERCENTILE: Final = 99.99  # of the activations: the few beyond are clipped, for finer steps
_ROUNDED: Final = ("Conv", "MaxPool", "Relu")
_OPSET: Final = 17  # of ONNX; before 13, weights had one step size for all filters


def quantize(
    model: str | Path,
    train: FaceCrops,
    calibration: FaceCrops,
    file: Path,
    *,
    name: str | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> ModelSpec:
    """Round a model's numbers to 8 bits, calibrate the result, and write it to `file`.

    Args:
        model: name or file of the model; a network, not a fusion.
        train: rows of which some show how large the activations get.
        calibration: rows that choose the temperature and the threshold of `uncertain`; none that
            the model has learned from (`FaceCrops.without`).
        file: the ONNX file to write.
        name: what the result is called; None for the model's name and `-int8`.
        note: called with a line on what is going on.

    Returns:
        The new spec. Its `metrics` hold `original_accuracy` of the same calibration rows, and
        `same_answers`, the share of them that both models answer alike.

    Raises:
        ConfigError: the model is a fusion, or quantized already, or has other classes, or `file`
            would replace it.
        ModelError: it cannot be read.
    """
    original = ExpressionClassifier(model, threads=2)
    spec = original.spec
    if spec.members or spec.quantized_from:
        what = "a fusion" if spec.members else "quantized already"
        raise ConfigError(f"{model}: expected a network with floating-point weights, is {what}")
    require_another_file(file, [original.entry])
    require_classes(spec, calibration.classes, str(model))
    chosen = np.random.default_rng(0).permutation(len(train.images))[:_ROWS]
    note(f"{len(chosen)} Training rows show the ranges of the activations")
    shown = original.pixels([train.images[i] for i in chosen])
    # All batches alike: a remainder is not shown.
    size = min(_BATCH, len(shown))
    starts = range(0, len(shown) - size + 1, size)
    rounded = round_network(
        original.entry.read(),
        [shown[i : i + size] for i in starts],
        kinds=_ROUNDED,
        percentile=_PERCENTILE,
    )
    new = replace(
        spec,
        name=name or f"{spec.name}-int8",
        quantized_from=original.entry.digest,
        commit=current_commit(),
        made_with=f"mien {mien.__version__}, onnxruntime {RUNTIME[1]}",
    )
    before = original.predict(list(calibration.images))
    with tempfile.TemporaryDirectory() as folder:  # what is not calibrated never gets the name
        trial = Path(folder) / "trial.onnx"
        save_model(rounded, new, trial)
        after = ExpressionClassifier(trial, threads=2).predict(list(calibration.images))
        votes = calibrate_votes_of(trial, calibration)
    new = calibrated(new, calibrate(calibration.labels, after.logits), votes)
    same = before.probs.argmax(1) == after.probs.argmax(1)
    right = before.probs.argmax(1) == calibration.labels
    comparison = {"original_accuracy": float(right.mean()), "same_answers": float(same.mean())}
    new = replace(new, metrics={**new.metrics, **comparison})
    save_model(rounded, new, file)
    return new


def round_network(
    data: bytes,
    shown: Sequence[npt.NDArray[np.float32]],
    *,
    kinds: Sequence[str],
    percentile: float | None = None,
) -> Any:
    """A network with numbers of 8 bits, as an ONNX model.

    The first convolution and those that give the answer keep floating point.

    Args:
        data: the network, an ONNX file with one input.
        shown: inputs that show how large the activations get, all of one shape.
        kinds: of the ONNX operators that are rounded.
        percentile: of the activations that fit the range; None for all that were shown.
    """
    import onnx
    import onnxruntime  # only now: mien.inference has to silence its reports first
    from onnxruntime import quantization

    model = onnx.load_model_from_string(data)
    drop_idle_biases(model)
    model = onnx.version_converter.convert_version(
        model, max(_OPSET, model.opset_import[0].version)
    )
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{i}"
    method = quantization.CalibrationMethod.MinMax
    if percentile is not None:
        method = quantization.CalibrationMethod.Percentile
    with tempfile.TemporaryDirectory() as folder, _silence():
        plain, folded, rounded = (Path(folder) / f"{i}.onnx" for i in range(3))
        onnx.save_model(model, plain)
        options = onnxruntime.SessionOptions()
        # Convolutions swallow the normalisation after them, which must not be rounded on its own.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])
        quantization.quantize_static(
            folded,
            rounded,
            _Shown(model.graph.input[0].name, shown),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(kinds),
            nodes_to_exclude=_exact(onnx.load_model(folded).graph),
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=method,
            extra_options={} if percentile is None else {"CalibPercentile": percentile},
        )
        return onnx.load_model(rounded)


def _exact(graph: Any) -> list[str]:
    """The names of the convolutions that keep floating point."""
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    answers = {output.name for output in graph.output}
    for node in reversed(graph.node):
        if node.op_type == "Sigmoid" and node.output[0] in answers:
            answers.add(node.input[0])
    return [
        node.name for node in convolutions if node is convolutions[0] or node.output[0] in answers
    ]


class _Shown:
    """Inputs for the quantizer: a `CalibrationDataReader` by what it can do."""

    def __init__(self, name: str, shown: Sequence[npt.NDArray[np.float32]]) -> None:
        self._batches = iter([{name: batch} for batch in shown])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


@contextmanager
def _silence() -> Iterator[None]:
    """The quantizer prints its progress, and recommends a preparation that was just made."""
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
