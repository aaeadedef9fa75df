"""Results in full: JSON Lines, JSON, CSV, Parquet. Imports arro3, types and the sibling sink."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from queue import Queue
from threading import Thread
from typing import Any, Final

from mien.sinks.sink import FileSink
from mien.types import FrameResult, UInt8Array, result_columns

_ROWS_PER_GROUP: Final = 8192  # of a Parquet file: bounds the memory of a long video


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
    """The rows of CSV, typed. Written in groups of rows, so memory stays constant.

    The library pulls its rows; results are pushed. A thread lets the two meet at a short queue.
    """

    def _open(self) -> None:
        from arro3.core import RecordBatchReader, Schema

        self._fields = [_arrow_field(name) for name in self._columns()]
        self._rows: list[dict[str, Any]] = []
        self._groups: Queue[list[dict[str, Any]] | None] = Queue(maxsize=2)
        self._failure: BaseException | None = None
        reader = RecordBatchReader.from_batches(Schema(self._fields), self._batches())
        self._writer = Thread(target=self._write_all, args=(reader,), daemon=True)
        self._writer.start()

    def _write_all(self, reader: Any) -> None:
        from arro3.io import write_parquet

        try:
            write_parquet(
                reader,
                str(self._partial),
                compression="zstd(3)",
                max_row_group_size=_ROWS_PER_GROUP,
            )
        except BaseException as error:  # some failures of the library are no Exception
            self._failure = error
            while self._groups.get() is not None:  # let the caller go on to its end
                pass

    def _batches(self) -> Iterator[Any]:
        from arro3.core import Array, RecordBatch

        while (rows := self._groups.get()) is not None:
            columns: dict[str, Any] = {
                field.name: Array([row[field.name] for row in rows], type=field.type)
                for field in self._fields
            }
            yield RecordBatch.from_pydict(columns)

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        self._rows += self._rows_of(result)
        if len(self._rows) >= _ROWS_PER_GROUP:
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
