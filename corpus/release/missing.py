"""`missing.csv`: what could have been in a release, and why it is not."""

import csv
import io
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from corpus.release.layout import MissingRow
from mmface4d.errors import InputError


def missing_csv(rows: list[MissingRow]) -> str:
    """The table of what could have been there; a cell that a spreadsheet would run as a formula gets a quote."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([each.name for each in fields(MissingRow)])
    writer.writerows([_cell(value) for value in astuple(row)] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def read_missing(path: Path) -> list[MissingRow]:
    """The rows of `missing.csv`; raises InputError where it is none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        return [MissingRow(*row[:5], count=int(row[5])) for row in rows[1:]]
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise InputError(f"{path} is damaged: {error}", hint="see: mmface4d release verify") from error
