"""Which rows of a set a model has learned from, where the set has no split that says so. Imports
datasets, errors and models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mien.datasets import HELD_OUT, FaceCrops, load_training, read_rows
from mien.errors import ConfigError, DatasetError
from mien.models import ModelEntry, ModelSpec


def rows_of_run(path: str | Path, spec: ModelSpec) -> tuple[FaceCrops, FaceCrops] | None:
    """The rows that a model has learned from, and those that its run held out to watch.

    They are dealt out as they were then; that they are the same, the model's data hash says.

    Args:
        path: a set of face crops.
        spec: what the model's file says about it, in its own classes.

    Returns:
        None where the set has rows to watch of its own, where it is not the one that the model
        learned from or has changed since, or where the model is a fusion.

    Raises:
        DatasetError: no such set, or a broken one.
    """
    rule = spec.recipe.get("data", {})
    if "holdout" not in rule or any(row.split == "PublicTest" for row in read_rows(path)):
        return None
    size, classes = spec.input_px, spec.labels
    try:
        learned, watched = load_training(
            path, size_px=size, classes=classes, holdout=rule["holdout"]
        )
    except (ConfigError, DatasetError):  # nothing could be learned from it
        return None
    return (learned, watched) if learned.fingerprint() == spec.data_sha256 else None


def held_out(path: str | Path, spec: ModelSpec) -> tuple[FaceCrops, FaceCrops]:
    """The same for who asks for the rows that were held out.

    Raises:
        DatasetError: as of `rows_of_run`, or that knows of none.
    """
    own = rows_of_run(path, spec)
    if own is None:
        raise DatasetError(
            f"{path}: {spec.name} has held out none of its rows: the set has a split of its own, "
            "or it has learned from another, or from this one as it was. Choose another --split"
        )
    return own


def learned_too(path: str | Path, spec: ModelSpec, *, folds: bool = False) -> str:
    """What to know of figures on all rows of a set, in words; empty where there is nothing.

    Args:
        path: the set.
        spec: of the model that is examined.
        folds: or else, from which networks start, or by which they are taught, that are trained on
            folds of the set.

    Raises:
        DatasetError: as of `rows_of_run`.
    """
    own = rows_of_run(path, spec)
    if own is None:
        return ""
    learned, watched = map(len, own)
    said = f"{path}: {spec.name} has learned from {learned:,} of these pictures, so the figures are"
    if folds:
        return (
            f"{said} better than they should be: what starts from it, or is taught by it, knows "
            "people of all folds"
        )
    option = HELD_OUT.replace(" ", "-")
    advice = f"`mien evaluate --split {option}` takes the {watched:,} that it watched"
    return f"{said} better than it is. {advice}"


def watched_too(path: str | Path, watched: FaceCrops, entry: ModelEntry) -> str:
    """What to know of a training that goes on from a model, in words; empty where there is nothing.

    Args:
        path: the set.
        watched: its rows to watch, as of `load_training`. Where mien holds them out, the model's
            own run may have learned from them: it held out others if the set was another then, or
            another share or other classes were asked for.
        entry: the model.

    Raises:
        DatasetError: as of `rows_of_run`.
        ModelError: the model cannot be read.
    """
    if watched.split != HELD_OUT:
        return ""
    spec = entry.spec()
    own = rows_of_run(path, spec)
    if own is None:
        return untold(path, watched, [] if entry.is_published else [spec])
    known = len({*watched.names}.intersection(own[0].names))
    if not known:
        return ""
    return (
        f"{path}: {spec.name} has learned from {known:,} of the {len(watched):,} rows that are "
        "watched and will calibrate, and reads them better than others. With data.holdout="
        f"{spec.recipe['data']['holdout']} and its classes, they are those that it has not learned "
        "from"
    )


def untold(path: str | Path, held: FaceCrops, models: Sequence[ModelSpec]) -> str:
    """What to know of rows held out that models may have learned from; empty without models.

    Args:
        path: the set.
        held: the rows.
        models: those of which nobody knows it.
    """
    names = ", ".join(dict.fromkeys(spec.name for spec in models))
    return names and (
        f"{path}: {len(held):,} of its rows are held out to calibrate on. Whether {names} learned "
        "from them, nobody knows: from another set, or from this one as it was then"
    )
