"""From arguments to inputs: folders, globs, addresses and manifests.

May import csv, arro3, and from mien: errors, sources, disk, remote.

A manifest is a table with a column `path`. Its columns, `path` as it was written among them, are
carried along into the results. A path in it is relative to the manifest's own folder.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mien.batch.disk import is_whole_parquet
from mien.batch.remote import file_of, is_remote, list_remote, read_remote
from mien.errors import ConfigError, MienError, SourceError
from mien.sources import counts_in_folders, expand_source, is_live, shown_name

_MANIFESTS: Final = (".csv", ".parquet")
_Named = tuple[str, Mapping[str, Any]]  # a path or an address as it is written, and its row


@dataclass(frozen=True)
class Input:
    """A picture or a video, and what its manifest says about it.

    Attributes:
        path: an address or an absolute path: one for every way to write it, and the same for
            whoever goes on from another folder.
        values: its row of the manifest.
    """

    path: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Listing:
    """What some arguments name.

    Attributes:
        inputs: each once, in the order of the arguments.
        columns: names and kinds of the manifests' columns.
        failures: arguments that could not be listed, and why.
    """

    inputs: list[Input] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    failures: list[tuple[str, MienError]] = field(default_factory=list)


def list_inputs(arguments: Sequence[str]) -> Listing:
    """Everything that the arguments name. What cannot be listed never costs the rest.

    Raises:
        ConfigError: a manifest is not one, or two say different things about one path; a package
            that speaks an address's protocol is missing.
    """
    listing = Listing()
    known: dict[str, Mapping[str, Any]] = {}  # by path, the values of its row
    for argument in arguments:
        try:
            for name, values in _named(argument, listing):
                path = name if is_remote(name) else os.path.abspath(name)
                before = known.get(path)
                if values and before and _said(values) != _said(before):
                    raise ConfigError(
                        f"{argument}: {path} stands there, or in another manifest, with other "
                        "values as well. Expected one row for each path"
                    )
                known[path] = before or values
        except SourceError as error:
            listing.failures.append((shown_name(argument), error))
    listing.inputs += [Input(path, values) for path, values in known.items()]
    return listing


def _said(values: Mapping[str, Any]) -> dict[str, str]:
    """What a row says about its path, however that is written; what is no number equals itself."""
    return {column: repr(value) for column, value in values.items() if column != "path"}


def _named(argument: str, listing: Listing) -> Iterator[_Named]:
    """What one argument names; a manifest's columns are noted."""
    if argument.lower().endswith(_MANIFESTS):
        columns, rows = _read_manifest(argument)
        for column, kind in columns.items():
            if listing.columns.setdefault(column, kind) != kind:
                raise ConfigError(
                    f"{argument}: the column {column!r} holds {kind}, and "
                    f"{listing.columns[column]} in the manifest before. Make them alike"
                )
        yield from rows
    elif is_remote(argument):
        files = list_remote(argument)
        counts = (f for f in files if files == [argument] or counts_in_folders(file_of(f)))
        yield from ((file, {}) for file in counts)
    else:
        if is_live(argument):
            raise SourceError(f"{argument}: is live. `mien analyze` reads it; a batch takes files")
        files, errors = expand_source(argument)
        listing.failures += [(argument, error) for error in errors]
        yield from ((file, {}) for file in files)


def _read_manifest(name: str) -> tuple[dict[str, str], list[_Named]]:
    """Columns with their kinds, and what is named, of a table with a column `path`."""
    try:
        data = read_remote(name) if is_remote(name) else Path(name).read_bytes()
    except OSError as error:
        raise SourceError(f"{name}: cannot be read ({error.strerror}). Check the path") from error
    table = _csv_table if name.lower().endswith(".csv") else _parquet_table
    columns, rows = table(name, data)
    if "path" not in columns:
        found = f"found {', '.join(map(repr, columns))}" if columns else "found no columns"
        raise ConfigError(
            f"{name}: expected a manifest with a column 'path', and commas between columns; {found}"
        )
    base = name.rpartition("/")[0] if is_remote(name) else os.path.dirname(name)
    inputs: list[_Named] = []
    for number, row in enumerate(rows, 1):
        path = row["path"]
        if not isinstance(path, str) or not path.strip():
            raise ConfigError(f"{name}: row {number} has no path")
        if is_remote(name) and os.path.isabs(path):
            raise ConfigError(
                f"{name}: row {number} has the absolute path {path}, which may be meant here or "
                "there. Write its whole address (file://… for one here), or a path relative to the "
                "manifest"
            )
        if base and not is_remote(path):  # else as a path's own rules say: what is absolute stays
            path = f"{base}/{path}" if is_remote(base) else os.path.join(base, path)
        inputs.append((path, row))
    return columns, inputs


def _csv_table(name: str, data: bytes) -> tuple[dict[str, str], list[dict[str, Any]]]:
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        reader.fieldnames = names = [column.strip() for column in reader.fieldnames or ()]
        rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: not a CSV file in UTF-8 ({error})") from error
    _require_different(name, names)
    for number, row in enumerate(rows, 1):
        if None in row:
            raise ConfigError(f"{name}: row {number} has more fields than the first line")
    return dict.fromkeys(names, "string"), rows


def _require_different(name: str, columns: Sequence[str]) -> None:
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise ConfigError(f"{name}: two columns are called {twice!r}. Rename one")


def _parquet_table(name: str, data: bytes) -> tuple[dict[str, str], list[dict[str, Any]]]:
    if not is_whole_parquet(io.BytesIO(data)):
        raise ConfigError(f"{name}: not a complete Parquet file. Copy it again")
    from arro3.io import read_parquet

    try:
        table = read_parquet(io.BytesIO(data)).read_all()
        kinds = {column: _kind(table.schema.field(column).type) for column in table.schema.names}
        values = {column: table.column(column).to_pylist() for column in kinds}
    except BaseException as error:  # the library panics on damaged files
        if isinstance(error, KeyboardInterrupt):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{name}: not a Parquet file that can be read ({reason})") from error
    _require_different(name, table.schema.names)
    columns = {
        column: [
            value if value is None or kinds[column] != "string" else _text(value)
            for value in values[column]
        ]
        for column in kinds
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return kinds, rows


def _text(value: Any) -> str:
    """A value as text. Some programs write text as bytes, and do not say that it is text."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _kind(arrow_type: Any) -> str:
    """Which of the four kinds of carried columns holds an Arrow type; text holds all others."""
    from arro3.core import DataType

    kinds: Any = DataType
    if kinds.is_boolean(arrow_type):
        return "bool"
    if kinds.is_integer(arrow_type) and not kinds.is_uint64(arrow_type):
        return "int64"
    return "float64" if kinds.is_floating(arrow_type) else "string"
