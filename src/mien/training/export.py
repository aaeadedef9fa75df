"""From a trained network to a calibrated ONNX file with its `ModelSpec` inside, and its card.

Imports torch, onnx, and its siblings in this package.
"""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import mien
from mien.datasets import FaceCrops
from mien.errors import ModelError
from mien.metrics import FloatArray
from mien.models import METADATA_KEY, ModelSpec
from mien.temporal import TemporalSpec
from mien.training.calibration import add_offsets, calibrate, calibrate_votes, calibrated
from mien.training.checkpoint import BEST, CHECKPOINT, readable_checkpoint
from mien.training.fit import predict_outputs
from mien.training.recipe import Recipe, recipe_from_dict
from mien.training.zoo import ExpressionNetwork, build_network, count_macs, count_parameters
from mien.whole import whole

OPSET = 18
_HALF_FROM = 1024  # smaller weights stay in float32: they save nothing


class _Exported(nn.Module):
    """The network with the outputs that the model file is to have, by their names there."""

    def __init__(self, network: ExpressionNetwork, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.names = tuple(names)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        output = self.network(pixels)._asdict()
        output["logits"] = output["expression"]
        return tuple(output[name] for name in self.names)


def load_trained(run: Path) -> tuple[Recipe, ExpressionNetwork, str, int]:
    """The recipe, the averaged network in eval mode, the data hash and the network's epoch.

    Args:
        run: the folder of a run, or a checkpoint in it. Of a folder, the epoch that the recipe
            selects is taken: the last, or the best on PublicTest among those of the last size, if
            the run has come so far.

    Raises:
        ModelError: no such checkpoint, or not one of ours.
    """
    file = _checkpoint(run)
    with readable_checkpoint(file):
        state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
        recipe = recipe_from_dict(state["recipe"], str(file))
        if recipe.fit.select == "best" and (run / BEST).is_file():
            best = torch.load(run / BEST, weights_only=True, map_location="cpu")
            state["average"], state["epoch"] = best["average"], best["epoch"]
        head = state["average"]["expression.weight"]
        # What the weights were at the start no longer matters.
        started = replace(recipe.network, weights="")
        network = build_network(started, classes=len(head))
        network.load_state_dict(state["average"])
    return recipe, network.eval(), state["data"], state["epoch"]


def without_untaught(run: Path, calibration: FaceCrops) -> FaceCrops:
    """The rows to calibrate a run's network on: without votes, if it has learned from none.

    Its head for votes says whatever it was made with then, and nothing can calibrate that. A run
    from before checkpoints said so may have learned from some.

    Raises:
        ModelError: as of `load_trained`.
    """
    file = _checkpoint(run)
    with readable_checkpoint(file):
        state = torch.load(file, weights_only=True, map_location="cpu")
        untaught = state.get("votes") == ""
    return replace(calibration, votes=None) if untaught else calibration


def _checkpoint(run: Path) -> Path:
    """The checkpoint of a run, by its folder or itself."""
    file = run / CHECKPOINT if run.is_dir() else run
    if not file.is_file():
        raise ModelError(f"{file}: no checkpoint. Train with `mien train` first")
    return file


def export(
    recipe: Recipe,
    network: ExpressionNetwork,
    calibration: FaceCrops,
    file: Path,
    *,
    data_sha256: str,
    shares: FloatArray | None = None,
    half: bool = False,
    averaged_from: tuple[tuple[str, float], ...] = (),
) -> ModelSpec:
    """Calibrate a network on rows it has not learned from, and write it to `file` as ONNX.

    Args:
        recipe: what the network was trained by, and what the spec and the card say of that.
        network: the trained network, in eval mode.
        calibration: rows that choose the temperature and the threshold of `uncertain`; of a set
            that repeats pictures, those that `FaceCrops.without` leaves.
        file: the ONNX file to write.
        data_sha256: fingerprint of the training rows.
        shares: `(K,)`, how common each class was among them (see `calibrate`); None to leave it.
        half: store weights as float16, at half the size. The network's own weights are rounded
            too, so that both still agree; computing stays in float32.
        averaged_from: of the spec.
    """
    size = recipe.data.input_px
    if half:
        network = _rounded(network)
    output = predict_outputs(network, calibration.images, recipe, size)
    found = calibrate(calibration.labels, output.expression.double().numpy(), shares)
    votes = None
    if recipe.fit.ferplus_weight and calibration.votes is not None:
        votes = calibrate_votes(calibration.vote_shares(), output.ferplus.double().numpy())
    spec = replace(
        _uncalibrated(recipe, network),
        labels=calibration.classes,
        data_sha256=data_sha256,
        commit=current_commit(),
        made_with=f"mien {mien.__version__}, torch {torch.__version__}",
        averaged_from=averaged_from,
    )
    spec = calibrated(spec, found, votes)
    write_onnx(network, spec, file, offsets=found.offsets, half=half)
    return spec


def fold_spec(recipe: Recipe) -> ModelSpec:
    """What a recipe's networks say about themselves in cross-validation, before any export."""
    network = build_network(replace(recipe.network, weights=""), classes=len(recipe.data.classes))
    return replace(
        _uncalibrated(recipe, network),
        training_data="the other folds",
        licence="none: made for an examination",
    )


def _uncalibrated(recipe: Recipe, network: ExpressionNetwork) -> ModelSpec:
    """What a recipe's network says about itself, taken at its word and never uncertain."""
    rule = recipe.data
    return ModelSpec(
        name=recipe.name,
        version=recipe.version,
        input_px=rule.input_px,
        normalization=rule.normalization,
        illumination=rule.illumination,
        background=rule.background,
        crop_scale=rule.crop_scale,
        crop_upright=rule.crop_upright,
        temperature=1.0,
        uncertain_below=0.0,
        training_data=recipe.training_data,
        licence=recipe.licence,
        parameters=count_parameters(network),
        macs=count_macs(network, rule.input_px),
        labels=rule.classes,
        recipe=recipe.to_dict(),
    )


def write_onnx(
    network: ExpressionNetwork,
    spec: ModelSpec,
    file: Path,
    *,
    offsets: FloatArray | None = None,
    half: bool = False,
) -> None:
    """Write the network with its spec as ONNX.

    In goes `pixels`; out come `logits` (with the offsets `(K,)` added), `embedding`, `ferplus`
    where the spec has a temperature for it, and `attention` where the network has it.
    """
    example = torch.zeros(2, 1, spec.input_px, spec.input_px)
    outputs = ["logits", "embedding"]
    if spec.ferplus_temperature:
        outputs.append("ferplus")
    with torch.no_grad():
        if network(example).attention is not None:
            outputs.append("attention")
    # As it is: the runtime folds what can be folded, and the file keeps every weight under its own
    # name, so that training can go on from it.
    exported = _Exported(network, outputs).eval()
    model = traced(exported, {"pixels": example}, outputs, optimize=False)
    drop_idle_biases(model)
    if offsets is not None:
        add_offsets(model, offsets)
    if half:
        _store_half(model, {name for name, _ in exported.named_parameters()})
    save_model(model, spec, file)


def traced(
    network: nn.Module,
    examples: Mapping[str, Tensor],
    outputs: Sequence[str],
    *,
    optimize: bool = True,
) -> Any:
    """A network as an ONNX model that takes any number of rows.

    Args:
        network: in eval mode.
        examples: two rows of everything that `forward` takes, by its names there; the model's
            inputs are called so too.
        outputs: what the model's outputs are called.
        optimize: fold what can be folded, whereby weights lose their names.
    """
    rows = {0: torch.export.Dim("n", min=1)}
    with warnings.catch_warnings():  # the exporter warns about its own internals
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            tuple(examples.values()),
            dynamo=True,
            input_names=list(examples),
            output_names=list(outputs),
            dynamic_shapes=dict.fromkeys(examples, rows),
            opset_version=OPSET,
            optimize=optimize,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:  # which lines of which files it comes from is nobody's business
        del node.metadata_props[:]
        node.doc_string = ""
    return model


def drop_idle_biases(model: Any) -> None:
    """Take away the zeros that the exporter adds in every convolution without an offset.

    It computes them from the weights' shape, which keeps the runtime from joining convolution,
    normalisation and activation into one step: a fifth of the time.
    """
    nodes = model.graph.node
    makers = {output: node.op_type for node in nodes for output in node.output}
    for node in nodes:
        if node.op_type == "Conv" and makers.get("".join(node.input[2:])) == "Expand":
            del node.input[2]
    while True:
        used = {name for node in nodes for name in node.input}
        used |= {output.name for output in model.graph.output}
        idle = [node for node in nodes if not used.intersection(node.output)]
        if not idle:
            return
        for node in idle:
            nodes.remove(node)


def save_model(model: Any, spec: ModelSpec | TemporalSpec, file: Path) -> None:
    """Write an ONNX model with its spec inside, under another name until it is complete."""
    import onnx

    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key = METADATA_KEY if isinstance(spec, ModelSpec) else spec.METADATA_KEY
    entry.value = spec.to_json()
    onnx.checker.check_model(model)
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file) as partial:
        partial.write_bytes(model.SerializeToString(deterministic=True))


def _rounded(network: ExpressionNetwork) -> ExpressionNetwork:
    """A copy whose large weights are those that float16 can hold."""
    copy = deepcopy(network)
    for parameter in copy.parameters():
        if parameter.numel() >= _HALF_FROM:
            parameter.data = parameter.data.half().float()
    return copy


def _store_half(model: Any, learned: Collection[str]) -> None:
    """Replace large float32 weights by float16 ones and a cast, which the runtime does once.

    Only what was learned: running averages may lie far outside of what float16 can hold.
    """
    import onnx
    from onnx import numpy_helper

    casts = []
    for weights in model.graph.initializer:
        if weights.data_type != onnx.TensorProto.FLOAT or weights.name not in learned:
            continue
        values = numpy_helper.to_array(weights)
        if values.size < _HALF_FROM:
            continue
        name = weights.name
        weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def told(said: Sequence[tuple[str, str]]) -> str:
    """What models of these names say: once where all say the same, else behind their names."""
    texts = {text for _, text in said}
    return texts.pop() if len(texts) == 1 else "; ".join(map(": ".join, dict.fromkeys(said)))


def current_commit() -> str:
    """The commit that mien runs from, or an empty string outside a repository."""
    folder = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--show-toplevel", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    # Installed, mien may lie inside somebody else's repository.
    top, _, commit = answer.stdout.strip().partition("\n")
    return commit if answer.returncode == 0 and Path(top) / "src" / "mien" in folder.parents else ""
