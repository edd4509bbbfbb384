"""Schemas of the stored tables: violations are named, valid tables pass."""

from datetime import datetime

import polars as pl
import pytest

from ml_assets.trips.schema import TABLES, TRIP_FEATURES, TableError, enforce
from ml_assets.trips.target import FEATURE_COLUMNS

NOON = datetime(2023, 1, 15, 12)


def features(**overrides):
    columns = {
        "trip_id": pl.Series([0, 1], dtype=pl.Int64),
        "PULocationID": pl.Series([1, 265], dtype=pl.Int16),
        "DOLocationID": pl.Series([264, 74], dtype=pl.Int16),
        "trip_distance": pl.Series([0.0, 201_421.0]),
        "pickup_datetime": pl.Series([NOON, NOON], dtype=pl.Datetime("us")),
        "passenger_count": pl.Series([None, 1.0], dtype=pl.Float32),
        "duration_minutes": pl.Series([1.0, 60.0]),
    } | overrides
    return pl.DataFrame({name: values for name, values in columns.items() if values is not None})


def test_the_features_are_the_columns_that_models_may_use_plus_the_target():
    assert tuple(TRIP_FEATURES.columns) == FEATURE_COLUMNS


@pytest.mark.parametrize("schema", TABLES.values(), ids=TABLES)
def test_every_column_of_every_table_is_described(schema):
    assert schema.description
    assert all(column.description for column in schema.columns.values())


def test_a_valid_table_passes_and_so_does_an_empty_one():
    assert enforce("trip_features", features(), "here").height == 2
    assert enforce("trip_features", features().clear(), "here").height == 0


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (features(fare_amount=pl.Series([1.0, 2.0])), "fare_amount"),
        (features(trip_distance=None), "trip_distance"),
        (features(PULocationID=pl.Series([1, 2], dtype=pl.Int64)), "PULocationID"),
        (features(PULocationID=pl.Series([0, 2], dtype=pl.Int16)), "PULocationID"),
        (features(trip_distance=pl.Series([-1.0, 2.0])), "trip_distance"),
        (features(trip_distance=pl.Series([float("inf"), 2.0])), "trip_distance"),
        (features(trip_distance=pl.Series([float("nan"), 2.0])), "trip_distance"),
        (features(trip_distance=pl.Series([None, 2.0])), "trip_distance"),
        (features(duration_minutes=pl.Series([0.99, 2.0])), "duration_minutes"),
        (features(duration_minutes=pl.Series([60.01, 2.0])), "duration_minutes"),
        (features(duration_minutes=pl.Series([None, 2.0])), "duration_minutes"),
        (features(trip_id=pl.Series([-1, 2], dtype=pl.Int64)), "trip_id"),
        (features(trip_id=pl.Series([2, 2], dtype=pl.Int64)), "trip_id"),
        (features().select(reversed(features().columns)), "order"),
    ],
)
def test_a_violation_is_named_with_its_table_and_the_way_out(frame, named):
    with pytest.raises(TableError) as error:
        enforce("trip_features", frame, "trip_features of 2023-01")
    for text in (named, "trip_features of 2023-01", "schema", "Materialize the month again"):
        assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_a_reason_outside_the_closed_list_violates_the_schema_of_rejected_trips():
    columns = {
        "trip_id": [0],
        "reason": ["too pink"],
        "pickup_datetime": pl.Series([None], dtype=pl.Datetime("us")),
        "dropoff_datetime": pl.Series([None], dtype=pl.Datetime("us")),
        "PULocationID": pl.Series([None], dtype=pl.Float64),
        "DOLocationID": pl.Series([None], dtype=pl.Float64),
        "trip_distance": pl.Series([None], dtype=pl.Float64),
    }
    with pytest.raises(TableError, match="reason"):
        enforce("rejected_trips", pl.DataFrame(columns), "rejected_trips of 2023-01")
