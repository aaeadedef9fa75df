"""Start a network from a model file's weights. Imports torch, onnx, models, and
its siblings recipe and zoo.

The exported file holds every weight under its name in the network, so nothing else is needed to
go on training from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

import torch
from torch import Tensor

from mien.errors import ConfigError, ModelError
from mien.models import ModelEntry, find_model
from mien.training.recipe import Recipe, recipe_from_dict
from mien.training.zoo import ExpressionNetwork

_PREFIX = "network."  # where the exported module keeps the network
_HALF = "_half"
_HEAD = "expression."  # one row for each class


def load_weights(
    network: ExpressionNetwork, entry: ModelEntry, classes: Sequence[str]
) -> list[str]:
    """Copy a model file's weights into a network of the same kind.

    Of the head the rows of those classes are copied that both know by the same name; the head for
    votes is in the file only if votes could calibrate it.

    Args:
        network: is changed in place.
        entry: the model.
        classes: the network's, in the order of its answers.

    Returns:
        The names of the weights that stay fresh, at least for one class.

    Raises:
        ModelError: not a model of the same network.
    """
    found = weights_of(entry)
    known = entry.spec().labels
    shared = [(i, known.index(name)) for i, name in enumerate(classes) if name in known]
    state = network.state_dict()
    fresh = []
    for name, value in state.items():
        if name.startswith(_HEAD) and name in found and value.shape[1:] == found[name].shape[1:]:
            for mine, theirs in shared:
                value[mine] = found[name][theirs]
            if len(shared) < len(classes):
                fresh.append(name)
        elif name in found and found[name].shape == value.shape:
            state[name] = found[name]
        else:
            fresh.append(name)
    counters = [name for name in fresh if name.endswith("num_batches_tracked")]
    missing = [
        n for n in fresh if n not in counters and not n.startswith(("expression", "ferplus"))
    ]
    if missing:
        raise ModelError(
            f"{entry.path}: is another network than the recipe's: it lacks {missing[0]} and "
            f"{len(missing) - 1} more. Of a model with numbers of 8 bits, start from the one that "
            f"it was made of; of others, `mien models show {entry.name} --json` shows the recipe"
        )
    network.load_state_dict(state)
    return [name for name in fresh if name not in counters]


def weights_of(entry: ModelEntry) -> dict[str, Tensor]:
    """All numbers in a model file as float32: the network's by their names in it.

    Raises:
        ModelError: not an ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        model = onnx.load_model_from_string(entry.read())
    except DecodeError as error:
        raise ModelError(f"{entry.path}: not a readable ONNX model") from error
    return {
        weights.name.removeprefix(_PREFIX).removesuffix(_HALF): torch.from_numpy(
            numpy_helper.to_array(weights).copy()
        ).float()
        for weights in model.graph.initializer
    }


def as_started(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """The recipe as it is trained: with what the model decides that it starts from, if any.

    Args:
        recipe: as it was written.
        changes: what was asked to be changed in it, as of `load_recipe`.

    Raises:
        ConfigError: a change that the model decides.
        ModelError: no such model, or as of `of_the_same_network`.
    """
    if not recipe.init:
        return recipe
    chosen = of_the_same_network(recipe, find_model(recipe.init))
    for change in changes:
        key = change.partition("=")[0].strip()
        theirs = attrgetter(key)(chosen)
        if theirs != attrgetter(key)(recipe):
            raise ConfigError(
                f"--set {change}: {key} is that of the model to start from ({recipe.init}): "
                f"{theirs}. Leave it out, or start from fresh weights"
            )
    return chosen


def of_the_same_network(recipe: Recipe, entry: ModelEntry) -> Recipe:
    """The recipe with the network, preprocessing and size that the model was trained with.

    Its own growing sizes are kept where they end at the model's; else every epoch has that size.
    What the model was trained without, what its weights started from, and which of them were frozen
    is not taken over: its rows were others, its file holds all weights, and what is learned now is
    for this recipe to say.

    Raises:
        ModelError: as of `recipe_of`.
    """
    theirs = recipe_of(entry)
    kept = ("classes", "holdout", "aligned_share", "balance", "left_out", "max_not_face_votes")
    data = replace(theirs.data, **{name: getattr(recipe.data, name) for name in kept})
    own, sizes = recipe.network, recipe.fit.resolutions
    if recipe.fit.last_px != theirs.data.input_px:
        sizes = ((1.0, theirs.data.input_px),)
    return replace(
        recipe,
        network=replace(theirs.network, dropout=own.dropout, frozen=own.frozen, weights=""),
        data=data,
        fit=replace(recipe.fit, resolutions=sizes),
    )


def recipe_of(entry: ModelEntry) -> Recipe:
    """What a model's network was trained by.

    Raises:
        ModelError: the model does not say, or is a fusion, which has no network of its own.
    """
    spec = entry.spec()
    if spec.members:
        members = ", ".join(member.name for member in spec.members)
        raise ModelError(
            f"{entry.path}: {spec.name} is a fusion, which has no network to train. Start from one "
            f"of its members: {members}"
        )
    try:
        return recipe_from_dict(spec.recipe, str(entry.path))
    except ConfigError as error:
        raise ModelError(
            f"{entry.path}: does not say how its network was built ({error})"
        ) from error
