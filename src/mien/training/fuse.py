"""Several models into one that refers to them. Imports torch, onnx, the classifier, and
its siblings augment, calibration, export and recipe.

A fusion is a small ONNX file. What goes in are its members' log-probabilities, side by side
`(N, M * K)`; what comes out are logits `(N, K)`. Members are frozen: nothing of them is trained.

    logprob   a weighted mean of log-probabilities (a product of experts: Hinton, Neural Computation
              14, 2002); M weights, chosen on PublicTest
    linear    one linear layer on all of them, M * K * K weights, learned from Training rows
    stack     a layer of 32 units between (stacked generalisation: Wolpert, Neural Networks 5,
              1992), learned from Training rows

The two that learn see Training rows varied as in training: on the plain pictures, which the members
know, all of them would look more reliable than they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mien
from mien.classifier import ExpressionClassifier, mean_vote
from mien.datasets import FaceCrops
from mien.errors import ConfigError
from mien.metrics import FloatArray, log_softmax
from mien.models import (
    FusionMember,
    ModelSpec,
    file_sha256,
    find_member,
    require_another_file,
    require_classes,
)
from mien.training.augment import varied_views
from mien.training.calibration import (
    GIVEN,
    VoteCalibration,
    add_offsets,
    calibrate,
    calibrate_votes,
    calibrated,
    class_shares,
    joined_shares,
)
from mien.training.export import OPSET, current_commit, save_model, told
from mien.training.recipe import AugmentRecipe
from mien.types import Float32Array, UInt8Array

METHODS: Final = ("linear", "logprob", "stack")

_HIDDEN: Final = 32
_STEPS: Final = 400
_WEIGHT_DECAY: Final = 1e-3

Note = Callable[[str], None]


def fuse(
    models: Sequence[str | Path],
    method: str,
    train: FaceCrops,
    calibration: FaceCrops,
    file: Path,
    *,
    name: str,
    version: str = "1",
    views: int = 2,
    seed: int = 0,
    note: Note = lambda text: None,
) -> ModelSpec:
    """Join models, calibrate the result, and write it to `file`.

    Args:
        models: names or files of the members, at least two, with the same classes and crop rule.
        method: one of `METHODS`.
        train: rows that `linear` and `stack` learn from.
        calibration: rows that choose the weights of `logprob`, the temperature and the threshold
            of `uncertain`; none that stand in `train` (`FaceCrops.without`).
        file: the ONNX file to write.
        name, version: what the fusion is called.
        views: how many times each Training row is shown, each time varied anew.
        seed: of the variations and the first weights.
        note: called with a line on what is going on.

    Raises:
        ConfigError: fewer than two members, members that do not fit together or to the rows, or
            one that `file` would replace.
        ModelError: a member cannot be read, or could not be found by the result: it is no model
            that mien knows by its name, and lies in another folder than `file`.
    """
    if method not in METHODS:
        raise ConfigError(f"method: expected one of {', '.join(METHODS)}, found {method!r}")
    members = [ExpressionClassifier(model, threads=2) for model in models]
    specs = [member.spec for member in members]
    _require_fit(specs)
    require_another_file(file, [member.entry for member in members])
    first = specs[0]
    for rows in (train, calibration):
        require_classes(first, rows.classes, first.name)
    referred = _references(members, file)
    names = [member.name for member in referred]
    torch.manual_seed(seed)
    classes = len(first.labels)
    shares = class_shares(train.labels, classes)
    watched = _said(members, calibration.images)
    if method == "logprob":
        weights = _best_weights(watched, calibration.labels, len(members))
        head: nn.Module = _mean(weights, classes)
        shares = joined_shares([spec.class_shares or shares for spec in specs], weights.numpy())
    else:
        shown, labels = _varied_rows(train, views, seed)
        note(f"showing {len(shown):,} varied Training rows to {len(members)} members")
        said = _said(members, shown, note)
        head = _learned(said, labels, len(members), classes, hidden=method == "stack")
    with torch.no_grad():
        logits = head(torch.from_numpy(watched)).double().numpy()
    # Answers that are summed have given theirs already, each model for itself.
    given = 0.0 if method == "logprob" else GIVEN
    found = calibrate(calibration.labels, logits, shares, given=given)
    votes = _votes(members, calibration)
    spec = ModelSpec(
        name=name,
        version=version,
        input_px=max(spec.input_px for spec in specs),
        normalization=first.normalization,
        crop_scale=first.crop_scale,
        crop_upright=first.crop_upright,
        temperature=1.0,
        uncertain_below=0.0,
        training_data=told([(n, spec.training_data) for n, spec in zip(names, specs, strict=True)]),
        licence=told([(n, spec.licence) for n, spec in zip(names, specs, strict=True)]),
        parameters=sum(spec.parameters for spec in specs)
        + sum(p.numel() for p in head.parameters()),
        macs=sum(spec.macs for spec in specs),
        labels=first.labels,
        recipe={
            "name": name,
            "network": {"name": f"fusion of {', '.join(names)} ({method})"},
            "fusion": {"method": method, "views": views},
            "fit": {"seed": seed},
        },
        data_sha256=train.fingerprint(),
        commit=current_commit(),
        made_with=f"mien {mien.__version__}, torch {torch.__version__}",
        members=referred,
    )
    spec = calibrated(spec, found, votes)
    _write(head, found.offsets, spec, file)
    return spec


def _votes(
    members: Sequence[ExpressionClassifier], calibration: FaceCrops
) -> VoteCalibration | None:
    """The calibration of what members with a FER+ head say together; None where there is none."""
    if calibration.votes is None:
        return None
    said = [
        member.as_voters().predict(calibration.images).probs
        for member in members
        if member.spec.ferplus_temperature
    ]
    return calibrate_votes(calibration.vote_shares(), mean_vote(said)) if said else None


def _require_fit(specs: Sequence[ModelSpec]) -> None:
    if len(specs) < 2:
        raise ConfigError("a fusion needs at least two models")
    first = specs[0]
    for spec in specs[1:]:
        if spec.labels != first.labels:
            raise ConfigError(f"{spec.name}: has other classes than {first.name}")
        if (spec.crop_scale, spec.crop_upright) != (first.crop_scale, first.crop_upright):
            raise ConfigError(
                f"{spec.name}: cuts faces by another rule than {first.name} "
                f"({spec.crop_scale:g} against {first.crop_scale:g} boxes). Train them by one"
            )


def _references(members: Sequence[ExpressionClassifier], file: Path) -> tuple[FusionMember, ...]:
    """What the fusion in `file` will know its members by: what mien calls them, or their files."""
    found: dict[str, FusionMember] = {}
    for entry in (member.entry for member in members):
        member = FusionMember(entry.name, file_sha256(entry.path))
        if found.setdefault(entry.name, member) != member:
            raise ConfigError(
                f"{entry.path}: another member is called {entry.name} too, and they could not lie "
                "in one folder. Rename one of the files"
            )
        find_member(member, file)
    return tuple(found[member.entry.name] for member in members)


def _said(
    members: Sequence[ExpressionClassifier], images: UInt8Array, note: Note = lambda text: None
) -> Float32Array:
    """The members' log-probabilities side by side, `float32 (N, M * K)`."""
    columns = []
    for member in members:
        columns.append(log_softmax(member.predict(images).logits))
        note(f"  {member.spec.name} has answered")
    return np.concatenate(columns, axis=1).astype(np.float32)


def _varied_rows(train: FaceCrops, views: int, seed: int) -> tuple[UInt8Array, Tensor]:
    """Training rows, each `views` times, varied mildly and without erasing."""
    images, mildly = torch.from_numpy(train.images), AugmentRecipe().calmed()
    shown = [view.numpy() for view in varied_views(images, views, mildly, seed)]
    return np.concatenate(shown), torch.from_numpy(np.tile(train.labels, views))


def _mean(weights: Tensor, classes: int) -> nn.Linear:
    """The weighted mean `(M,)` of the members' log-probabilities, as a linear layer."""
    layer = nn.Linear(len(weights) * classes, classes, bias=False)
    blocks = [weight * torch.eye(classes) for weight in weights]
    layer.weight = nn.Parameter(torch.cat(blocks, 1), requires_grad=False)
    return layer


def _best_weights(said: Float32Array, labels: npt.NDArray[np.int64], members: int) -> Tensor:
    """The weights on the simplex that make the truth most likely; a convex problem."""
    columns = torch.from_numpy(said).double().view(len(said), members, -1)
    truth = torch.from_numpy(labels)
    free = torch.zeros(members, dtype=torch.float64, requires_grad=True)
    sharpness = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([free, sharpness], max_iter=200, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimizer.zero_grad()
        mean = torch.einsum("nmk,m->nk", columns, free.softmax(0))
        loss = F.cross_entropy(mean * sharpness.exp(), truth)
        torch.autograd.backward(loss)
        return loss

    optimizer.step(step)  # type: ignore[no-untyped-call]
    return free.detach().softmax(0).float()


def _learned(
    said: Float32Array,
    labels: Tensor,
    members: int,
    classes: int,
    *,
    hidden: bool,
) -> nn.Module:
    """A linear layer, or one with hidden units, fitted to all rows at once."""
    head: nn.Module
    if hidden:
        head = nn.Sequential(
            nn.Linear(members * classes, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, classes)
        )
    else:
        head = nn.Linear(members * classes, classes)
        # It starts as the plain mean of the members.
        with torch.no_grad():
            head.weight.copy_(torch.eye(classes).repeat(1, members) / members)
            head.bias.zero_()
    values = torch.from_numpy(said)
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-3, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(head(values), labels))
        optimizer.step()
        schedule.step()
    return head.eval().requires_grad_(False)


def _write(head: nn.Module, offsets: FloatArray, spec: ModelSpec, file: Path) -> None:
    """The head as ONNX: matrix products, and a ReLU between two of them."""
    from onnx import TensorProto, helper, numpy_helper

    layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    nodes, weights, value = [], [], "said"
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        inputs = [value, f"weight{number}"]
        weights.append(numpy_helper.from_array(layer.weight.numpy(), f"weight{number}"))
        if layer.bias is not None:
            inputs.append(f"bias{number}")
            weights.append(numpy_helper.from_array(layer.bias.numpy(), f"bias{number}"))
        output = "logits" if last else f"hidden{number}"
        nodes.append(helper.make_node("Gemm", inputs, [output], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [output], [f"active{number}"]))
        value = f"active{number}"
    wide, classes = layers[0].in_features, layers[-1].out_features
    graph = helper.make_graph(
        nodes,
        "fusion",
        [helper.make_tensor_value_info("said", TensorProto.FLOAT, ["n", wide])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    add_offsets(model, offsets)
    save_model(model, spec, file)
