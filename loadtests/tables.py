"""Rows of CSV and JSONL files that a profile's variables draw from.

Invariant: a file is taken whole or not at all: each line that is wrong is told with its place.
"""

from __future__ import annotations

import csv
import io
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

MOST_BYTES: Final = 64 * 1024 * 1024
MOST_TOLD: Final = 5
"""Wrong lines that are told of one file; the rest is counted."""


class BadLine(NamedTuple):
    """What is wrong in a file, and where: line and column, from 1; 0 and 0 where it is all of the file."""

    message: str
    line: int = 0
    column: int = 0


class BadTable(ValueError):
    """A file that holds no rows that could be used. `lines` say why."""

    def __init__(self, lines: list[BadLine]) -> None:
        super().__init__("; ".join(line.message for line in lines))
        self.lines = lines


class Table(NamedTuple):
    """The rows of a file. CSV rows are objects of strings; JSONL rows are whatever the lines hold."""

    rows: tuple[object, ...]
    columns: tuple[str, ...]
    """Of CSV, the names in its first line; of JSONL, the keys that all rows have."""


def read_table(path: str) -> Table:
    """The rows of a file, read once until it changes; `.csv` is CSV, anything else JSON lines.

    Raises BadTable.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise BadTable([BadLine(_reason(error))]) from error
    return _read(path, status.st_mtime_ns, status.st_size)


def _reason(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"cannot be read: {reason.lower()}"


@lru_cache(maxsize=32)
def _read(path: str, changed: int, size: int) -> Table:
    del changed
    if size > MOST_BYTES:
        raise BadTable([BadLine(f"expected at most {MOST_BYTES >> 20} MiB, got {size >> 20} MiB")])
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadTable([BadLine(_reason(error))]) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = error.start - before.rfind(b"\n")
        raise BadTable([BadLine("expected UTF-8", before.count(b"\n") + 1, column)]) from error
    table = _csv(text) if path.lower().endswith(".csv") else _json_lines(text)
    if not table.rows:
        raise BadTable([BadLine("expected at least one row, got none")])
    return table


def _csv(text: str) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    wrong: list[BadLine] = []
    rows: list[object] = []
    columns: list[str] = []
    line = 1
    try:
        for cells in reader:
            at, line = line, reader.line_num + 1
            if not cells:
                continue
            if not columns:
                columns = cells
                doubled = next((name for name in columns if columns.count(name) > 1), None)
                if doubled is not None or "" in columns:
                    what = f"the column {doubled} is there twice" if doubled else "a column has no name"
                    raise BadTable([BadLine(f"expected a line of column names: {what}", at, 1)])
            elif len(cells) != len(columns):
                wrong.append(BadLine(f"expected {len(columns)} cells, got {len(cells)}", at, 1))
            else:
                rows.append(dict(zip(columns, cells, strict=True)))
    except csv.Error as error:
        wrong.append(BadLine(f"expected CSV: {error}", line, 1))
    _refuse(wrong)
    return Table(tuple(rows), tuple(columns))


def _json_lines(text: str) -> Table:
    wrong: list[BadLine] = []
    rows: list[object] = []
    common: set[str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            wrong.append(BadLine(f"expected JSON: {error.msg.lower()}", number, error.colno))
            continue
        except (ValueError, RecursionError) as error:
            wrong.append(BadLine(f"expected JSON: {error}", number, 1))
            continue
        rows.append(row)
        keys = set(row) if isinstance(row, dict) else set()
        common = keys if common is None else common & keys
    _refuse(wrong)
    return Table(tuple(rows), tuple(sorted(common or ())))


def _refuse(wrong: list[BadLine]) -> None:
    if wrong:
        told = wrong[:MOST_TOLD]
        if len(wrong) > MOST_TOLD:
            told[-1] = told[-1]._replace(
                message=f"{told[-1].message} (and {len(wrong) - MOST_TOLD} more such lines)"
            )
        raise BadTable(told)
