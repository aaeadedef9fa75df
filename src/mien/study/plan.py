"""Which variants of which recipe: a TOML file. Imports errors and the training side's recipes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.errors import ConfigError
from mien.training.recipe import Recipe, load_recipe, read_toml


@dataclass(frozen=True)
class Variant:
    """What one row of the table changes: `--set` texts such as `augment.flip=false`."""

    name: str
    set: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """What its runs' folders are called, before the seed."""
        return "".join(c if c.isalnum() else "-" for c in self.name.lower())


@dataclass(frozen=True)
class Study:
    """Which variants of which recipe.

    Attributes:
        name, question: its title.
        recipe: the recipe that is varied.
        seeds: every variant is trained once with each.
        set: what all variants change, such as a shorter schedule.
        slices: so many of the rows that judge, drawn at random, are shown degraded as well, in
            every way of `mien.slices`; 0 for none.
        variants: the rows. The first is what the others are compared with.
    """

    name: str
    question: str
    recipe: Path
    seeds: tuple[int, ...]
    set: tuple[str, ...]
    variants: tuple[Variant, ...]
    slices: int = 0

    def trials(self) -> Iterator[tuple[Variant, int, Recipe]]:
        """Every run: variants within seeds, so that a study cut short still compares."""
        for seed in self.seeds:
            for variant in self.variants:
                name = json.dumps(variant.name, ensure_ascii=False)  # as in TOML
                changes = [*self.set, *variant.set, f"fit.seed={seed}", f"name={name}"]
                yield variant, seed, load_recipe(self.recipe, changes)


def load_study(path: str | Path) -> Study:
    """Read a study; its recipe's path is relative to the study's own folder.

    Raises:
        ConfigError: no such file, broken TOML, a key too many or too few, or a wrong type.
    """
    path = Path(path)
    table = read_toml(path, "study")
    expected: dict[str, type] = {"name": str, "question": str, "recipe": str, "variants": list}
    _check(table, {**expected, "seeds": list, "set": list, "slices": int}, [*expected], str(path))
    variants = []
    for row in table["variants"]:
        where = f"{path}: variants"
        if not isinstance(row, dict):
            raise ConfigError(f"{where}: expected [[variants]] sections, found {row!r}")
        _check(row, {"name": str, "set": list}, ["name"], where)
        variants.append(Variant(row["name"], _texts(row.get("set", []), where)))
    names = [variant.name for variant in variants]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"{path}: expected variants with names of their own, found {names}")
    taken: dict[str, str] = {}
    for variant in variants:
        other = taken.setdefault(variant.folder, variant.name)
        if other != variant.name:
            raise ConfigError(
                f"{path}: the runs of {other!r} and {variant.name!r} would share the folder "
                f"{variant.folder}-…. Let their names differ in a letter or a digit"
            )
    seeds = table.get("seeds", [0])
    if not seeds or not all(type(seed) is int for seed in seeds) or len({*seeds}) < len(seeds):
        raise ConfigError(f"{path}: seeds: expected whole numbers, each once, found {seeds}")
    slices = table.get("slices", 0)
    if slices < 0:
        raise ConfigError(f"{path}: slices: expected a number of rows, 0 or more, found {slices}")
    return Study(
        table["name"],
        table["question"],
        path.parent / table["recipe"],
        tuple(seeds),
        _texts(table.get("set", []), f"{path}: set"),
        tuple(variants),
        slices,
    )


def _check(
    table: dict[str, Any], known: dict[str, type], needed: Collection[str], where: str
) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}. Known: {', '.join(known)}")
    for key, kind in known.items():
        if key in needed and key not in table:
            raise ConfigError(f"{where}: lacks `{key}`")
        if key in table and not isinstance(table[key], kind):
            raise ConfigError(f"{where}: {key}: expected {kind.__name__}, found {table[key]!r}")


def _texts(values: list[Any], where: str) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise ConfigError(f'{where}: expected texts such as "augment.flip=false", found {values}')
    return tuple(values)
