"""Clean a published month: kept trips by the course's rule, and rejected ones with a reason.

One vectorised classification (Polars) yields both tables, so that kept + rejected = published by
construction.
"""

from typing import Any, Final

import polars as pl

from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MonthLimits
from ml_assets.trips.published_schema import (
    faults_named,
    match_columns,
    open_parquet,
    published_columns,
    require_size,
)
from ml_assets.trips.request_columns import FIRST_ZONE, LAST_ZONE, MAX_MILES
from ml_assets.trips.target import TARGET

REASONS: Final = {
    "missing_value": "pick-up, drop-off, a zone or the distance is absent",
    "pickup_outside_month": "the pick-up does not lie in the published month",
    "dropoff_before_pickup": "the drop-off is earlier than the pick-up",
    **dict([TARGET.too_low, TARGET.too_high]),
    "zone_outside_map": f"a zone is not one of {FIRST_ZONE}-{LAST_ZONE}",
    "impossible_distance": f"the distance is negative, no number, or above {MAX_MILES:,} miles",
}
"""Closed list: each rejected trip has the first of these reasons that applies."""


def read_published(
    file: object, taxi: str, month: Month, name: str, limits: MonthLimits | None = None
) -> pl.DataFrame:
    """Read the columns that the project uses from a published file, with its names and types.

    Args:
        file: A local path or an open binary file.

    Returns:
        ``trip_id`` (row position, Int64), ``pickup_datetime`` and ``dropoff_datetime``
        (microseconds, New York wall time), ``PULocationID`` and ``DOLocationID`` (Float64 or
        integer, as published), ``trip_distance`` (miles, Float64), ``passenger_count`` (Float32).

    Raises:
        TripSchemaError: when the file is unreadable or too large, or a column is missing or has a
            wrong type.
    """
    title = f"{name} ({taxi}, {month})"
    with open_parquet(file, title) as parquet:  # type: ignore[arg-type]
        names = match_columns(parquet.schema_arrow, taxi, title)
        require_size(parquet, names.values(), title, limits or MonthLimits.of(taxi))
        with faults_named(title):
            table = parquet.read(columns=list(names.values()))
    frame = pl.from_arrow(table, rechunk=False)
    assert isinstance(frame, pl.DataFrame)
    return normalise(frame.rename({actual: name for name, actual in names.items()}), taxi)


def normalise(frame: pl.DataFrame, taxi: str) -> pl.DataFrame:
    """Give published columns the project's names and types; adds ``trip_id``."""
    casts: dict[str, Any] = {
        "pickup_datetime": pl.Datetime("us"),
        "dropoff_datetime": pl.Datetime("us"),
        "trip_distance": pl.Float64,
        "passenger_count": pl.Float32,
    }
    columns = []
    for column in published_columns(taxi):
        expression = pl.col(column.published).alias(column.project)
        target = casts.get(column.project)
        if target is not None and frame.schema[column.published] != target:
            # A time that microseconds cannot hold, 292,000 years off, becomes null.
            expression = expression.cast(target, strict=False)
        columns.append(expression)
    return frame.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("trip_id"), *columns)


def reason_of(month: Month) -> pl.Expr:
    """Return the first rejection reason, as an index into ``REASONS``; null for a kept trip.

    The bounds of the target are exact, see ``target.DURATION``.
    """
    pickup, dropoff = pl.col("pickup_datetime"), pl.col("dropoff_datetime")
    zones = (pl.col("PULocationID"), pl.col("DOLocationID"))
    distance = pl.col("trip_distance")
    value = TARGET.compute(pl.col)
    inside = pickup.is_between(pl.lit(month.start), pl.lit(month.end), closed="left")
    on_map = [zone.is_between(FIRST_ZONE, LAST_ZONE) & (zone.floor() == zone) for zone in zones]
    conditions = {
        "missing_value": pl.any_horizontal(
            column.is_null() for column in (pickup, dropoff, *zones, distance, value)
        ),
        "pickup_outside_month": ~inside,
        "dropoff_before_pickup": dropoff < pickup,
        TARGET.too_low[0]: value < TARGET.lower,
        TARGET.too_high[0]: value > TARGET.upper,
        "zone_outside_map": ~(on_map[0] & on_map[1]),
        "impossible_distance": ~(distance.is_not_nan() & distance.is_between(0, MAX_MILES)),
    }
    expression = pl.lit(None, dtype=pl.UInt8)
    for index, reason in reversed(list(enumerate(REASONS))):
        then = pl.lit(index, dtype=pl.UInt8)
        expression = pl.when(conditions[reason]).then(then).otherwise(expression)
    return expression


def kept_trips(published: pl.DataFrame, month: Month) -> pl.DataFrame:
    """Return the kept trips: one row per trip, with the columns ``FEATURE_COLUMNS``."""
    passengers = pl.col("passenger_count")
    return (
        published.lazy()
        .filter(reason_of(month).is_null())
        .select(
            "trip_id",
            pl.col("PULocationID").cast(pl.Int16),
            pl.col("DOLocationID").cast(pl.Int16),
            "trip_distance",
            "pickup_datetime",
            pl.when(passengers.is_finite()).then(passengers),
            TARGET.compute(pl.col).cast(pl.Float64).alias(TARGET.name),
        )
        .collect()
    )


def rejected_trips(published: pl.DataFrame, month: Month) -> pl.DataFrame:
    """Return the rejected rows, each with its reason and the fields that the rule uses."""
    reasons = pl.Enum(list(REASONS))
    return (
        published.lazy()
        .with_columns(reason_of(month).alias("reason"))
        .filter(pl.col("reason").is_not_null())
        .select(
            "trip_id",
            pl.col("reason").cat.to(reasons).cast(pl.String),
            "pickup_datetime",
            "dropoff_datetime",
            pl.col("PULocationID", "DOLocationID").cast(pl.Float64),
            "trip_distance",
        )
        .collect()
    )
