"""Schemas of the stored trip tables (pandera).

The storage layer validates them on writing and reading; the Dagster assets and the documentation
show their columns. Importing this module imports pandas, which pandera needs; the code location
accepts that to show columns before anything is materialized.
"""

from typing import Any

import pandera.errors
import pandera.polars as pa
import polars as pl

from ml_assets.secrets import ShownError
from ml_assets.trips.cleaning import REASONS
from ml_assets.trips.request_columns import FIRST_ZONE, LAST_ZONE, MAX_MILES, STATED, USUAL
from ml_assets.trips.target import TARGET


def _increasing(data: pa.PolarsData) -> pl.LazyFrame:
    return data.lazyframe.select(pl.col(data.key).diff().fill_null(1) > 0)


def _trip_id(description: str) -> pa.Column:
    increasing = pa.Check(_increasing, name="strictly_increasing")
    return pa.Column(pl.Int64, [pa.Check.ge(0), increasing], description=description)


_TRIP_ID = _trip_id("Row position in the published file: the same on every rerun.")


def _zone(which: str) -> pa.Column:
    return pa.Column(
        pl.Int16,
        pa.Check.in_range(FIRST_ZONE, LAST_ZONE),
        description=f"{which} zone, 1-265 (264 unknown, 265 outside the city).",
    )


TRIP_FEATURES = pa.DataFrameSchema(
    {
        "trip_id": _TRIP_ID,
        "PULocationID": _zone("Pick-up"),
        "DOLocationID": _zone("Drop-off"),
        "trip_distance": pa.Column(
            pl.Float64,
            pa.Check.in_range(0, MAX_MILES),
            description="Miles. Metered, so known only after the trip; a request gives an estimate "
            "of it or leaves it out.",
        ),
        "pickup_datetime": pa.Column(
            pl.Datetime("us"), description="Start of the ride, New York wall time."
        ),
        "passenger_count": pa.Column(
            pl.Float32,
            nullable=True,
            description="Passengers, as entered by the driver; absent for 5-6 % of trips.",
        ),
        TARGET.name: pa.Column(
            pl.Float64,
            pa.Check.in_range(TARGET.lower, TARGET.upper),
            description=f"Target: {TARGET.description[0].lower()}{TARGET.description[1:]}",
        ),
    },
    name="trip_features",
    description="Kept trips: what is known when a ride is requested, plus the target.",
    strict=True,
    ordered=True,
)


def _published(what: str, kind: Any = pl.Float64, plausible: str = "") -> pa.Column:
    return pa.Column(kind, nullable=True, description=f"{what}, as published{plausible}.")


REJECTED_TRIPS = pa.DataFrameSchema(
    {
        "trip_id": _TRIP_ID,
        "reason": pa.Column(
            pl.String,
            pa.Check.isin(list(REASONS)),
            description="; ".join(f"{reason}: {meaning}" for reason, meaning in REASONS.items()),
        ),
        "pickup_datetime": _published("Pick-up", pl.Datetime("us")),
        "dropoff_datetime": _published("Drop-off", pl.Datetime("us")),
        "PULocationID": _published("Pick-up zone"),
        "DOLocationID": _published("Drop-off zone"),
        "trip_distance": _published("Miles", plausible=", plausible or not"),
    },
    name="rejected_trips",
    description="Every published row that is not kept, with one reason from a closed list.",
    strict=True,
    ordered=True,
)

_PREDICTED, _LOWER, _UPPER = TARGET.prediction_fields
_VALUE = pa.Check.in_range(0, 24 * TARGET.upper, include_min=False)

TRIP_PREDICTIONS = pa.DataFrameSchema(
    {
        "trip_id": _trip_id("Trip id of trip_features: the same on every rerun."),
        _PREDICTED: pa.Column(
            pl.Float64, _VALUE, description=f"Predicted {TARGET.title}, {TARGET.unit}."
        ),
        _LOWER: pa.Column(
            pl.Float64,
            _VALUE,
            nullable=True,
            description="Nine of ten such rides have more; absent if the model has no intervals.",
        ),
        _UPPER: pa.Column(
            pl.Float64,
            _VALUE,
            nullable=True,
            description="Nine of ten such rides have less; absent if the model has no intervals.",
        ),
        # Months that were stored before version 0.2 lack both columns.
        "distance": pa.Column(
            pl.String,
            pa.Check.isin([STATED, USUAL]),
            required=False,
            description=f"Whether the model used the trip's distance ({STATED}) or, for an "
            f"implausible one, the usual distance of its zones ({USUAL}).",
        ),
        "distance_miles": pa.Column(
            pl.Float64,
            pa.Check.ge(0),
            nullable=True,
            required=False,
            description="Miles of that distance; absent if the model has no usual distances.",
        ),
        "model_version": pa.Column(pl.String, description="Registry version of the model."),
        "scored_at": pa.Column(
            pl.Datetime("us", "UTC"), description="Time of the prediction, UTC."
        ),
    },
    name="trip_predictions",
    description="The champion's prediction for each kept trip.",
    strict=True,
    ordered=True,
)

TABLES = {schema.name: schema for schema in (TRIP_FEATURES, REJECTED_TRIPS, TRIP_PREDICTIONS)}


class TableError(ShownError, ValueError):
    """A table that violates its schema; names the table, month, column and rule."""


def enforce(table: str, frame: pl.DataFrame, where: str) -> pl.DataFrame:
    """Validate a frame against its table's schema and return it.

    Raises:
        TableError: naming the first columns and rules that are violated.
    """
    try:
        return TABLES[table].validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases
        rows = cases.select("column", "check", "failure_case").rows()
        violations = sorted({_violation(column, check, case) for column, check, case in rows})
        raise TableError(
            f"{where} violates the schema of {table}: {'; '.join(violations[:5])}. Materialize the "
            "month again; if it persists, the schema in ml_assets/trips/schema.py does not match "
            "the code that makes the table"
        ) from error


def _violation(column: str, check: str, case: object) -> str:
    """Format one violation; for checks of the whole table pandera has the column in ``case``."""
    of_the_table = {
        "column_in_schema": f"column {case} is not in the schema",
        "column_in_dataframe": f"column {case} is missing",
        "column_ordered": f"column {case} is out of order",
        "not_nullable": f"{column} has missing values",
    }
    if check.startswith("dtype("):
        return f"{column} is {case}, not {check.removeprefix('dtype(').strip(chr(39) + ')')}"
    return of_the_table.get(check) or f"{column} violates {check}, for example {case}"
