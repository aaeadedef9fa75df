"""Results in full: JSON Lines, JSON, CSV. Imports types and the sibling sink."""

from __future__ import annotations

import csv
import json
from typing import Any

from mien.sinks.sink import FileSink
from mien.types import FrameResult, UInt8Array, result_columns


def to_json(result: FrameResult, *, ascii_only: bool = False) -> str:
    """One frame as one line of JSON, numbers in full precision; with escapes for other letters
    where only those of ASCII can be written.
    """
    return json.dumps(result.to_dict(), ensure_ascii=ascii_only)


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
