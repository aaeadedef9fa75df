"""Small tables that a user writes beside the results: markers and groups. Imports
csv_tables, errors and wording.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from math import isfinite
from pathlib import Path

from mien.csv_tables import csv_rows
from mien.errors import ConfigError
from mien.wording import one_form


@dataclass(frozen=True)
class Marker:
    """A moment at which something happened to those who are filmed.

    Attributes:
        time_s: when, by the clock of the recording.
        label: what; markers of one label are averaged.
        source: in which recording; empty for all.
    """

    time_s: float
    label: str
    source: str = ""

    def concerns(self, source: str) -> bool:
        """Whether a recording is meant, by its full name or its file's."""
        return not self.source or self.source in names_of(source)


@dataclass(frozen=True)
class Member:
    """One recording's place in a comparison.

    Attributes:
        source: the recording, by its full name or its file's, or the table that holds it.
        group: which group it belongs to; empty for none.
        person: who is filmed; recordings of one person count as one. Empty where unknown.
        day: when it was recorded; None where unknown.
    """

    source: str
    group: str = ""
    person: str = ""
    day: date | None = None


def names_of(source: str) -> tuple[str, str]:
    """What a user may write for a source: all of it, or its last part; as of `one_form`."""
    source = one_form(source)
    return source, source.replace("\\", "/").rpartition("/")[2]


def last_part(source: str) -> str:
    """What pages call a source: folders, passwords and tokens are nobody's business. Or empty."""
    is_url = "://" in source
    whole = source.partition("?")[0] if is_url else source.replace("\\", "/")
    last = whole.rstrip("/").rpartition("/")[2]
    return last.rpartition("@")[2] if is_url else last


def read_markers(file: Path) -> list[Marker]:
    """Markers out of a CSV file with the columns time_s, label and perhaps source.

    Raises:
        ConfigError: no such file, other columns, or a time that is none.
    """
    markers = []
    for line, row in _rows(file, ("time_s", "label"), ("source",), numbers=("time_s",)):
        try:
            time_s = float(row["time_s"])
        except ValueError:
            time_s = -1.0
        if not isfinite(time_s) or time_s < 0 or not row["label"]:
            raise ConfigError(
                f"{file}: line {line}: time_s is {row['time_s']!r} and label {row['label']!r}. "
                "Expected seconds, at least 0, and a text"
            )
        markers.append(Marker(time_s, row["label"], one_form(row["source"])))
    return markers


def read_groups(file: Path) -> list[Member]:
    """Groups out of a CSV file with the columns source, group and perhaps person and date.

    Raises:
        ConfigError: no such file, other columns, a source twice, or a date not as YYYY-MM-DD.
    """
    members: dict[str, Member] = {}
    for line, row in _rows(file, ("source",), ("group", "person", "date")):
        day = None
        if row["date"]:
            try:
                day = date.fromisoformat(row["date"])
            except ValueError as error:
                raise ConfigError(
                    f"{file}: line {line}: the date is {row['date']!r}. Expected YYYY-MM-DD"
                ) from error
        source = one_form(row["source"])
        if source in members:
            raise ConfigError(
                f"{file}: line {line}: {source} for the second time. Expected each source once"
            )
        members[source] = Member(source, row["group"], row["person"], day)
    return list(members.values())


def _rows(
    file: Path, needed: Sequence[str], known: Sequence[str], numbers: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and values, stripped; columns that are not there are empty. `numbers` have a
    point before their fraction.
    """
    expected = f"columns {', '.join(needed)}, and perhaps {', '.join(known)}"
    try:
        # Spreadsheets put a mark before the first column's name.
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows, has_commas = csv_rows(stream)
            columns = [(name or "").strip().lower() for name in rows.fieldnames or ()]
            if not set(needed) <= set(columns):
                found = ", ".join(columns) or "none"
                raise ConfigError(f"{file}: expected {expected}; found {found[:200]}")
            rows.fieldnames = columns
            for row in rows:
                values = {name: row.get(name, "").strip() for name in (*needed, *known)}
                if any(row.get(None, ())):  # a comma in a text, or in a number, has split it
                    raise ConfigError(
                        f"{file}: line {rows.line_num}: has more cells than there are columns. "
                        "Expected quotation marks around what holds a comma"
                    )
                if has_commas:
                    values |= {name: values[name].replace(",", ".") for name in numbers}
                if any(values.values()):
                    yield rows.line_num, values
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}). Check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: not in UTF-8 ({error}). In a spreadsheet save it as “CSV UTF-8”"
        ) from error
    except csv.Error as error:
        raise ConfigError(f"{file}: not a CSV file ({error}). Expected {expected}") from error
