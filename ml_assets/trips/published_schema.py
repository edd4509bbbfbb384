"""What a published trip file must hold, in every variant seen since 2019.

The Taxi and Limousine Commission (TLC) changes integer widths, string types and fee columns from
month to month; only the columns that the project reads are held to a type, and by kind rather than
by width. Column meanings: the TLC data dictionaries for green (``lpep``) and yellow (``tpep``)
trips.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

Kind = Literal["timestamp", "number"]
TAXIS = ("green", "yellow")
DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What pyarrow raises on a damaged file, depending on which byte is wrong."""

_TIME_PREFIX = {"green": "lpep", "yellow": "tpep"}


_NEEDED = {
    "timestamp": "a timestamp without time zone",
    "number": "an integer or floating-point number",
}


class TripSchemaError(ValueError):
    """A published file that cannot be read as trips; names the file, column and type."""


@dataclass(frozen=True)
class PublishedColumn:
    """One column that the project reads: its published name, its kind, and its project name."""

    published: str
    kind: Kind
    project: str


def published_columns(taxi: str) -> tuple[PublishedColumn, ...]:
    """The columns read from a file of this taxi; all others are passed over, whatever they are."""
    prefix = _TIME_PREFIX[taxi]
    return (
        PublishedColumn(f"{prefix}_pickup_datetime", "timestamp", "pickup_datetime"),
        PublishedColumn(f"{prefix}_dropoff_datetime", "timestamp", "dropoff_datetime"),
        PublishedColumn("PULocationID", "number", "PULocationID"),
        PublishedColumn("DOLocationID", "number", "DOLocationID"),
        PublishedColumn("trip_distance", "number", "trip_distance"),
        PublishedColumn("passenger_count", "number", "passenger_count"),
    )


def open_parquet(file: Path | BinaryIO, name: str) -> pq.ParquetFile:
    """Open a Parquet file.

    Raises:
        TripSchemaError: when it is empty, cut short or not Parquet; the message tells which.
    """
    try:
        return pq.ParquetFile(file)
    except DAMAGE as error:
        raise TripSchemaError(
            f"{name} is not a readable Parquet file ({str(error).splitlines()[0]}): "
            "fetch the month again, or correct the file at its source"
        ) from error


def match_columns(schema: pa.Schema, taxi: str, name: str) -> dict[str, str]:
    """Map each needed column's published name to the name it bears in this file.

    Letter case is ignored: the TLC itself has published ``Airport_fee`` and ``airport_fee``.

    Raises:
        TripSchemaError: naming every column that is missing, there twice, or of another kind.
    """
    bearers: dict[str, list[str]] = {}
    for actual in schema.names:
        bearers.setdefault(actual.lower(), []).append(actual)
    found: dict[str, str] = {}
    faults: list[str] = []
    for column in published_columns(taxi):
        named = bearers.get(column.published.lower(), [])
        if len(named) != 1:
            state = f"there {len(named)} times ({', '.join(named)})" if named else "missing"
            faults.append(f"column {column.published} is {state}")
        elif not _is_kind(schema.field(named[0]).type, column):
            kind = schema.field(named[0]).type
            faults.append(f"column {named[0]} is {kind}, {_NEEDED[column.kind]} is needed")
        else:
            found[column.published] = named[0]
    if faults:
        raise TripSchemaError(
            f"{name} is no file of {taxi} trips: {'; '.join(faults)}. It has the columns "
            f"{', '.join(schema.names)}. Check ML_ASSETS_TAXI and the file at its source"
        )
    return found


def verify_published_file(path: Path, taxi: str) -> None:
    """Check that a file is whole, readable Parquet with the columns of this taxi's trips.

    Raises:
        TripSchemaError: otherwise, naming the file, the column and what to do.
    """
    with open_parquet(path, path.name) as parquet:
        columns = match_columns(parquet.schema_arrow, taxi, path.name)
        try:
            for batch in parquet.iter_batches(columns=list(columns.values())):
                batch.validate()
        except DAMAGE as error:
            raise TripSchemaError(
                f"{path.name} is damaged ({str(error).splitlines()[0]}): fetch the month again"
            ) from error


def _is_kind(arrow_type: pa.DataType, column: PublishedColumn) -> bool:
    if column.kind == "timestamp":
        return bool(pa.types.is_timestamp(arrow_type)) and arrow_type.tz is None
    if pa.types.is_null(arrow_type):
        return column.project == "passenger_count"  # optional: a month may lack all of them
    return bool(pa.types.is_integer(arrow_type)) or pa.types.is_floating(arrow_type)
