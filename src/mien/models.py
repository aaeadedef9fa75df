"""What a model file says about itself, and where models are found.

Imports errors, onnx_metadata and types only.

A model is one ONNX file. Its `ModelSpec` lies inside it as JSON, under the metadata key `mien`;
nothing is ever guessed from a file's name. `registry.json` lists the models that come with mien
and the SHA-256 that each must have.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from mien.errors import ConfigError, ModelError
from mien.onnx_metadata import read_metadata
from mien.types import EXPRESSIONS

METADATA_KEY: Final = "mien"
#: The same for a temporal model.
TEMPORAL_METADATA_KEY: Final = "mien-temporal"
_PACKAGE: Final = Path(__file__).parent

#: Searched in this order for `registry.json` and the files it names: the installed package, and
#: the repository that an editable installation runs from.
_HOMES: Final = (_PACKAGE / "shipped_models", _PACKAGE.parents[1] / "models")


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
        class_shares: how common its probabilities take each class to be, summing to 1; empty where
            nobody knows.
        ferplus_temperature, ferplus_uncertain_below: of the head that answers in the eight classes
            of FER+; 0 for a model without one.
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
            return cls(**{**values, "members": members})


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
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{file}: its {kind} cannot be read ({error}). It may come from another version of "
            f"mien: {again}"
        ) from error


@dataclass(frozen=True)
class ModelEntry:
    """One line of `mien models list`.

    Attributes:
        name, path: what it is called and where it lies.
        sha256: what the registry says; None for a file outside it.
        default: whether it is taken when none is named.
        continues: of a temporal model, the SHA-256 of the expression model whose answers it goes on
            from; empty for an expression model.
    """

    name: str
    path: Path
    sha256: str | None
    default: bool = False
    continues: str = ""

    @property
    def available(self) -> bool:
        """Whether the file is here (larger models are not in the wheel)."""
        return self.path.is_file()

    @property
    def digest(self) -> str:
        """The SHA-256 that the file has, or where the registry knows it, must have."""
        return self.sha256 or file_sha256(self.path)

    def read(self) -> bytes:
        """The file's bytes, checked against the registry's hash.

        Raises:
            ModelError: missing, unreadable, or not the file that was published.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise self._unreadable(error) from error
        found = hashlib.sha256(data).hexdigest()
        if self.sha256 is not None and found != self.sha256:
            raise ModelError(
                f"{self.path}: altered or incomplete: expected SHA-256 {self.sha256}, found "
                f"{found}. Install mien again, or give the file by its path to use it as it is"
            )
        return data

    def spec(self) -> ModelSpec:
        """An expression model's own description, read without opening its network.

        What is wrong with the rest of the file is found where it is opened: see `read`.

        Raises:
            ModelError: missing, unreadable, or without a description that this version understands.
        """
        return ModelSpec.from_metadata(self._metadata, str(self.path))

    @property
    def members(self) -> tuple[FusionMember, ...]:
        """Of a fusion, the models that it refers to; none of others, and of what cannot be read."""
        try:
            return self.spec().members
        except ModelError:
            return ()

    @property
    def is_temporal(self) -> bool:
        """Whether it goes on from an expression model's answers."""
        return bool(self.continues) or TEMPORAL_METADATA_KEY in self._said

    @property
    def terms(self) -> str:
        """On which terms it may be used, by its own file; empty for what cannot be read."""
        key = TEMPORAL_METADATA_KEY if self.is_temporal else METADATA_KEY
        try:
            return str(json.loads(self._said[key])["licence"])
        except (LookupError, ValueError, TypeError):
            return ""

    @property
    def _said(self) -> dict[str, str]:
        """What its file says about itself; nothing where it cannot be read."""
        try:
            return self._metadata
        except ModelError:
            return {}

    @cached_property
    def _metadata(self) -> dict[str, str]:
        try:
            return read_metadata(self.path)
        except OSError as error:
            raise self._unreadable(error) from error
        except (LookupError, ValueError) as error:
            raise ModelError(
                f"{self.path}: not a readable ONNX model. Use a model made by `mien export`, or "
                "copy the file again"
            ) from error

    def _unreadable(self, error: OSError) -> ModelError:
        return ModelError(
            f"{self.path}: model {self.name!r} cannot be read ({error.strerror}). "
            "`mien models list` shows what there is"
        )

    @property
    def size(self) -> int | None:
        """Bytes of its file; None where it is not here."""
        return self.path.stat().st_size if self.available else None

    @property
    def size_with_members(self) -> int | None:
        """Bytes that it takes on disk: of a fusion its members' too. None where one is missing."""
        try:
            files = [find_member(member, self.path) for member in self.members]
        except ModelError:
            return None
        sizes = [self.size, *(file.size_with_members for file in files)]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def to_dict(self) -> dict[str, Any]:
        """The entry as plain JSON types."""
        return {
            "name": self.name,
            "default": self.default,
            "file": str(self.path),
            "sha256": self.sha256,
            "size": self.size,
            "members": [member.name for member in self.members],
            "size_with_members": self.size_with_members,
            "terms": self.terms,
        }


@cache
def _registry() -> tuple[ModelEntry, ...]:
    entries: dict[str, ModelEntry] = {}
    for home in _HOMES:
        file = home / "registry.json"
        if not file.is_file():
            continue
        for row in json.loads(file.read_text(encoding="utf-8")):
            entry = ModelEntry(
                row["name"],
                home / row["file"],
                row["sha256"],
                row["default"],
                row.get("continues", ""),
            )
            known = entries.get(entry.name)
            if known is None or (entry.available and not known.available):
                entries[entry.name] = entry
    return tuple(entries.values())


def list_models() -> list[ModelEntry]:
    """The models that come with mien, then the `.onnx` files in the folder `MIEN_MODELS`."""
    entries = list(_registry())
    folder = os.environ.get("MIEN_MODELS")
    if folder:
        known = {entry.name for entry in entries}
        files = sorted(Path(folder).glob("[!.]*.onnx"))
        entries += [ModelEntry(file.stem, file, None) for file in files if file.stem not in known]
    return entries


def find_model(name_or_file: str | Path | None = None) -> ModelEntry:
    """A model by its name or its path; the default model when neither is given.

    Raises:
        ModelError: no such model or file.
    """
    entries = list_models()
    if name_or_file is None:
        chosen = next((entry for entry in entries if entry.default), None)
        if chosen is None:
            raise ModelError("no default model is installed. Install mien again")
        return chosen
    by_name = next((entry for entry in entries if entry.name == str(name_or_file)), None)
    if by_name is not None:
        return by_name
    path = Path(name_or_file)
    if path.suffix == ".onnx" or path.is_file():
        return ModelEntry(path.stem, path, None)
    names = ", ".join(entry.name for entry in entries) or "none"
    raise ModelError(f"{name_or_file}: no model of that name (there are: {names}), and no file")


def find_temporal(classifier: Collection[str]) -> ModelEntry | None:
    """The temporal model made for an expression model's very file, if there is one.

    Args:
        classifier: the file's SHA-256, and that of the file it was quantized from.
    """
    candidates = [entry for entry in list_models() if entry.continues and entry.available]
    return next((entry for entry in candidates if entry.continues in classifier), None)


def find_member(member: FusionMember, fusion: Path) -> ModelEntry:
    """The model that a fusion refers to: by its name, or as `NAME.onnx` beside the fusion.

    Raises:
        ModelError: no model of that name has the hash that the fusion was made with.
    """
    candidates = [entry for entry in list_models() if entry.name == member.name]
    candidates.append(ModelEntry(member.name, fusion.with_name(f"{member.name}.onnx"), None))
    for entry in candidates:
        if entry.available and file_sha256(entry.path) == member.sha256:
            return ModelEntry(entry.name, entry.path, member.sha256)
    raise ModelError(
        f"{fusion}: this fusion needs its member {member.name!r} with SHA-256 "
        f"{member.sha256}, which is neither known by that name nor lies beside it. Copy "
        f"{member.name}.onnx there"
    )


def signature(name: str, sha256: str) -> str:
    """How results name the model that they come from: a name may stand for other files later."""
    return f"{name}@{sha256[:12]}"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
