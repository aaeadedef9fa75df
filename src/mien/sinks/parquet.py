"""Results in full as Parquet. Imports arro3, types, whole and the sibling tables."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import RawIOBase
from pathlib import Path
from typing import IO, Any, Final

from mien.sinks.tables import TableSink
from mien.types import EXPRESSIONS, TEXT_COLUMNS, FrameResult, UInt8Array, result_columns
from mien.whole import sync_names

#: Of a Parquet file: bounds the memory of whoever reads it.
ROWS_PER_GROUP: Final = 8192
_ROWS_AT_RISK: Final = 2048  # that a crash may cost: some 80 seconds of one face

_Rows = Sequence[Mapping[str, Any]]


class ParquetSink(TableSink):
    """The rows of CSV, typed. Memory stays constant: rows are written in groups.

    A Parquet file can be read only once its end is written, which a crash would prevent. So until
    then every group is a complete file in a folder beside the target, `.NAME.part/`, which readers
    of Parquet take as one table. A run that finds such a folder keeps it as `.NAME.part-1/`, ….
    """

    def _open(self) -> None:
        self._fields = result_fields(self.labels, shape=self.shape, identity=self.identity)
        self._rows: list[dict[str, Any]] = []
        self._groups: list[Path] = []
        self._folder = self._partial.with_suffix("")
        _keep(self._folder)
        self._folder.mkdir()

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        self._rows += self._rows_of(result)
        if len(self._rows) >= _ROWS_AT_RISK:
            _undisturbed(self._flush)

    def _flush(self) -> None:
        group = self._folder / f"{len(self._groups):06}.parquet"
        unfinished = group.with_suffix(".unfinished")
        self._save([_batch(self._rows, self._fields)], unfinished)
        unfinished.replace(group)
        sync_names(self._folder)
        self._groups.append(group)
        self._rows = []

    def _close(self) -> None:
        _undisturbed(self._join)

    def _join(self) -> None:
        from arro3.io import read_parquet

        if self._rows:
            self._flush()
        batches = (batch for group in self._groups for batch in read_parquet(str(group)))
        self._save(batches, self._partial)
        # Once the whole has its name, the folder's may be that of another run's.
        self._folder = _set_aside(self._folder)

    def _tidy(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _save(self, batches: Iterable[Any], path: Path) -> None:
        with path.open("wb") as file:
            _write_batches(file, self._fields, batches)
            file.flush()
            os.fsync(file.fileno())


def _undisturbed(work: Callable[[], None]) -> None:
    """Do some work to its end also if Ctrl-C is pressed meanwhile, and let that interrupt then.

    It is done in another thread, since signals raise in the main one, wherever that is: arro3
    panics, and of a group it would be open whether it is written.
    """
    with ThreadPoolExecutor(1) as thread:
        thread.submit(work).result()


def _keep(folder: Path) -> None:
    """Set aside the rows that a killed run left: nobody may have seen them yet."""
    if any(folder.glob("*.parquet")):
        _set_aside(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _set_aside(folder: Path) -> Path:
    """Give a folder the first name of `.NAME.part-1`, … that is not taken."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    return folder.rename(aside)


def result_fields(
    labels: Sequence[str] = EXPRESSIONS, *, shape: bool = False, identity: bool = False
) -> list[Any]:
    """The Arrow fields of `result_columns`, of which Parquet files are made."""
    from arro3.core import DataType, Field

    def kind(column: str) -> Any:
        if column in TEXT_COLUMNS:
            return DataType.string()
        if column in ("frame", "width", "height", "face", "track_id"):
            return DataType.int64()
        return DataType.bool() if column == "uncertain" else DataType.float64()

    columns = result_columns(labels, shape=shape, identity=identity)
    return [Field(column, kind(column)) for column in columns]


def write_parquet_rows(
    file: IO[bytes],
    fields: Sequence[Any],
    groups: Iterable[_Rows],
    *,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write groups of rows, as they come, to one Parquet file.

    Args:
        file: open for writing.
        fields: Arrow fields; every row has a value, or None, for each.
        groups: rows, `ROWS_PER_GROUP` at a time where memory counts.
        metadata: what the file says about itself.

    Raises:
        OSError: it cannot be written.
    """
    _write_batches(file, fields, (_batch(rows, fields) for rows in groups), metadata)


def _batch(rows: _Rows, fields: Sequence[Any]) -> Any:
    from arro3.core import Array, RecordBatch

    columns: dict[str, Any] = {
        field.name: Array([row[field.name] for row in rows], type=field.type) for field in fields
    }
    return RecordBatch.from_pydict(columns)


def _write_batches(
    file: IO[bytes],
    fields: Sequence[Any],
    batches: Iterable[Any],
    metadata: dict[str, str] | None = None,
) -> None:
    from arro3.core import RecordBatchReader, Schema
    from arro3.io import write_parquet

    target = _Target(file)
    write_parquet(
        RecordBatchReader.from_batches(Schema(fields), iter(batches)),
        target,  # type: ignore[arg-type]  # any file will do
        compression="zstd(3)",
        max_row_group_size=ROWS_PER_GROUP,
        key_value_metadata=metadata,
    )
    if target.failure is not None:
        raise target.failure


class _Target(RawIOBase):
    """A file for arro3, which panics, with pages of text, where writing fails.

    It is let go on to its end, and the failure is kept.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.failure: OSError | None = None

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Write, or where that has failed before, do nothing."""
        if self.failure is None:
            try:
                return self._file.write(data)
            except OSError as error:
                self.failure = error
        return len(data)
