"""Schema of published trip files, in every variant seen since 2019.

The Taxi and Limousine Commission (TLC) changes integer widths, string types and fee columns from
month to month; only the columns that the project reads are checked, by kind of type rather than
width. Column meanings: the TLC data dictionaries for green (``lpep``) and yellow (``tpep``) trips.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
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
from ml_assets.trips.request_columns import TIME_PREFIXES
from ml_assets.trips.target import TARGET

Kind = Literal["timestamp", "number"]
TAXIS = ("green", "yellow")
DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""Errors that pyarrow raises for damaged files."""

_MAX_NAME_CHARACTERS = 60
_MAX_NAMES = 40
_MAX_REASON_CHARACTERS = 300

_NEEDED = {
    "timestamp": "a timestamp without time zone",
    "number": "an integer or floating-point number",
}


class TripSchemaError(ShownError, ValueError):
    """A published file is not a valid file of trips; names the file, column and type."""


@dataclass(frozen=True)
class PublishedColumn:
    """A column that the project reads: its published name, its kind, and its project name."""

    published: str
    kind: Kind
    project: str


def published_columns(taxi: str) -> tuple[PublishedColumn, ...]:
    """Return the columns read from a file of this taxi; all others are ignored."""
    prefix = TIME_PREFIXES[taxi]
    read = (
        PublishedColumn(f"{prefix}_pickup_datetime", "timestamp", "pickup_datetime"),
        PublishedColumn(f"{prefix}_dropoff_datetime", "timestamp", "dropoff_datetime"),
        PublishedColumn("PULocationID", "number", "PULocationID"),
        PublishedColumn("DOLocationID", "number", "DOLocationID"),
        PublishedColumn("trip_distance", "number", "trip_distance"),
        PublishedColumn("passenger_count", "number", "passenger_count"),
    )
    known = {column.project for column in read}
    return *read, *(
        PublishedColumn(name, "number", name) for name in TARGET.computed_from if name not in known
    )


def open_parquet(file: Path | BinaryIO, name: str) -> pq.ParquetFile:
    """Open a Parquet file; page checksums, where present, are verified on reading.

    Raises:
        TripSchemaError: when it is empty, truncated, encrypted or not Parquet; the message says
            which.
    """
    try:
        # INT96 (Spark, Hive) can hold years that overflow nanoseconds.
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
    """Return a name from an untrusted file in a form that is safe in a message.

    Args:
        name: The name, of any length and with any characters.
        max_characters: Longer names are cut, and their length is given.
    """
    cut = name[:max_characters]
    if not cut.isprintable():
        cut = json.dumps(cut)[1:-1]
    return cut if len(name) <= max_characters else f"{cut}… ({len(name):,} characters)"


def shown_names(names: Sequence[str]) -> str:
    """Format names for a message: the first ones, and the number of others."""
    shown = ", ".join(shown_name(name) for name in names[:_MAX_NAMES])
    more = len(names) - _MAX_NAMES
    return f"{shown} and {more:,} more" if more > 0 else shown


def match_columns(schema: pa.Schema, taxi: str, name: str) -> dict[str, str]:
    """Map each required column's published name to its name in this file.

    Letter case is ignored: the TLC itself has published ``Airport_fee`` and ``airport_fee``.

    Raises:
        TripSchemaError: naming every column that is missing, duplicate, or of a wrong type.
    """
    by_lower_name: dict[str, list[str]] = {}
    for actual in schema.names:
        by_lower_name.setdefault(actual.lower(), []).append(actual)
    found: dict[str, str] = {}
    errors: list[str] = []
    for column in published_columns(taxi):
        named = by_lower_name.get(column.published.lower(), [])
        if len(named) != 1:
            state = f"there {len(named)} times ({shown_names(named)})" if named else "missing"
            errors.append(f"column {column.published} is {state}")
        elif not _is_kind(schema.field(named[0]).type, column):
            kind = shown_name(str(schema.field(named[0]).type))
            errors.append(f"column {named[0]} is {kind}, {_NEEDED[column.kind]} is needed")
        else:
            found[column.published] = named[0]
    if errors:
        raise TripSchemaError(
            f"{name} is not a file of {taxi} trips: {'; '.join(errors)}. It has the columns "
            f"{shown_names(schema.names)}. Check ML_ASSETS_TAXI and the file at its source"
        )
    return found


def verify_published_file(path: Path, taxi: str, limits: MonthLimits | None = None) -> None:
    """Check that a file is complete, readable Parquet with the columns of this taxi's trips.

    Nothing is decoded before footer and page headers show that it is within the size limits.

    Raises:
        TripSchemaError: otherwise, naming the file, the column and the remedy.
    """
    limits = limits or MonthLimits.of(taxi)
    with open_parquet(path, path.name) as parquet:
        columns = match_columns(parquet.schema_arrow, taxi, path.name)
        require_size(parquet, columns.values(), path.name, limits)
        with faults_named(path.name):
            check_pages(path, columns.values(), limits)
            for batch in parquet.iter_batches(columns=list(columns.values())):
                batch.validate()


def require_size(
    parquet: pq.ParquetFile, columns: Collection[str], name: str, limits: MonthLimits
) -> None:
    """Raise TripSchemaError unless the footer has these columns within the limit of a month."""
    schema = parquet.metadata.schema
    for path in (schema.column(at).path for at in range(parquet.metadata.num_columns)):
        if path not in columns and path.partition(".")[0] in columns:
            # pyarrow would read it together with the column named by its prefix.
            raise TripSchemaError(
                f"{name} has a column {shown_name(path)}: rename it at its source, without the dot"
            )
    with faults_named(name):
        check_rows(parquet.metadata, limits)


@contextmanager
def faults_named(name: str, remedy: str = ": fetch the month again") -> Iterator[None]:
    """Convert errors of a file that is too large or damaged to TripSchemaError with its name."""
    try:
        yield
    except MonthTooLarge as error:
        raise TripSchemaError(f"{name} is too large: {error}") from error
    except (DamagedPages, *DAMAGE) as error:
        raise TripSchemaError(f"{name} is damaged ({error_reason(error)}){remedy}") from error


def _is_kind(arrow_type: pa.DataType, column: PublishedColumn) -> bool:
    if column.kind == "timestamp":
        return bool(pa.types.is_timestamp(arrow_type)) and arrow_type.tz is None
    if pa.types.is_null(arrow_type):
        return column.project == "passenger_count"  # optional: a month may lack all of them
    return bool(pa.types.is_integer(arrow_type)) or pa.types.is_floating(arrow_type)
