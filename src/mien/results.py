"""Results read back from the files that sinks wrote, and as a data frame. May import csv, json,
pyarrow inside a function (the extra `parquet`), and from mien: companions, csv_tables, errors,
types.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Final, TextIO

from mien.companions import last_part
from mien.csv_tables import csv_rows
from mien.errors import ConfigError, SourceError
from mien.types import (
    EMPTY_CELLS,
    IDENTITY_COLUMNS,
    LANDMARK_NAMES,
    QUALITY_COLUMNS,
    SCHEMA_VERSION,
    SHAPE_COLUMNS,
    TEXT_COLUMNS,
    FaceIdentity,
    FaceQuality,
    FaceResult,
    FaceShape,
    FrameResult,
    to_pandas,
)

__all__ = ["checked_results", "read_results", "to_pandas"]

_SUFFIXES: Final = (".jsonl", ".json", ".csv", ".parquet")
#: As programs write them: R and spreadsheets in capitals, these also in their user's language.
_TRUE: Final = ("true", "wahr", "vrai", "vero", "verdadero", "verdadeiro", "waar")
_FALSE: Final = ("false", "falsch", "faux", "falso", "onwaar")
_ROWS_AT_ONCE: Final = 8192  # of a Parquet file
_LATEST_S: Final = 1e11  # some streams count from 1970
#: What is held at a time, whoever wrote a file: characters of one frame, enough for thousands of
#: faces; and megabytes of JSON that has not one frame a line.
_LONGEST_FRAME: Final = 8_000_000
_MOST_WHOLE_MB: Final = 50


def read_results(path: str | Path) -> Iterator[FrameResult]:
    """Results of `mien analyze --out FILE`, frame by frame, from any of its formats.

    All of them are read as they are asked for; JSON only where it has one frame a line, as mien
    writes it, and at once up to 50 MB elsewhere. Tables may have been saved anew by pandas, R or a
    spreadsheet.

    Raises:
        SourceError: no such file, an unknown suffix, not what `mien analyze` writes, or a frame of
            more than eight million characters.
        ConfigError: a Parquet file, and pyarrow is not installed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES or path.name.lower().endswith(".segments.csv"):
        raise SourceError(
            f"{path}: expected results of `mien analyze --out`: {' '.join(_SUFFIXES)}"
        )
    try:
        if suffix == ".parquet":
            yield from _from_rows(_parquet_rows(path))
            return
        # Spreadsheets put a mark before the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _Lines(file)
            results: Iterator[FrameResult]
            if suffix == ".csv":
                results = _from_rows(_csv_rows(lines))
            else:
                filled = (line for line in lines if line.strip())
                objects = _json_array(file, lines) if suffix == ".json" else map(json.loads, filled)
                results = map(_from_object, objects)
            for result in results:
                lines.renew()
                yield result
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}). Check the path") from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}: not results of `mien analyze` in UTF-8 ({error}). Save the table anew, in a "
            "spreadsheet as “CSV UTF-8”, or analyse the source again"
        ) from error
    except _TooMuchError as error:
        raise SourceError(f"{path}: {error}. Save it as .jsonl or .csv, or in parts") from error
    except (
        ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError, csv.Error,
    ) as error:  # fmt: skip
        raise SourceError(
            f"{path}: not results of `mien analyze` ({_said(error)}). Analyse the source again"
        ) from error


def checked_results(path: str | Path) -> Iterator[FrameResult]:
    """`read_results` for those who draw and count: only values that can be.

    Raises:
        SourceError: as `read_results`, or for a time, a box, a probability or an expression that
            cannot be.
        ConfigError: as `read_results`.
    """
    for result in read_results(path):
        where = f"{path}: frame {result.frame} of {last_part(result.source) or 'its source'}"
        try:
            timely, sound = 0 <= result.time_s < _LATEST_S, all(map(_is_sound, result.faces))
        # JSON holds values of any kind under any name.
        except (ArithmeticError, AttributeError, TypeError) as error:
            raise SourceError(
                f"{path}: not results of `mien analyze` ({_said(error)}). Analyse the source again"
            ) from error
        if not timely:
            raise SourceError(f"{where}: time_s is {result.time_s}. Expected seconds, at least 0")
        if not sound:
            raise SourceError(
                f"{where}: a face's box, probabilities or expression cannot be. Expected "
                "numbers, 0 to 1 for each class. Analyse the source again"
            )
        yield result


def _is_sound(face: FaceResult) -> bool:
    good = all(isfinite(p) and 0 <= p <= 1 for p in face.probs.values())
    boxed = len(face.box) == 4 and all(map(isfinite, face.box))
    return good and boxed and face.expression in face.probs


def _said(error: Exception) -> str:
    """What is wrong with a file, for those who do not know Python too."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return f"{type(error).__name__}: {error}"


class _TooMuchError(ValueError):
    """More at once than fits well into memory."""


class _Lines:
    """The lines of a file, and no more of them for one frame than fit well into memory.

    A line without an end is not read to its end.
    """

    def __init__(self, file: TextIO) -> None:
        self._file, self._left = file, _LONGEST_FRAME

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            raise _TooMuchError(f"a frame has more than {_LONGEST_FRAME:,} characters")
        if not line:
            raise StopIteration
        return line

    def renew(self) -> None:
        """A frame is complete: what follows belongs to the next one."""
        self._left = _LONGEST_FRAME


def _from_object(values: Mapping[str, Any]) -> FrameResult:
    """One result; keys that somebody has added are passed over, as columns of tables are."""
    _require_schema(values["schema"])
    return FrameResult(
        str(values["source"]),
        _whole(values["frame"]),
        float(values["time_s"]),
        _whole(values["width"]),
        _whole(values["height"]),
        tuple(map(_face_of_object, values["faces"])),
        values.get("model"),
    )


def _face_of_object(face: Mapping[str, Any]) -> FaceResult:
    identity, number = face.get("identity"), face["track_id"]
    return FaceResult(
        box=tuple(face["box"]),
        landmarks=tuple(tuple(point) for point in face["landmarks"]),
        uncertain=_truth(face["uncertain"]),
        **{name: face[name] for name in ("score", "expression", "confidence", "probs")},
        track_id=None if number is None else _whole(number),
        quality=FaceQuality.from_dict(face["quality"]) if "quality" in face else None,
        shape=FaceShape.from_dict(face["shape"]) if "shape" in face else None,
        identity=None if identity is None else FaceIdentity.from_dict(identity),
    )


def _json_array(file: TextIO, lines: _Lines) -> Iterator[Any]:
    """The members of an array: one a line, as mien writes them; in any other layout at once."""
    if file.readline(3).strip() == "[":
        first = True
        for line in lines:
            text = line.strip()
            if text == "]":
                return
            try:
                member = json.loads(text.removesuffix(","))
            except json.JSONDecodeError:
                if not first:
                    raise
                break
            yield member
            first = False
        else:
            raise ValueError("ends within its array")
    if os.fstat(file.fileno()).st_size > 1e6 * _MOST_WHOLE_MB:
        raise _TooMuchError(
            f"more than {_MOST_WHOLE_MB} MB without one frame a line, as mien writes"
        )
    file.seek(0)
    yield from json.load(file)


def _csv_rows(lines: _Lines) -> Iterator[Mapping[str, Any]]:
    """The rows of a table, numbers with a point before their fraction."""
    rows, has_commas = csv_rows(lines)
    for row in rows:
        if has_commas:
            numbers = (name for name in row if name is not None and name not in TEXT_COLUMNS)
            row |= {name: row[name].replace(",", ".") for name in numbers}
        yield row


def _from_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[FrameResult]:
    """One result for the rows of each frame, which follow each other. A picture may have been given
    twice, one after the other.
    """
    first: Mapping[str, Any] = {}  # of the frame's rows; the others are not kept
    frame: tuple[Any, Any] | None = None
    faces: list[FaceResult] = []
    for row in rows:
        its_frame = row["source"], row["frame"]
        number = None if row["face"] in EMPTY_CELLS else _whole(row["face"])
        if its_frame != frame or not number:
            if first:
                yield _frame(first, faces)
            _require_schema(row["schema"])
            first, frame, faces = row, its_frame, []
        if number is not None:
            faces.append(_face(row))
    if first:
        yield _frame(first, faces)


def _frame(row: Mapping[str, Any], faces: Iterable[FaceResult]) -> FrameResult:
    return FrameResult(
        row["source"],
        _whole(row["frame"]),
        float(row["time_s"]),
        _whole(row["width"]),
        _whole(row["height"]),
        tuple(faces),
        None if row["model"] in EMPTY_CELLS else row["model"],
    )


def _face(row: Mapping[str, Any]) -> FaceResult:
    points = [(float(row[f"{name}_x"]), float(row[f"{name}_y"])) for name in LANDMARK_NAMES]
    x, y, w, h = (float(row[f"box_{edge}"]) for edge in "xywh")
    return FaceResult(
        box=(x, y, w, h),
        score=float(row["score"]),
        landmarks=tuple(points),
        expression=row["expression"],
        confidence=float(row["confidence"]),
        uncertain=_truth(row["uncertain"]),
        probs={
            key.removeprefix("prob_"): float(value)
            for key, value in row.items()
            if key.startswith("prob_")
        },
        track_id=_whole(row["track_id"]) if row["track_id"] not in EMPTY_CELLS else None,
        quality=FaceQuality.from_row(row) if row[QUALITY_COLUMNS[0]] not in EMPTY_CELLS else None,
        shape=FaceShape.from_row(row) if row.get(SHAPE_COLUMNS[0]) not in EMPTY_CELLS else None,
        identity=FaceIdentity.from_row(row) if IDENTITY_COLUMNS[0] in row else None,
    )


def _whole(value: Any) -> int:
    """A whole number; pandas makes 1.0 of 1 where other cells of the column are empty."""
    number = float(value)
    if not number.is_integer():
        raise ValueError(f"expected a whole number, found {value}")
    return int(number)


def _text(value: Any) -> Any:
    """What is text in tables; pandas makes numbers of names that look like them, and 7.0 of 7 where
    other cells of the column are empty.
    """
    if value is None or isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _truth(value: Any) -> bool:
    """Whether; nothing else will do, since a wrong guess would make sure answers of unsure ones."""
    word = str(value).lower()
    if word not in (*_TRUE, *_FALSE):
        raise ValueError(f"expected uncertain to be True or False, found {value}")
    return word in _TRUE


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:  # arro3, which writes the files, ends the whole process on some damaged ones
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(
            f"{path}: reading Parquet needs pyarrow, which mien's runtime does without: "
            "pip install 'mien[parquet]', or write .jsonl or .csv"
        ) from error
    with path.open("rb") as file:
        if not file.read(1):
            raise ValueError("an empty file")
    try:
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    yield row | {name: _text(row[name]) for name in TEXT_COLUMNS if name in row}
    except (pyarrow.ArrowException, OSError, MemoryError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"damaged, or no Parquet file: {reason}") from error


def _require_schema(found: str) -> None:
    if found != SCHEMA_VERSION:
        raise ValueError(f"expected schema {SCHEMA_VERSION}, found {found}")
