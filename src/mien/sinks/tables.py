"""Results in full: JSON Lines, JSON, CSV, Parquet. Imports arro3, types and the sibling sink."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import RawIOBase
from queue import Queue
from threading import Thread
from typing import IO, Any, Final

from mien.sinks.sink import FileSink
from mien.types import EXPRESSIONS, FrameResult, UInt8Array, result_columns

#: Of a Parquet file: bounds the memory of a long video.
ROWS_PER_GROUP: Final = 8192


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


class CsvSink(FileSink):
    """One row per face with the columns of `RESULT_COLUMNS`; what is absent is empty."""

    def _open(self) -> None:
        self._file = self._partial.open("w", encoding="utf-8", newline="")
        self._rows = csv.DictWriter(
            self._file, result_columns(self.labels, shape=self.shape), lineterminator="\n"
        )
        self._rows.writeheader()

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        self._rows.writerows(result.to_rows(self.labels, shape=self.shape))

    def _close(self) -> None:
        self._file.close()


class ParquetSink(FileSink):
    """The rows of CSV, typed. Written in groups of rows, so memory stays constant.

    The library pulls its rows; results are pushed. A thread lets the two meet at a short queue.
    """

    def _open(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._groups: Queue[list[dict[str, Any]] | None] = Queue(maxsize=2)
        self._failure: BaseException | None = None
        self._writer = Thread(target=self._write_all, daemon=True)
        self._writer.start()

    def _write_all(self) -> None:
        try:
            fields = result_fields(self.labels, shape=self.shape)
            write_parquet_rows(str(self._partial), fields, iter(self._groups.get, None))
        except BaseException as error:  # some failures of the library are no Exception
            self._failure = error
            while self._groups.get() is not None:  # let the caller go on to its end
                pass

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        self._rows += result.to_rows(self.labels, shape=self.shape)
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        self._groups.put(rows)

    def _close(self) -> None:
        if self._rows:
            self._flush()
        self._groups.put(None)
        self._writer.join()
        if self._failure is not None:
            raise self._failed(self._failure)


def result_fields(labels: Sequence[str] = EXPRESSIONS, *, shape: bool = False) -> list[Any]:
    """The Arrow fields of `result_columns`, of which Parquet files are made."""
    from arro3.core import DataType, Field

    def kind(column: str) -> Any:
        if column in ("schema", "source", "expression"):
            return DataType.string()
        if column in ("frame", "width", "height", "face", "track_id"):
            return DataType.int64()
        return DataType.bool() if column == "uncertain" else DataType.float64()

    return [Field(column, kind(column)) for column in result_columns(labels, shape=shape)]


def write_parquet_rows(
    file: str | IO[bytes] | RawIOBase,
    fields: Sequence[Any],
    groups: Iterable[Sequence[Mapping[str, Any]]],
    *,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write groups of rows, as they come, to one Parquet file.

    Args:
        file: a path, or an open binary file.
        fields: Arrow fields; every row has a value, or None, for each.
        groups: rows, `ROWS_PER_GROUP` at a time where memory counts.
        metadata: what the file says about itself.
    """
    from arro3.core import Array, RecordBatch, RecordBatchReader, Schema
    from arro3.io import write_parquet

    def batches() -> Iterator[Any]:
        for rows in groups:
            columns: dict[str, Any] = {
                field.name: Array([row[field.name] for row in rows], type=field.type)
                for field in fields
            }
            yield RecordBatch.from_pydict(columns)

    target: Any = file  # anything that can be written to
    write_parquet(
        RecordBatchReader.from_batches(Schema(fields), batches()),
        target,
        compression="zstd(3)",
        max_row_group_size=ROWS_PER_GROUP,
        key_value_metadata=metadata,
    )
