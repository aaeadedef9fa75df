"""CSV files as people's programs save them. May import csv, and nothing from mien."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain


def csv_rows(lines: Iterator[str]) -> tuple[csv.DictReader[str], bool]:
    """Rows by column, and whether a comma begins the fraction of their numbers.

    Where it does, as in German or French, spreadsheets and R's `write.csv2` put semicolons between
    columns. Cells that are not there are empty; those beyond the last column stand under None.

    Args:
        lines: of the file, without a byte order mark.
    """
    head = next(lines, "")
    semicolons = head.count(";") > head.count(",")
    separator = ";" if semicolons else ","
    return csv.DictReader(chain([head], lines), restval="", delimiter=separator), semicolons
