"""Where models are found, and whether their files are those that were published.

Imports errors, onnx_metadata and its sibling spec.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from mien.errors import ConfigError, ModelError
from mien.models.spec import METADATA_KEY, TEMPORAL_METADATA_KEY, FusionMember, ModelSpec
from mien.onnx_metadata import read_metadata

_PACKAGE: Final = Path(__file__).parents[1]
#: Searched in this order for `registry.json` and the files it names: the installed package, and
#: the repository that an editable installation runs from.
_HOMES: Final = (_PACKAGE / "shipped_models", _PACKAGE.parents[1] / "models")


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
    def is_published(self) -> bool:
        """Whether it is a model that comes with mien, wherever its file lies."""
        return any(self.digest == entry.sha256 for entry in _shipped())

    @property
    def available(self) -> bool:
        """Whether the file is here (larger models are not in the wheel)."""
        return self.path.is_file()

    @property
    def digest(self) -> str:
        """The SHA-256 that the file has, or where the registry knows it, must have.

        Raises:
            ModelError: missing or unreadable.
        """
        try:
            return self.sha256 or file_sha256(self.path)
        except OSError as error:
            raise self._unreadable(error) from error

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
                f"{found}. Install mien again, or give the file by its path to use it as it is; "
                "call a model of your own otherwise than one that is published"
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
        except (LookupError, ValueError, TypeError, RecursionError):
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
def _shipped() -> tuple[ModelEntry, ...]:
    """The models in every `registry.json`; of two of one name, the first whose file is here."""
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
    """The models that come with mien, then the `.onnx` files in the folder `MIEN_MODELS`.

    A published model that is not in the wheel may lie there too; it must be the published file.
    """
    entries = {entry.name: entry for entry in _shipped()}
    folder = os.environ.get("MIEN_MODELS")
    for file in sorted(Path(folder).glob("[!.]*.onnx")) if folder else ():
        known = entries.get(file.stem)
        if known is None:
            entries[file.stem] = ModelEntry(file.stem, file, None)
        elif not known.available:
            entries[file.stem] = replace(known, path=file)
    return list(entries.values())


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
    if path.suffix == ".onnx" or os.path.isfile(path):
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
        with suppress(OSError):  # what cannot be read is no candidate
            if entry.available and file_sha256(entry.path) == member.sha256:
                return ModelEntry(entry.name, entry.path, member.sha256)
    raise ModelError(
        f"{fusion}: this fusion needs its member {member.name!r} with SHA-256 "
        f"{member.sha256}, which is neither known by that name nor lies beside it. Copy "
        f"{member.name}.onnx there"
    )


def require_another_file(file: Path, entries: Iterable[ModelEntry]) -> None:
    """Refuse to write a model over one that it is made of, or that such a one is made of.

    Raises:
        ConfigError: it would be.
        ModelError: a member of one cannot be found.
    """
    for entry in entries:
        if file.exists() and file.samefile(entry.path):
            raise ConfigError(
                f"{file}: is {entry.name}, of which the new model is made, and would be lost. "
                "Choose another file to write"
            )
        members = [find_member(member, entry.path) for member in entry.members]
        require_another_file(file, members)


def signature(name: str, sha256: str) -> str:
    """How results name the model that they come from: a name may stand for other files later."""
    return f"{name}@{sha256[:12]}"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
