"""Files of requests, read a few rows at a time: Parquet, CSV and JSON lines by their ending."""

import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ml_assets.trips.requests import REQUIRED_FIELDS, requests_frame
from ml_assets.trips.rules import REQUEST_COLUMNS

ENDINGS: Final = (".parquet", ".csv", ".jsonl", ".ndjson")
CHUNK_ROWS: Final = 50_000
_LONGEST_LINE = 1_000_000
"""Characters of a line of text; so much of it is held in memory."""


class RequestFileError(ValueError):
    """A file that cannot be read as requests, or answered to; names it, the fault, the way out."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file.

    Attributes:
        own: Its rows as they are: a table, or what each JSON line holds.
        requests: The same rows, as ``check_requests`` takes them.
        faults: Rows (from 0, within the chunk) that are no rows at all, and why.
        read: How much of the file has been read by its end, in the unit of :func:`length`.
    """

    own: "pa.Table | list[dict[str, Any]]"
    requests: pl.DataFrame
    read: int
    faults: dict[int, str] = field(default_factory=dict)


def ending(path: Path) -> str:
    """The ending of a file's name that tells its format.

    Raises:
        RequestFileError: when it is none of ``ENDINGS``.
    """
    found = path.suffix.lower()
    if found not in ENDINGS:
        raise RequestFileError(f"{path} must end with one of {', '.join(ENDINGS)}")
    return found


def length(path: Path) -> int:
    """How long a file is: rows of Parquet, bytes of text.

    Raises:
        RequestFileError: when it is not there, or cannot be read.
    """
    try:
        if ending(path) == ".parquet":
            return int(pq.read_metadata(path).num_rows)
        return path.stat().st_size
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def read_chunks(path: Path) -> Iterator[Chunk]:
    """Read a file in chunks of at most ``CHUNK_ROWS`` rows.

    Raises:
        RequestFileError: when it cannot be read, or lacks a column that every request must have.
    """
    read = {".parquet": _parquet, ".csv": _csv}.get(ending(path), _json_lines)
    try:
        yield from read(path)
    except (OSError, pa.ArrowException, csv.Error) as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise RequestFileError(
            f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8"
        ) from (error)


def _parquet(path: Path) -> Iterator[Chunk]:
    with pq.ParquetFile(path) as file:
        _require_columns(path, file.schema_arrow.names)
        named = [name for name in REQUEST_COLUMNS if name in file.schema_arrow.names]
        read = 0
        for batch in file.iter_batches(batch_size=CHUNK_ROWS):
            table = pa.Table.from_batches([batch])
            requests = pl.from_arrow(table.select(named))
            assert isinstance(requests, pl.DataFrame)
            read += table.num_rows
            yield Chunk(table, requests, read)


def _csv(path: Path) -> Iterator[Chunk]:
    with open(path, "rb") as raw, _text_of(raw) as text:
        rows = csv.reader(_lines(path, text))
        header = next(rows, [])
        _require_columns(path, header)
        while some := list(islice(rows, CHUNK_ROWS)):
            some = [row for row in some if row]  # csv's own rule: an empty line is no row
            faults = {
                at: f"the row has {len(row)} fields, and the header {len(header)}"
                for at, row in enumerate(some)
                if len(row) != len(header)
            }
            width = len(header)
            even = [(row + [""] * width)[:width] for row in some] if faults else some
            columns = zip(*even, strict=True) if even else [()] * width
            own = pa.table(
                {
                    name: pa.array([value or None for value in column], pa.string())
                    for name, column in zip(header, columns, strict=True)
                }
            )
            requests = pl.from_arrow(own.select([n for n in REQUEST_COLUMNS if n in header]))
            assert isinstance(requests, pl.DataFrame)
            yield Chunk(own, requests, raw.tell(), faults)


def _json_lines(path: Path) -> Iterator[Chunk]:
    with open(path, "rb") as raw, _text_of(raw) as text:
        numbered = enumerate(_lines(path, text), start=1)
        filled = ((number, line) for number, line in numbered if line.strip())
        while some := list(islice(filled, CHUNK_ROWS)):
            own: list[dict[str, Any]] = []
            faults: dict[int, str] = {}
            for at, (number, line) in enumerate(some):
                found = _json(line)
                if not isinstance(found, dict):
                    faults[at] = f"line {number} is no JSON object"
                    found = {}
                own.append(found)
            yield Chunk(own, requests_frame(own), raw.tell(), faults)


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, too deep
        return None


def _text_of(raw: Any) -> TextIO:
    return io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")


def _lines(path: Path, text: TextIO) -> Iterator[str]:
    number = 0
    while line := text.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE and not line.endswith("\n"):
            raise RequestFileError(
                f"line {number} of {path} has more than {_LONGEST_LINE:,} characters: it is no "
                "file of requests, a row a line"
            )
        yield line


def _require_columns(path: Path, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RequestFileError(f"{path} has more than one column {', '.join(twice)}: rename them")
    lacking = [name for name in REQUIRED_FIELDS if name not in names]
    if lacking:
        raise RequestFileError(
            f"{path} lacks the column {', '.join(lacking)}: requests have "
            f"{', '.join(REQUIRED_FIELDS)} and, if known, pickup_datetime and passenger_count"
        )


def _unreadable(path: Path, error: BaseException) -> RequestFileError:
    told = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return RequestFileError(f"{path} cannot be read: {' '.join(told.split())}")
