"""One network whose weights lie between those of several. Imports torch, models, and its
siblings calibration, data, export, initial, recipe and zoo.

Networks that went on from the same weights often lie in one basin, where a mean of their weights
reads as well as the sum of their answers, for the price of one (Wortsman et al., "Model soups",
ICML 2022). What batch normalisation has measured in each does not fit the mean: it is measured anew
(Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from mien.datasets import FaceCrops
from mien.errors import ConfigError
from mien.models import ModelEntry, ModelSpec, find_model, require_another_file, require_classes
from mien.training.calibration import class_shares, joined_shares
from mien.training.data import network_pixels, varied_crops
from mien.training.export import export, told
from mien.training.initial import load_weights, of_the_same_network, recipe_of
from mien.training.recipe import Recipe
from mien.training.zoo import ExpressionNetwork, build_network, channels_last

_ROWS: Final = 4096  # of Training, by which normalisation is measured
_BATCH: Final = 256


def average(
    models: Sequence[str | Path],
    train: FaceCrops,
    calibration: FaceCrops,
    file: Path,
    *,
    name: str,
    version: str = "1",
    weights: Sequence[float] | None = None,
    half: bool = False,
) -> ModelSpec:
    """Average the weights of models of one network, calibrate the result, and write it to `file`.

    Args:
        models: names or files, at least two; the first one's recipe stands for all.
        train: rows that normalisation is measured by, at the size that the models take.
        calibration: rows that choose the temperature and the threshold of `uncertain`; none that
            stand in `train` (`FaceCrops.without`).
        file: the ONNX file to write.
        name, version: what the result is called.
        weights: of each model, positive; they are scaled to sum to 1. None for equal ones.
        half: as in `export`.

    Raises:
        ConfigError: fewer than two models, not one weight for each, models that differ in their
            network, their classes or what they are shown, or one that `file` would replace.
        ModelError: a model cannot be read, or has no network of its own.
    """
    shares = _shares(models, weights)
    entries = [find_model(model) for model in models]
    recipe = _common_recipe(entries)
    require_another_file(file, entries)
    for rows in (train, calibration):
        require_classes(entries[0].spec(), rows.classes, entries[0].name)
    network, fresh = _mean(recipe, entries, shares)
    if fresh:  # some know no votes
        recipe = replace(recipe, fit=replace(recipe.fit, ferplus_weight=0.0))
    _measure_normalization(network, train, recipe)
    specs = [entry.spec() for entry in entries]
    recipes = [recipe_of(entry) for entry in entries]
    balances = [theirs.data.balance for theirs in recipes]
    expected = [class_shares(train.labels, len(train.classes), b) for b in balances]
    if not _lack_one_fold(recipes, specs, train):
        recipe = replace(recipe, data=replace(recipe.data, left_out=()))
    recipe = replace(
        recipe,
        name=name,
        version=version,
        training_data=told([(spec.name, spec.training_data) for spec in specs]),
        licence=told([(spec.name, spec.licence) for spec in specs]),
    )
    return export(
        recipe,
        network,
        calibration,
        file,
        data_sha256=train.fingerprint(),
        shares=joined_shares(expected, shares),
        half=half,
        averaged_from=tuple(
            (entry.digest, share) for entry, share in zip(entries, shares, strict=True)
        ),
    )


def _shares(models: Sequence[str | Path], weights: Sequence[float] | None) -> list[float]:
    """What part of the mean each model is; they sum to 1."""
    if len(models) < 2:
        raise ConfigError("a mean of weights needs at least two models")
    given = list(weights) if weights is not None else [1.0] * len(models)
    if len(given) != len(models):
        raise ConfigError(f"weights: expected one for each of {len(models)} models, got {given}")
    if not all(0 < weight < float("inf") for weight in given):
        raise ConfigError(f"weights: expected positive numbers, got {given}")
    return [weight / sum(given) for weight in given]


def _common_recipe(entries: Sequence[ModelEntry]) -> Recipe:
    """The first model's recipe, if the others have its network and are shown the same."""
    first = entries[0].spec()
    recipe = of_the_same_network(recipe_of(entries[0]), entries[0])
    for entry in entries[1:]:
        theirs, spec = of_the_same_network(recipe, entry), entry.spec()
        for what, mine, other in (
            ("classes", first.labels, spec.labels),
            ("network", recipe.network, theirs.network),
            ("preprocessing or size", recipe.data, theirs.data),
        ):
            if mine != other:
                raise ConfigError(
                    f"{entry.path}: has another {what} than {entries[0].path}, so that a mean of "
                    "their weights means nothing. `mien fuse` joins the answers of such models"
                )
    return recipe


def _lack_one_fold(recipes: Sequence[Recipe], specs: Sequence[ModelSpec], train: FaceCrops) -> bool:
    """Whether all models were trained without the same fold of these rows, from the beginning.

    Else the mean has learned from all of them, and can teach none as if it had not.
    """
    folds = {recipe.data.left_out for recipe in recipes}
    taught = {spec.data_sha256 for spec in specs}
    started = any(recipe.init for recipe in recipes)
    return len(folds) == 1 and not started and taught == {train.fingerprint()}


def _mean(
    recipe: Recipe, entries: Sequence[ModelEntry], shares: Sequence[float]
) -> tuple[ExpressionNetwork, list[str]]:
    """The network with the mean of the weights, and the names of those that some file lacks."""
    network = build_network(recipe.network, classes=len(recipe.data.classes))
    lacking: set[str] = set()
    total: dict[str, Tensor] = {}
    for entry, share in zip(entries, shares, strict=True):
        lacking |= set(load_weights(network, entry, recipe.data.classes))
        for key, value in network.state_dict().items():
            part = value.double() * share
            total[key] = total[key] + part if key in total else part
    state = network.state_dict()
    network.load_state_dict({key: total[key].to(value.dtype) for key, value in state.items()})
    return channels_last(network).eval(), sorted(lacking)


def _measure_normalization(network: ExpressionNetwork, train: FaceCrops, recipe: Recipe) -> None:
    """Let every batch normalisation take mean and variance from some rows.

    They are cut to the size that the network takes and calmly varied, as at the end of a run.
    """
    normalizations = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for normalization in normalizations:
        normalization.reset_running_stats()
        normalization.momentum = None  # a plain mean over the batches
        normalization.train()
    chosen = np.random.default_rng(0).permutation(len(train))[:_ROWS]
    calm = replace(recipe, augment=recipe.augment.calmed())
    crops, _ = varied_crops(train.images[chosen], calm, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for part in torch.chunk(crops, max(1, len(crops) // _BATCH)):  # none of a single row
            network(network_pixels(part, recipe))
    network.eval()
