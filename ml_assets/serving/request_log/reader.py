"""Reading the request log: typed frames in pieces; what is unreadable is counted."""

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from ml_assets.serving.request_log.files import day_files
from ml_assets.serving.request_log.writer import DROPPED
from ml_assets.storage import former_names
from ml_assets.trips.rules import FIRST_ZONE, LAST_ZONE

COLUMNS: Final = {
    "request_id": pl.String(),
    "position": pl.Int64(),
    "answered_at": pl.Datetime("us", "UTC"),
    "model_version": pl.String(),
    "latency_milliseconds": pl.Float64(),
    "PULocationID": pl.Int64(),
    "DOLocationID": pl.Int64(),
    "trip_distance": pl.Float64(),
    "pickup_datetime": pl.Datetime("us"),
    "passenger_count": pl.Float64(),
    "predicted_minutes": pl.Float64(),
    "lower_minutes": pl.Float64(),
    "upper_minutes": pl.Float64(),
}
"""The frame of the log: a row for each answer. ``position`` counts a list's answers from 0."""

_OPTIONAL = ("passenger_count", "lower_minutes", "upper_minutes")
_TIMES = ("answered_at", "pickup_datetime")
_ZONES = ("PULocationID", "DOLocationID")
_READ = {
    **{name: pl.String() if name in _TIMES else kind for name, kind in COLUMNS.items()},
    DROPPED: pl.Int64(),
    former_names.DROPPED: pl.Int64(),
}
_PIECE_BYTES = 16 * 2**20
_STILL_WRITTEN_SECONDS = 60.0


@dataclass(frozen=True)
class LogChunk:
    """A piece of one day's log.

    Attributes:
        day: In UTC.
        answers: With ``COLUMNS``, in the order they were written.
        dropped: Answers that the writer could not log, by its own count.
        unreadable: Lines that are no line of the log: torn, or somebody else's.
    """

    day: date
    answers: pl.DataFrame
    dropped: int
    unreadable: int


def read_log(folder: Path, first: date | None = None, last: date | None = None) -> pl.DataFrame:
    """All answers of the log at once, with ``COLUMNS``; for long logs see :func:`read_pieces`.

    Args:
        folder: Of the log; one that is not there holds nothing.
        first: The first day (UTC), by default the oldest.
        last: The last day, by default the newest.
    """
    pieces = [piece.answers for piece in read_pieces(folder, first, last)]
    return pl.concat([pl.DataFrame(schema=COLUMNS), *pieces])


def read_pieces(
    folder: Path, first: date | None = None, last: date | None = None
) -> Iterator[LogChunk]:
    """The log a piece at a time, days in order, each piece at most about 16 MiB of lines.

    A last line without an end counts as unreadable once nobody has written for a minute.
    """
    for day, path in day_files(folder):
        if (first is None or first <= day) and (last is None or day <= last):
            for data in _whole_lines(path):
                yield _piece(day, data)


def _whole_lines(path: Path) -> Iterator[bytes]:
    """The bytes of a file in pieces that end with a line."""
    rest = b""
    with open(path, "rb") as file:
        while data := file.read(_PIECE_BYTES):
            whole, end, rest_of_it = data.rpartition(b"\n")
            if end:
                yield rest + whole + end
                rest = rest_of_it
            else:
                rest += data
    if rest and time.time() - path.stat().st_mtime > _STILL_WRITTEN_SECONDS:
        yield rest


def _piece(day: date, data: bytes) -> LogChunk:
    lines = sum(1 for line in data.split(b"\n") if line.strip())
    frame = _frame(data).with_columns(pl.coalesce(DROPPED, former_names.DROPPED).alias(DROPPED))
    dropped = frame.filter(pl.col(DROPPED) > 0)
    answers = frame.filter(pl.col(DROPPED).is_null())
    times = [pl.col(name).str.to_datetime(**_format(name), strict=False) for name in _TIMES]
    answers = answers.with_columns(times).select(*COLUMNS)
    answers = answers.drop_nulls([name for name in COLUMNS if name not in _OPTIONAL])
    on_the_map = pl.all_horizontal(pl.col(_ZONES).is_between(FIRST_ZONE, LAST_ZONE))
    answers = answers.filter(on_the_map)
    unreadable = lines - dropped.height - answers.height
    return LogChunk(day, answers, int(dropped[DROPPED].sum()), unreadable)


def _format(name: str) -> dict[str, Any]:
    kind = COLUMNS[name]
    assert isinstance(kind, pl.Datetime)
    zone = "" if kind.time_zone is None else "%#z"
    return {"format": f"%Y-%m-%dT%H:%M:%S%.f{zone}", "time_unit": "us", "time_zone": kind.time_zone}


def _frame(data: bytes) -> pl.DataFrame:
    """Fields by the log's names, null where a line has none, without lines that are no JSON."""
    try:
        return pl.read_ndjson(io.BytesIO(data), schema=_READ, ignore_errors=True)
    except pl.exceptions.ComputeError:
        readable = b"".join(_own_fields(line) for line in data.split(b"\n"))
        return pl.read_ndjson(io.BytesIO(readable), schema=_READ, ignore_errors=True)


def _own_fields(line: bytes) -> bytes:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return b""
    if not isinstance(fields, dict):
        return b""
    own = {name: fields.get(name) for name in _READ}
    return orjson.dumps(own, option=orjson.OPT_APPEND_NEWLINE)
