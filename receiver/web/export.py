"""Streams events and audit rows as CSV or JSON, in constant memory.

A spreadsheet runs a cell that begins like a formula, so such text gets an apostrophe in front. To export another
column, add it to the mapping that the caller passes.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from flask import Response, stream_with_context

from receiver.protocol.json_body import to_json
from receiver.store.shown import WORDS, shown_part

Row = Mapping[str, Any]
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def as_csv(rows: Iterable[Row], columns: Sequence[str], filename: str) -> Response:
    """A CSV file of these columns."""
    return _download(_csv_lines(rows, columns), "text/csv; charset=utf-8", filename)


def as_json(rows: Iterable[Row], columns: Sequence[str], filename: str) -> Response:
    """A JSON array of objects with these columns."""
    return _download(_json_lines(rows, columns), "application/json", filename)


FORMATS: Mapping[str, Callable[[Iterable[Row], Sequence[str], str], Response]] = {"csv": as_csv, "json": as_json}


def defused(value: Any) -> str:
    """The cell's text. A spreadsheet will not run it as a formula."""
    text = "" if value is None else str(value)
    text = text.encode(errors="backslashreplace").decode()  # half a surrogate pair can't be encoded
    return f"'{text}" if text.startswith(_FORMULA) else text


def _csv_lines(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row, column) for column in columns])
        if line.tell() > 8192:
            yield line.getvalue()
            line.seek(0)
            line.truncate()
    yield line.getvalue()


def _json_lines(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[str]:
    separator = "[\n"
    for row in rows:
        yield separator + _document(row, columns)
        separator = ",\n"
    yield "\n]\n" if separator == ",\n" else "[]\n"


def _cell(row: Row, column: str) -> str:
    cell = shown_part("cell", lambda: defused(row[column]))
    return WORDS if cell is None else cell


def _document(row: Row, columns: Sequence[str]) -> str:
    document = shown_part("row", lambda: to_json({column: row[column] for column in columns}))
    return document or to_json({"error": WORDS})


def _download(lines: Iterator[str], mimetype: str, filename: str) -> Response:
    response = Response(stream_with_context(lines), content_type=mimetype)
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response
