"""A run's log, a CSV with a row per validation: written, and read again."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from segue.errors import DataError
from segue.files import write_text


def write_log(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """The log as CSV, one row per validation; numbers in full, so that equal runs have equal files."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: int(value) if float(value).is_integer() else repr(value) for key, value in row.items()})
    write_text(path, text.getvalue())


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a log; none where there is no file. Raises DataError for what is not a number."""
    if not path.is_file():
        return []
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    try:
        return [{key: float(value) if value else math.nan for key, value in row.items()} for row in rows]
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: is not what `segue train` writes ({error})") from error


def best_row(rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The row whose model is kept: the first one of the highest mean IoU."""
    return max(rows, key=lambda row: row["miou"])
