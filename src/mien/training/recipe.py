"""A recipe is everything needed to train one model again. Imports errors, models,
preprocess, types, wording, and of datasets what classes are called.

It is read from TOML into frozen dataclasses, which are the schema: a key that is not a field
is an error, and so is a value of another type. The resolved recipe travels in checkpoints and
in the exported model.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from mien.datasets.rows import class_name
from mien.errors import ConfigError
from mien.models import find_model
from mien.preprocess import BACKGROUNDS, ILLUMINATIONS, NORMALIZATIONS
from mien.types import EXPRESSIONS
from mien.wording import one_form

NOT_STATED = "not stated"

#: Where recipes are found by name, as models are; the last one wins.
_PACKAGE: Final = Path(__file__).parents[1]
_HOMES: Final = (_PACKAGE.parents[1] / "recipes", _PACKAGE / "shipped_recipes")

_Recipe = TypeVar("_Recipe")

#: What numbers may be: whose keys may be so, how it is told, and whether it is.
Limits = Sequence[tuple[str, str, Callable[[float], bool]]]

_LIMITS: Final[Limits] = (
    (
        "network.dropout data.aligned_share augment.low_resolution augment.blur augment.jpeg "
        "augment.erase augment.occlude augment.mixup augment.calm fit.warmup fit.ema "
        "fit.label_smoothing fit.teacher_weight fit.ferplus_share fit.expected_share",
        "0 to 1",
        lambda value: 0 <= value <= 1,
    ),
    (
        "data.balance data.max_not_face_votes augment.rotate_deg augment.shift augment.turn_deg "
        "augment.contrast augment.brightness augment.gamma augment.sharpness fit.muon_rate "
        "fit.weight_decay fit.ferplus_weight fit.seed",
        "at least 0",
        lambda value: value >= 0,
    ),
    (
        "data.crop_scale augment.scale_min augment.scale_max fit.learning_rate fit.momentum",
        "more than 0",
        lambda value: value > 0,
    ),
    (
        "network.widths network.depths network.stem_stride fit.epochs fit.batch",
        "at least 1",
        lambda value: value >= 1,
    ),
    ("data.input_px", "16 to 1024", lambda value: 16 <= value <= 1024),
)


#: Keys of [network] that are refused where another network would make no use of them. The sizes of
#: `mien_vgg` are not: a recipe keeps them while a study tries other networks.
_ONLY_OF: Final = {
    "weights": ("transfer",),
    "enlarged_px": ("transfer",),
    "stem_stride": ("resnet18", "vgg19"),
}


@dataclass(frozen=True)
class NetworkRecipe:
    """Which network, and its size."""

    name: str = "mien_vgg"
    widths: tuple[int, ...] = (32, 96, 192, 384)  # channels of each stage, halving the map between
    depths: tuple[int, ...] = (1, 2, 2, 2)  # 3x3 convolutions in each stage
    stem_stride: int = 1  # of the first layer of resnet18 and vgg19
    weights: str = ""  # of transfer: the manifest of the weights to start from
    frozen: bool = False  # train the heads alone, on features that come with weights or init
    enlarged_px: int = 150  # of transfer: side to which crops are enlarged, at least 131
    dropout: float = 0.3


@dataclass(frozen=True)
class DataRecipe:
    """What the network is shown."""

    classes: tuple[str, ...] = EXPRESSIONS
    holdout: float = 0.2  # share of the rows to watch, where a set has no split of its own
    input_px: int = 44
    normalization: str = "standardize"
    illumination: str = "none"
    background: str = "keep"
    aligned_share: float = 0.5  # share of training crops cut by the detector's rule, not as given
    crop_scale: float = 0.9  # side of that crop, in longer sides of the detector's box
    crop_upright: bool = True
    balance: float = 0.0  # 0: rows as they are; 1: every class is shown equally often
    left_out: tuple[int, ...] = ()  # (fold, folds): rows that are not learned from; see teachers.py
    max_not_face_votes: int = 5  # rows with more FER+ votes "not a face" are left out of training

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(map(one_form, self.classes)))  # as rows' are


@dataclass(frozen=True)
class AugmentRecipe:
    """How each batch is varied; 0 switches a variation off."""

    flip: bool = True
    rotate_deg: float = 12.0
    scale_min: float = 0.85
    scale_max: float = 1.12
    shift: float = 0.1  # of the crop's side
    turn_deg: float = 0.0  # how far heads are turned to either side
    contrast: float = 0.3
    brightness: float = 0.15  # of full brightness
    gamma: float = 0.3  # exponent drawn from exp(+-gamma)
    sharpness: float = 0.6  # blends towards a blurred (negative) or sharpened copy
    low_resolution: float = 0.2  # chance that a crop is shrunk to 14-32 px and enlarged again
    blur: float = 0.0  # chance of a Gaussian blur
    jpeg: float = 0.0  # chance of being compressed as JPEG of quality 15-70
    erase: float = 0.4  # chance that a rectangle is replaced by noise
    occlude: float = 0.0  # chance of glasses, a mask or a hand
    mixup: float = 0.0  # chance that a crop and its label are mixed with another's
    calm: float = 0.0  # last share of the epochs, with half of all this and no erasing

    def calmed(self) -> AugmentRecipe:
        """Half as strong and without erasing: what the end of a run sees.

        The last epochs then settle on pictures that are nearly as they will be met (compare Ge et
        al., "YOLOX", 2021, which closes its strong augmentation for the last epochs).
        """
        return replace(
            self,
            rotate_deg=self.rotate_deg / 2,
            scale_min=self.scale_min**0.5,
            scale_max=self.scale_max**0.5,
            shift=self.shift / 2,
            turn_deg=self.turn_deg / 2,
            contrast=self.contrast / 2,
            brightness=self.brightness / 2,
            gamma=self.gamma / 2,
            sharpness=self.sharpness / 2,
            low_resolution=self.low_resolution / 2,
            blur=self.blur / 2,
            jpeg=self.jpeg / 2,
            erase=0.0,
            occlude=self.occlude / 2,
            mixup=0.0,
        )


@dataclass(frozen=True)
class FitRecipe:
    """The optimisation."""

    epochs: int = 80
    batch: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    muon_rate: float = 0.0  # peak learning rate of Muon, for filters; 0: SGD for them too
    weight_decay: float = 5e-4  # on weight matrices only
    warmup: float = 0.05  # share of all steps
    ema: float = 0.999  # decay per step of the averaged weights that are exported
    label_smoothing: float = 0.1
    ferplus_weight: float = 0.3  # weight of the auxiliary head that learns FER+ votes
    ferplus_share: float = 0.0  # share of the targets that is taken from FER+ votes
    expected_share: float = 0.0  # share that is the label to be expected; see expected.py
    expected_from: str = "votes"  # what it is expected from: votes, teachers, or both
    teachers: tuple[str, ...] = ()  # models whose opinions are learned from too
    teacher_weight: float = 0.5  # their share of the targets, where there are teachers
    teachers_see: str = "rows"  # rows: each picture, before the run; views: all that is shown of it
    resolutions: tuple[tuple[float, int], ...] = ((0.45, 32), (0.85, 40), (1.0, 44))
    select: str = "last"  # epoch to export: the last, or the best on PublicTest
    seed: int = 0

    @property
    def last_px(self) -> int:
        """The size at which the pictures end, and the model is exported."""
        return self.resolutions[-1][1]


@dataclass(frozen=True)
class Recipe:
    """All of it. `name` and `version` become the model's.

    So do `training_data` and `licence`: what it learned from, and on which terms it may be used.
    They decide nothing, and recipes that differ in them alone are equal.
    """

    name: str
    version: str = "1"
    training_data: str = field(default=NOT_STATED, compare=False)
    licence: str = field(default=NOT_STATED, compare=False)
    init: str = ""  # name or file of the model whose weights it starts from; empty for fresh ones
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    fit: FitRecipe = field(default_factory=FitRecipe)

    def __post_init__(self) -> None:
        for name, known in (
            ("normalization", NORMALIZATIONS),
            ("illumination", ILLUMINATIONS),
            ("background", BACKGROUNDS),
        ):
            value = getattr(self.data, name)
            if value not in known:
                raise ConfigError(
                    f"data.{name}: expected one of {', '.join(known)}, found {value!r}"
                )
        require_limits(self, _LIMITS)
        if self.augment.scale_min > self.augment.scale_max:
            raise ConfigError("augment.scale_min: expected at most augment.scale_max")
        if len(self.network.widths) != len(self.network.depths):
            raise ConfigError("network.widths and network.depths: expected equal lengths")
        if not self.network.widths:
            raise ConfigError("network.widths: expected at least one")
        classes = self.data.classes
        if len(classes) < 2 or len({*classes}) < len(classes):
            raise ConfigError(
                f"data.classes: expected at least two, each once, found {list(classes)}"
            )
        for name in classes:
            if (ours := class_name(name)) != name:
                raise ConfigError(
                    f"data.classes: expected {ours!r}, which mien calls pictures labelled {name!r} "
                    f"in all sets, found {name!r}. No picture would be of that class"
                )
        fold = self.data.left_out
        if fold and not (len(fold) == 2 and 0 <= fold[0] < fold[1]):
            raise ConfigError(f"data.left_out: expected [fold, folds], found {list(fold)}")
        if self.fit.ferplus_share and self.data.classes != EXPRESSIONS:
            raise ConfigError("fit.ferplus_share: only of use where data.classes are the seven")
        for name, choices in (
            ("select", ("last", "best")),
            ("teachers_see", ("rows", "views")),
            ("expected_from", ("votes", "teachers", "both")),
        ):
            value = getattr(self.fit, name)
            if value not in choices:
                choice = f"{', '.join(choices[:-1])} or {choices[-1]}"
                raise ConfigError(f"fit.{name}: expected {choice}, found {value!r}")
        self._require_grounds()
        shares = [share for share, _ in self.fit.resolutions]
        small = any(px < 16 for _, px in self.fit.resolutions)
        if not shares or shares != sorted(shares) or shares[-1] != 1.0 or small:
            raise ConfigError(
                "fit.resolutions: expected pairs [share, px] with growing shares that end at 1.0, "
                "of at least 16 px"
            )
        stages, smallest = len(self.network.widths), min(px for _, px in self.fit.resolutions)
        if self.network.name.startswith("mien_") and smallest < 2 ** (stages - 1):
            raise ConfigError(
                f"network.widths: expected at most {smallest.bit_length()} stages, found {stages}: "
                f"the map is halved between them, and fit.resolutions has pictures of {smallest} px"
            )

    def _require_grounds(self) -> None:
        """Labels are expected from what is there, and can be known before the run."""
        fitting = self.fit
        if not fitting.expected_share or fitting.expected_from == "votes":
            return
        if not fitting.teachers or fitting.teachers_see != "rows":
            raise ConfigError(
                f"fit.expected_from: {fitting.expected_from} needs fit.teachers, and "
                "fit.teachers_see = rows: what is expected of a row is settled before the run"
            )

    def to_dict(self) -> dict[str, Any]:
        """The resolved recipe as plain JSON types."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def load_recipe(name_or_file: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply `section.key=value` overrides (values in TOML syntax).

    One that starts from a model and names no classes has those of the model.

    Args:
        name_or_file: a file, or the name of a recipe that comes with mien.
        overrides: what to change.

    Raises:
        ConfigError: no such file, broken TOML, unknown key, a value of the wrong type, one that the
            network makes no use of, or another size to train at in the end than to export at.
        ModelError: the model that it starts from cannot be read.
    """
    own = {file.stem: file for home in _HOMES for file in sorted(home.glob("*.toml"))}
    path = own.get(str(name_or_file), Path(name_or_file))
    table = read_toml(path, f"recipe: a file, or one of {', '.join(own)}", overrides)
    recipe = recipe_from_dict(table, where=str(path))
    if recipe.init:  # whose model decides on network and size
        if "classes" in table.get("data", {}):
            return recipe
        labels = find_model(recipe.init).spec().labels
        return replace(recipe, data=replace(recipe.data, classes=labels))
    network, usual = recipe.network, NetworkRecipe()
    for key, names in _ONLY_OF.items():
        if network.name not in names and getattr(network, key) != getattr(usual, key):
            raise ConfigError(
                f"{path}: network.{key}: only of use where network.name is {' or '.join(names)}, "
                f"found {network.name}. Leave it out"
            )
    last = recipe.fit.last_px
    if recipe.data.input_px != last:
        raise ConfigError(
            f"{path}: data.input_px: expected {last}, at which fit.resolutions ends, found "
            f"{recipe.data.input_px}. Change both"
        )
    return recipe


def read_toml(path: str | Path, kind: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The table in a TOML file.

    Args:
        path: the file.
        kind: what messages call such a file.
        overrides: what to change, as of `load_recipe`.

    Raises:
        ConfigError: no such file, broken TOML, or a change that is none.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Give a {kind}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    for override in overrides:
        _override(table, override)
    return table


def recipe_from_dict(table: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """A `Recipe` from nested tables; every key is checked.

    Raises:
        ConfigError: unknown key, or a value of the wrong type.
    """
    return filled(Recipe(name="-"), table, where)


def filled(default: _Recipe, table: Mapping[str, Any], where: str) -> _Recipe:
    """A recipe with the values of a table, which names it; all others stay.

    Raises:
        ConfigError: no name, unknown key, or a value of the wrong type.
    """
    if "name" not in table:
        raise ConfigError(f"{where}: lacks `name`, the name of the model to be trained")
    recipe: _Recipe = _fill(default, table, where, "")
    return recipe


def require_limits(recipe: object, limits: Limits) -> None:
    """Refuse numbers that no run could use.

    Raises:
        ConfigError: there is one.
    """
    for keys, expected, holds in limits:
        for key in keys.split():
            value = attrgetter(key)(recipe)
            found = list(value) if isinstance(value, tuple) else [value]
            if not all(map(holds, found)):
                told = found if isinstance(value, tuple) else value
                raise ConfigError(f"{key}: expected {expected}, found {told}")


def _override(table: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {override}: expected section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        value = text.strip()  # a bare word is a string: nobody wants to quote twice in a shell
        if value.startswith("["):
            raise ConfigError(
                f"--set {override}: not a list in TOML ({error}). A shell takes quotes away: put "
                'the whole in single ones, such as --set \'data.classes=["bored", "focused"]\''
            ) from error
    *sections, name = key.strip().split(".")
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override}: {section} is no section")
    table[name] = value


def _fill(default: Any, table: Mapping[str, Any], where: str, prefix: str) -> Any:
    """A dataclass with the values of a table; `prefix` is the section that it is, with its dot."""
    known = {f.name: getattr(default, f.name) for f in fields(default)}
    hints = get_type_hints(type(default))
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = prefix + key
        if key not in known:
            raise ConfigError(f"{where}: unknown key {name!r}. Known: {', '.join(known)}")
        if is_dataclass(known[key]):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where}: {name}: expected a section, found {value!r}")
            values[key] = _fill(known[key], value, where, f"{name}.")
        else:
            values[key] = _convert(hints[key], value, f"{where}: {name}")
    return replace(default, **values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        kinds = get_args(hint)
        if kinds[-1] is Ellipsis:
            kinds = kinds[:1] * len(value)
        if len(value) != len(kinds):
            raise ConfigError(f"{where}: expected {len(kinds)} values, found {value!r}")
        return tuple(_convert(kind, each, where) for kind, each in zip(kinds, value, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    kind = get_origin(hint) or hint
    if type(value) is not kind:
        called = "a list" if kind is tuple else kind.__name__
        raise ConfigError(f"{where}: expected {called}, found {value!r}")
    return value
