"""Results in full: JSON Lines, JSON, CSV, Parquet. Imports arro3, types and the sibling sink."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from mien.sinks.sink import FileSink
from mien.types import FrameResult, UInt8Array, result_columns

_ROWS_PER_GROUP: Final = 8192  # of a Parquet file: bounds the memory of a long video
_ROWS_AT_RISK: Final = 2048  # that a crash may cost: some 80 seconds of one face


def to_json(result: FrameResult) -> str:
    """One frame as one line of JSON, numbers in full precision."""
    return json.dumps(result.to_dict(), ensure_ascii=False)


class JsonLinesSink(FileSink):
    """One JSON object a line, one line a frame."""

    def _open(self) -> None:
        self._file = self._partial.open("w", encoding="utf-8")

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        self._file.write(to_json(result) + "\n")

    def _close(self) -> None:
        self._file.close()


class JsonSink(FileSink):
    """One JSON array of the objects that JSON Lines has, one a line."""

    def _open(self) -> None:
        self._file = self._partial.open("w", encoding="utf-8")
        self._before = "[\n"

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        self._file.write(self._before + to_json(result))
        self._before = ",\n"

    def _close(self) -> None:
        self._file.write("\n]\n")
        self._file.close()


class TableSink(FileSink):
    """One row per face, with the columns that were asked for."""

    def _columns(self) -> tuple[str, ...]:
        return result_columns(self.labels, shape=self.shape, identity=self.identity)

    def _rows_of(self, result: FrameResult) -> list[dict[str, Any]]:
        return result.to_rows(self.labels, shape=self.shape, identity=self.identity)


class CsvSink(TableSink):
    """One row per face with the columns of `RESULT_COLUMNS`; what is absent is empty."""

    def _open(self) -> None:
        self._file = self._partial.open("w", encoding="utf-8", newline="")
        self._rows = csv.DictWriter(self._file, self._columns(), lineterminator="\n")
        self._rows.writeheader()

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        self._rows.writerows(self._rows_of(result))

    def _close(self) -> None:
        self._file.close()


class ParquetSink(TableSink):
    """The rows of CSV, typed. Memory stays constant: rows are written in groups.

    A Parquet file can be read only once its end is written, which a crash would prevent. So until
    then every group is a complete file in a folder beside the target, `.NAME.part/`, which readers
    of Parquet take as one table.
    """

    def _open(self) -> None:
        self._fields = [_arrow_field(name) for name in self._columns()]
        self._rows: list[dict[str, Any]] = []
        self._groups: list[Path] = []
        self._folder = self._partial.with_suffix("")
        shutil.rmtree(self._folder, ignore_errors=True)  # of a run that was killed
        self._folder.mkdir()

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        self._rows += self._rows_of(result)
        if len(self._rows) >= _ROWS_AT_RISK:
            self._flush()

    def _flush(self) -> None:
        from arro3.core import Array, RecordBatch

        rows, self._rows = self._rows, []
        columns: dict[str, Any] = {
            field.name: Array([row[field.name] for row in rows], type=field.type)
            for field in self._fields
        }
        group = self._folder / f"{len(self._groups):06}.parquet"
        unfinished = group.with_suffix(".unfinished")
        self._write_file([RecordBatch.from_pydict(columns)], unfinished)
        unfinished.replace(group)
        self._groups.append(group)

    def _close(self) -> None:
        from arro3.io import read_parquet

        if self._rows:
            self._flush()
        batches = (batch for group in self._groups for batch in read_parquet(str(group)))
        self._write_file(batches, self._partial)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write_file(self, batches: Iterable[Any], file: Path) -> None:
        from arro3.core import RecordBatchReader, Schema
        from arro3.io import write_parquet

        reader = RecordBatchReader.from_batches(Schema(self._fields), iter(batches))
        try:
            write_parquet(
                reader, str(file), compression="zstd(3)", max_row_group_size=_ROWS_PER_GROUP
            )
        except (KeyboardInterrupt, OSError):
            raise
        except BaseException as error:  # some failures of the library are no Exception
            raise self._failed(error) from error


def _arrow_field(column: str) -> Any:
    from arro3.core import DataType, Field

    kind = DataType.float64()
    if column in ("schema", "source", "expression", "person"):
        kind = DataType.string()
    elif column in ("frame", "width", "height", "face", "track_id"):
        kind = DataType.int64()
    elif column == "uncertain":
        kind = DataType.bool()
    return Field(column, kind)
