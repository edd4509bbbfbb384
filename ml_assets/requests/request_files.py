"""Files of requests, read in chunks: Parquet, CSV and JSON lines, by their ending."""

import csv
import io
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, TextIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ml_assets.requests.column_names import (
    JsonFields,
    RequestFileError,
    column_of,
    printable,
    quoted_names,
    require_columns,
)
from ml_assets.requests.fields import quoted_name
from ml_assets.requests.file_content import (
    require_content,
    require_header,
    require_unpadded_quotes,
    width_fault,
)
from ml_assets.requests.validate import requests_frame

ENDINGS: Final = (".parquet", ".csv", ".jsonl", ".ndjson")
CHUNK_ROWS: Final = 50_000
_MAX_LINE = 1_000_000
"""Maximum characters of a line, which bounds the memory."""


@dataclass(frozen=True)
class Chunk:
    """A chunk of rows of a file.

    Attributes:
        own: The rows as they are in the file: a table, or the object of each JSON line.
        requests: The same rows as input of ``check_requests``.
        faults: Malformed rows (from 0 within the chunk), with the reason.
        read: Amount of the file read so far, in the unit of :func:`length`.
    """

    own: "pa.Table | list[dict[str, Any]]"
    requests: pl.DataFrame
    read: int
    faults: dict[int, str] = field(default_factory=dict)


def ending(path: Path) -> str:
    """Return the ending of a file's name, which determines its format.

    Raises:
        RequestFileError: It is not one of ``ENDINGS``.
    """
    found = path.suffix.lower()
    if found not in ENDINGS:
        raise RequestFileError(f"{path} must end with one of {', '.join(ENDINGS)}")
    return found


def length(path: Path) -> int:
    """Return the length of a file: rows of Parquet, bytes of text.

    Raises:
        RequestFileError: It does not exist or cannot be read.
    """
    try:
        if ending(path) == ".parquet":
            return int(pq.read_metadata(path).num_rows)
        return path.stat().st_size
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def require_readable(path: Path, ignored: Collection[str] = ()) -> None:
    """Check format, header and columns of a file of requests before its rows are read.

    Raises:
        RequestFileError: One is wrong; names the file, the fault and its likely cause.
    """
    found = ending(path)
    with _faults_named(path):
        require_content(path, found)
        if found == ".parquet":
            _parquet_columns(path, pq.read_schema(path).names, ignored)
        elif found == ".csv":
            with open(path, "rb") as raw, _text_of(raw) as text:
                _csv_header(path, text, ignored)


def read_chunks(path: Path, ignored: Collection[str] = ()) -> Iterator[Chunk]:
    """Read a file in chunks of at most ``CHUNK_ROWS`` rows.

    Args:
        ignored: Columns that are not fields; they are kept.

    Raises:
        RequestFileError: It cannot be read, lacks a required column, or has one that looks like a
            field under another name.
    """
    read = {".parquet": _parquet, ".csv": _csv}.get(ending(path), _json_lines)
    with _faults_named(path):
        yield from read(path, ignored)


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    """Convert read errors to RequestFileError with the name of the file."""
    try:
        yield
    except (OSError, pa.ArrowException, csv.Error) as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise RequestFileError(
            f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8"
        ) from error


def _parquet(path: Path, ignored: Collection[str]) -> Iterator[Chunk]:
    with pq.ParquetFile(path) as file:
        column = _parquet_columns(path, file.schema_arrow.names, ignored)
        read = 0
        for batch in file.iter_batches(batch_size=CHUNK_ROWS):
            batch.validate(full=True)  # Polars panics on text that is not UTF-8
            table = pa.Table.from_batches([batch])
            read += table.num_rows
            yield Chunk(table, _requests(path, table, column), read)


def _parquet_columns(path: Path, names: list[str], ignored: Collection[str]) -> dict[str, str]:
    column = column_of(str(path), names, ignored)
    require_columns(str(path), names, ignored)
    return column


def _requests(path: Path, table: pa.Table, column: Mapping[str, str]) -> pl.DataFrame:
    """Return the fields of a chunk, under their own names."""
    series = []
    for field_name, name in column.items():
        values = table[name]
        if pa.types.is_decimal256(values.type):
            values = values.cast(pa.string())  # Polars panics
        try:
            series.append(pl.Series(field_name, pl.from_arrow(values)))
        except (pl.exceptions.PolarsError, pa.ArrowException) as error:
            raise RequestFileError(
                f"{path}: the column {quoted_name(name)} has a type that cannot be {field_name}: "
                f"{printable(str(values.type))}"
            ) from error
    return pl.DataFrame(series)


def _csv(path: Path, ignored: Collection[str]) -> Iterator[Chunk]:
    with open(path, "rb") as raw, _text_of(raw) as text:
        rows, header, column = _csv_header(path, text, ignored)
        while some := list(islice(rows, CHUNK_ROWS)):
            some = [row for row in some if row]  # like the csv module, skip empty lines
            width = len(header)
            if some:
                values = dict(zip(header, some[0], strict=False))
                require_unpadded_quotes(path, [values.get(name, "") for name in column.values()])
            faults = {
                at: width_fault(row, width) for at, row in enumerate(some) if len(row) != width
            }
            even = [(row + [""] * width)[:width] for row in some] if faults else some
            columns = zip(*even, strict=True) if even else [()] * width
            own = pa.table(
                {
                    name: pa.array([value or None for value in column_values], pa.string())
                    for name, column_values in zip(header, columns, strict=True)
                }
            )
            yield Chunk(own, _requests(path, own, column), raw.tell(), faults)


def _csv_header(
    path: Path, text: TextIO, ignored: Collection[str]
) -> tuple[Iterator[list[str]], list[str], dict[str, str]]:
    """Return the rows after the header, the header, and the column of each field."""
    lines = _lines(path, text)
    first = next(lines, "")
    rows = csv.reader(chain([first], lines))
    header = next(rows, [])
    require_header(path, first, header)
    column = column_of(str(path), header, ignored)
    require_columns(str(path), header, ignored)
    return rows, header, column


def _json_lines(path: Path, ignored: Collection[str]) -> Iterator[Chunk]:
    fields = JsonFields(path.name, ignored)
    with open(path, "rb") as raw, _text_of(raw) as text:
        numbered = enumerate(_lines(path, text), start=1)
        filled = ((number, line) for number, line in numbered if line.strip())
        while some := list(islice(filled, CHUNK_ROWS)):
            own: list[dict[str, Any]] = []
            requests: list[Mapping[str, Any]] = []
            faults: dict[int, str] = {}
            for at, (number, line) in enumerate(some):
                row = _json(line)
                if not isinstance(row, dict):
                    faults[at] = f"line {number} is not a JSON object"
                    row = {}
                values = fields.read(number, row)
                if row and not values:
                    faults[at] = f"line {number} has no request field, but {quoted_names(row)}"
                own.append(row)
                requests.append(values)
            yield Chunk(own, requests_frame(requests), raw.tell(), faults)
    fields.require_ignored()


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):  # invalid JSON, a huge number, too deep
        return None


def _text_of(raw: Any) -> TextIO:
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def _lines(path: Path, text: TextIO) -> Iterator[str]:
    number = 0
    while line := text.readline(_MAX_LINE):
        number += 1
        if len(line) == _MAX_LINE and not line.endswith("\n"):
            raise RequestFileError(
                f"line {number} of {path} has more than {_MAX_LINE:,} characters: a file of "
                "requests has one row per line"
            )
        yield line


def _unreadable(path: Path, error: BaseException) -> RequestFileError:
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    cause = " (is a quote left open?)" if "field larger" in reason else ""
    return RequestFileError(f"{path} cannot be read: {printable(' '.join(reason.split()))}{cause}")
