"""Reading the request log as typed frames, with counts of dropped and unreadable lines."""

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from ml_assets.requests.parse import states_distance
from ml_assets.requests.validate import DISTANCE, DISTANCE_MILES
from ml_assets.serving.request_log.files import day_files
from ml_assets.serving.request_log.writer import DROPPED
from ml_assets.storage import former_names
from ml_assets.trips.request_columns import FIRST_ZONE, LAST_ZONE, STATED, USUAL
from ml_assets.trips.target import TARGET

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
    **dict.fromkeys(TARGET.prediction_fields, pl.Float64()),
    DISTANCE: pl.String(),
    DISTANCE_MILES: pl.Float64(),
}
"""Columns of the log, one row per prediction; ``position`` is the index in the request's list.
Lines of versions before 0.2 have no usual miles."""

_OPTIONAL = (
    "trip_distance",
    "passenger_count",
    *TARGET.prediction_fields[1:],
    DISTANCE,
    DISTANCE_MILES,
)
_TIMES = ("answered_at", "pickup_datetime")
_ZONES = ("PULocationID", "DOLocationID")
_READ = {
    **{name: pl.String() if name in _TIMES else kind for name, kind in COLUMNS.items()},
    DROPPED: pl.Int64(),
    former_names.DROPPED: pl.Int64(),
}
_CHUNK_BYTES = 16 * 2**20
_INCOMPLETE_SECONDS = 60.0


@dataclass(frozen=True)
class LogChunk:
    """A part of one day's log.

    Attributes:
        predictions: Frame with ``COLUMNS``, in the order of writing.
        dropped: Number of predictions that the writer reports as dropped.
        unreadable: Number of lines that are torn or not written by the service.
    """

    day: date
    predictions: pl.DataFrame
    dropped: int
    unreadable: int


def read_chunks(
    folder: Path, first: date | None = None, last: date | None = None
) -> Iterator[LogChunk]:
    """Read the log in chunks of at most about 16 MiB, by day.

    An incomplete last line counts as unreadable if the file was not written for a minute.
    """
    for day, path in day_files(folder):
        if (first is None or first <= day) and (last is None or day <= last):
            for data in _complete_lines(path):
                yield _read_chunk(day, data)


def _complete_lines(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file in chunks that end at a line end."""
    rest = b""
    with open(path, "rb") as file:
        while data := file.read(_CHUNK_BYTES):
            complete, end, incomplete = data.rpartition(b"\n")
            if end:
                yield rest + complete + end
                rest = incomplete
            else:
                rest += data
    if rest and time.time() - path.stat().st_mtime > _INCOMPLETE_SECONDS:
        yield rest


def _read_chunk(day: date, data: bytes) -> LogChunk:
    lines = sum(1 for line in data.split(b"\n") if line.strip())
    frame = _read_frame(data).with_columns(
        pl.coalesce(DROPPED, former_names.DROPPED).alias(DROPPED)
    )
    dropped = frame.filter(pl.col(DROPPED) > 0)
    predictions = frame.filter(pl.col(DROPPED).is_null())
    times = [pl.col(name).str.to_datetime(**_format(name), strict=False) for name in _TIMES]
    predictions = predictions.with_columns(times).select(*COLUMNS)
    predictions = predictions.drop_nulls([name for name in COLUMNS if name not in _OPTIONAL])
    valid_zones = pl.all_horizontal(pl.col(_ZONES).is_between(FIRST_ZONE, LAST_ZONE))
    # Lines of versions before 0.2 have a distance, and do not say which one was used.
    used = pl.col(DISTANCE).fill_null(STATED)
    valid_distance = (used == USUAL) | ((used == STATED) & pl.col("trip_distance").is_not_null())
    predictions = _with_distances(predictions.filter(valid_zones, valid_distance))
    unreadable = lines - dropped.height - predictions.height
    return LogChunk(day, predictions, int(dropped[DROPPED].sum()), unreadable)


def _with_distances(predictions: pl.DataFrame) -> pl.DataFrame:
    """Fill the used distance of lines that were written before it was logged."""
    miles = predictions["trip_distance"]
    stated = pl.Series(states_distance(miles.to_numpy()))
    return predictions.with_columns(
        pl.col(DISTANCE).fill_null(pl.when(stated).then(pl.lit(STATED)).otherwise(pl.lit(USUAL))),
        pl.col(DISTANCE_MILES).fill_null(pl.when(stated).then(miles)),
    )


def _format(name: str) -> dict[str, Any]:
    kind = COLUMNS[name]
    assert isinstance(kind, pl.Datetime)
    zone = "" if kind.time_zone is None else "%#z"
    return {"format": f"%Y-%m-%dT%H:%M:%S%.f{zone}", "time_unit": "us", "time_zone": kind.time_zone}


def _read_frame(data: bytes) -> pl.DataFrame:
    """Read JSON lines; missing fields are null, invalid lines are left out."""
    try:
        return pl.read_ndjson(io.BytesIO(data), schema=_READ, ignore_errors=True)
    except pl.exceptions.ComputeError:
        readable = b"".join(_known_fields(line) for line in data.split(b"\n"))
        return pl.read_ndjson(io.BytesIO(readable), schema=_READ, ignore_errors=True)


def _known_fields(line: bytes) -> bytes:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return b""
    if not isinstance(fields, dict):
        return b""
    known = {name: fields.get(name) for name in _READ}
    return orjson.dumps(known, option=orjson.OPT_APPEND_NEWLINE)
