"""What a model file says about itself. Imports errors, types and wording."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from operator import index
from pathlib import PurePath
from typing import Any, Final

from mien.errors import ConfigError, ModelError
from mien.types import EXPRESSIONS
from mien.wording import one_form

METADATA_KEY: Final = "mien"
#: The same for a temporal model.
TEMPORAL_METADATA_KEY: Final = "mien-temporal"
#: A larger input is no expression model's, and would be gigabytes for each batch of crops.
_MOST_INPUT_PX: Final = 1024


@dataclass(frozen=True)
class FusionMember:
    """A model that a fusion refers to: its name, and the only file that will do."""

    name: str
    sha256: str


@dataclass(frozen=True)
class ModelSpec:
    """Everything that inference must know about a model, written when it is exported.

    Attributes:
        name, version: what it is called.
        input_px: side of the square grey crop that it takes.
        normalization, mean, std, illumination, background: arguments of
            `mien.preprocess.network_input`.
        crop_scale, crop_upright: the crop rule, arguments of `mien.alignment.align_faces`.
        temperature: logits are divided by it before softmax (Guo et al., ICML 2017).
        uncertain_below: an answer with less confidence than this is marked `uncertain`.
        labels: the classes, in order.
        parameters, macs: trained weights, and multiply-accumulates for one crop.
        training_data, licence: what it learned from, and on which terms it may be used.
        metrics: figures measured at export, by name.
        recipe, data_sha256, commit, made_with: how to make it again.
        members: the models whose outputs a fusion takes instead of a crop; empty for a network.
        quantized_from: SHA-256 of the model whose numbers were rounded to 8 bits to make this one;
            empty for others.
        averaged_from: SHA-256 of each model whose weights were averaged to make this one, and its
            share of the mean; empty for others.
        class_shares: how common its probabilities take each class to be, summing to 1; empty where
            nobody knows.
        ferplus_temperature, ferplus_uncertain_below: of the head that answers in the eight classes
            of FER+; 0 for a model without one.

    Raises:
        ValueError: numbers that no model has: not finite, beyond all measure, or not one for each
            class.
    """

    name: str
    version: str
    input_px: int
    normalization: str
    crop_scale: float
    crop_upright: bool
    temperature: float
    uncertain_below: float
    training_data: str
    licence: str
    parameters: int
    macs: int
    mean: float = 0.5
    std: float = 0.25
    labels: tuple[str, ...] = EXPRESSIONS
    metrics: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data_sha256: str = ""
    commit: str = ""
    made_with: str = ""
    members: tuple[FusionMember, ...] = ()
    illumination: str = "none"
    background: str = "keep"
    quantized_from: str = ""
    class_shares: tuple[float, ...] = ()
    ferplus_temperature: float = 0.0
    ferplus_uncertain_below: float = 0.0
    averaged_from: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        ranges = [
            ("input_px", index(self.input_px), 1, _MOST_INPUT_PX),
            ("temperature", self.temperature, 0.001, 1000),
            ("ferplus_temperature", self.ferplus_temperature or 1, 0.001, 1000),
            ("std", self.std, 0.001, 1000),
            ("mean", self.mean, -1000, 1000),
            ("crop_scale", self.crop_scale, 0.001, 1000),
            ("uncertain_below", self.uncertain_below, 0, 1),
            ("ferplus_uncertain_below", self.ferplus_uncertain_below, 0, 1),
            *(("class_shares", share, 0, 1) for share in self.class_shares),
        ]
        for name, value, least, most in ranges:
            if not least <= value <= most:  # nor is it, of what is no number
                raise ValueError(f"{name}: expected {least:g} to {most:g}, got {value}")
        if not all(isinstance(label, str) for label in self.labels):
            raise ValueError(f"labels: expected names, got {self.labels}")
        # Each accented letter as one sign, as the classes of sets are.
        object.__setattr__(self, "labels", tuple(map(one_form, self.labels)))
        if len(set(self.labels)) != len(self.labels) or not self.labels:
            raise ValueError(f"labels: expected classes of different names, got {self.labels}")
        if self.class_shares and len(self.class_shares) != len(self.labels):
            raise ValueError(f"class_shares: expected one for each of {len(self.labels)} classes")

    def to_json(self) -> str:
        """The text that is embedded in the model file."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], file: str) -> ModelSpec:
        """Read the spec out of an ONNX file's metadata.

        Raises:
            ModelError: there is none, or it is not one that this version understands.
        """
        if METADATA_KEY not in metadata:
            raise ModelError(
                f"{file}: an ONNX file without a mien ModelSpec in its metadata. Use a model "
                "made by `mien export`"
            )
        with readable_spec(file, "ModelSpec", "export it again"):
            values = spec_values(metadata[METADATA_KEY], cls)
            members = tuple(FusionMember(**member) for member in values.get("members", ()))
            for member in members:  # they are looked for beside the file, by their names
                if not member.name or PurePath(member.name).name != member.name:
                    raise ValueError(f"members: expected names of models, got {member.name!r}")
            averaged = tuple((str(of), float(part)) for of, part in values.get("averaged_from", ()))
            return cls(**{**values, "members": members, "averaged_from": averaged})


def require_classes(spec: ModelSpec, found: Sequence[str], what: str) -> None:
    """Refuse rows of other classes than a model's.

    Args:
        spec: the model's.
        found: the classes of the rows, in order.
        what: what the message begins with: the model, or the setting that names it.

    Raises:
        ConfigError: they differ.
    """
    if tuple(found) != spec.labels:
        raise ConfigError(
            f"{what}: expected data with its classes {', '.join(spec.labels)}, found "
            f"{', '.join(found)}"
        )


def spec_values(text: str, kind: type[Any]) -> dict[str, Any]:
    """The arguments of a dataclass that was written as JSON; what are tuples there, as tuples.

    Raises:
        ValueError: not JSON, or keys that the dataclass does not have.
        KeyError: no labels.
    """
    values: dict[str, Any] = json.loads(text)
    unknown = set(values) - {f.name for f in fields(kind)}
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    values["labels"] = tuple(values["labels"])
    if "class_shares" in values:
        values["class_shares"] = tuple(values["class_shares"])
    return values


@contextmanager
def readable_spec(file: str, kind: str, again: str) -> Iterator[None]:
    """Turn what can go wrong in reading a spec into a `ModelError` that says how to go on."""
    try:
        yield
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelError(
            f"{file}: its {kind} cannot be read ({error}). It may come from another version of "
            f"mien: {again}"
        ) from error
