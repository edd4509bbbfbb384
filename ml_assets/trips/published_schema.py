"""What a published trip file must hold, in every variant seen since 2019.

The Taxi and Limousine Commission (TLC) changes integer widths, string types and fee columns from
month to month; only the columns that the project reads are held to a type, and by kind rather than
by width. Column meanings: the TLC data dictionaries for green (``lpep``) and yellow (``tpep``)
trips.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ml_assets.secrets import ShownError
from ml_assets.trips.month_limits import (
    DamagedPages,
    MonthLimits,
    MonthTooLarge,
    check_pages,
    check_rows,
)
from ml_assets.trips.rules import TIME_PREFIXES

Kind = Literal["timestamp", "number"]
TAXIS = ("green", "yellow")
DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What pyarrow raises on a damaged file, depending on which byte is wrong."""

_MAX_NAME_CHARACTERS = 60
_MAX_NAMES = 40
_MAX_REASON_CHARACTERS = 300

_NEEDED = {
    "timestamp": "a timestamp without time zone",
    "number": "an integer or floating-point number",
}


class TripSchemaError(ShownError, ValueError):
    """A published file that cannot be read as trips; names the file, column and type."""


@dataclass(frozen=True)
class PublishedColumn:
    """One column that the project reads: its published name, its kind, and its project name."""

    published: str
    kind: Kind
    project: str


def published_columns(taxi: str) -> tuple[PublishedColumn, ...]:
    """The columns read from a file of this taxi; all others are passed over, whatever they are."""
    prefix = TIME_PREFIXES[taxi]
    return (
        PublishedColumn(f"{prefix}_pickup_datetime", "timestamp", "pickup_datetime"),
        PublishedColumn(f"{prefix}_dropoff_datetime", "timestamp", "dropoff_datetime"),
        PublishedColumn("PULocationID", "number", "PULocationID"),
        PublishedColumn("DOLocationID", "number", "DOLocationID"),
        PublishedColumn("trip_distance", "number", "trip_distance"),
        PublishedColumn("passenger_count", "number", "passenger_count"),
    )


def open_parquet(file: Path | BinaryIO, name: str) -> pq.ParquetFile:
    """Open a Parquet file; pages that carry a checksum are checked against it when they are read.

    Raises:
        TripSchemaError: when it is empty, cut short, encrypted or not Parquet; the message tells
            which.
    """
    try:
        # INT96 (Spark, Hive) holds years that nanoseconds would wrap around.
        return pq.ParquetFile(
            file, page_checksum_verification=True, coerce_int96_timestamp_unit="us"
        )
    except DAMAGE as error:
        raise TripSchemaError(
            f"{name} is not a readable Parquet file ({error_reason(error)}): "
            "fetch the month again, or correct the file at its source"
        ) from error


def error_reason(error: BaseException) -> str:
    """Return the first line of a library's error text, bounded and without control characters."""
    lines = str(error).splitlines()
    return shown_name(lines[0] if lines else type(error).__name__, _MAX_REASON_CHARACTERS)


def shown_name(name: str, max_characters: int = _MAX_NAME_CHARACTERS) -> str:
    """Return a name out of a foreign file as it may stand in a message.

    Args:
        name: Of any length, with any characters.
        max_characters: Longer ones are cut; their length is stated.
    """
    cut = name[:max_characters]
    if not cut.isprintable():
        cut = json.dumps(cut)[1:-1]
    return cut if len(name) <= max_characters else f"{cut}… ({len(name):,} characters)"


def shown_names(names: Sequence[str]) -> str:
    """Return names as a list for a message: the first ones, and how many more there are."""
    shown = ", ".join(shown_name(name) for name in names[:_MAX_NAMES])
    more = len(names) - _MAX_NAMES
    return f"{shown} and {more:,} more" if more > 0 else shown


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
            state = f"there {len(named)} times ({shown_names(named)})" if named else "missing"
            faults.append(f"column {column.published} is {state}")
        elif not _is_kind(schema.field(named[0]).type, column):
            kind = shown_name(str(schema.field(named[0]).type))
            faults.append(f"column {named[0]} is {kind}, {_NEEDED[column.kind]} is needed")
        else:
            found[column.published] = named[0]
    if faults:
        raise TripSchemaError(
            f"{name} is no file of {taxi} trips: {'; '.join(faults)}. It has the columns "
            f"{shown_names(schema.names)}. Check ML_ASSETS_TAXI and the file at its source"
        )
    return found


def verify_published_file(path: Path, taxi: str, limits: MonthLimits | None = None) -> None:
    """Check that a file is whole, readable Parquet with the columns of this taxi's trips.

    Nothing is decoded before footer and page headers say that it is no larger than a month may be.

    Raises:
        TripSchemaError: otherwise, naming the file, the column and what to do.
    """
    limits = limits or MonthLimits.of(taxi)
    with open_parquet(path, path.name) as parquet:
        columns = match_columns(parquet.schema_arrow, taxi, path.name)
        require_size(parquet, columns.values(), path.name, limits)
        try:
            check_pages(path, columns.values(), limits)
            for batch in parquet.iter_batches(columns=list(columns.values())):
                batch.validate()
        except MonthTooLarge as error:
            raise TripSchemaError(f"{path.name} is too large: {error}") from error
        except (DamagedPages, *DAMAGE) as error:
            raise TripSchemaError(
                f"{path.name} is damaged ({error_reason(error)}): fetch the month again"
            ) from error


def require_size(
    parquet: pq.ParquetFile, columns: Collection[str], name: str, limits: MonthLimits
) -> None:
    """Check in a file's footer that these columns have no more rows than a month may.

    Raises:
        TripSchemaError: naming the file, what is too large, the limit and the way out.
    """
    schema = parquet.metadata.schema
    for path in (schema.column(at).path for at in range(parquet.metadata.num_columns)):
        if path not in columns and path.partition(".")[0] in columns:
            # pyarrow reads it with the column whose name it begins with.
            raise TripSchemaError(
                f"{name} has a column {shown_name(path)}: rename it at its source, without the dot"
            )
    try:
        check_rows(parquet.metadata, limits)
    except MonthTooLarge as error:
        raise TripSchemaError(f"{name} is too large: {error}") from error
    except (DamagedPages, *DAMAGE) as error:
        raise TripSchemaError(
            f"{name} is damaged ({error_reason(error)}): fetch the month again"
        ) from error


def _is_kind(arrow_type: pa.DataType, column: PublishedColumn) -> bool:
    if column.kind == "timestamp":
        return bool(pa.types.is_timestamp(arrow_type)) and arrow_type.tz is None
    if pa.types.is_null(arrow_type):
        return column.project == "passenger_count"  # optional: a month may lack all of them
    return bool(pa.types.is_integer(arrow_type)) or pa.types.is_floating(arrow_type)
