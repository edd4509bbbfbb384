"""A model, files of requests and files of predictions, for the tests of batch predictions."""

import csv
import json
import warnings
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml_assets.pipeline.conformal_intervals import (
    attach_intervals,
    attach_seen_pairs,
    calibrate_pairs,
    seen_pairs,
)
from ml_assets.pipeline.predict import Model
from ml_assets.training.families import FAMILIES
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.training.sample_trips import train_trips, validation_trips

NOW = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)
GOOD = {"PULocationID": 74, "DOLocationID": 75, "trip_distance": 2.5}


@cache
def model(family="xgboost", *, intervals=True) -> Model:
    trips = train_trips()
    trees = {"n_estimators": 20} if "n_estimators" in FAMILIES[family].defaults else None
    pipeline = FAMILIES[family].make_pipeline(trees, n_jobs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(trips, trips["duration_minutes"])
    if intervals:
        fitted_on = [trips[name].to_numpy(dtype=np.int64) for name in REQUEST_COLUMNS[:2]]
        attach_seen_pairs(pipeline, *fitted_on)
        later = validation_trips()
        seen = seen_pairs(pipeline, *(later[name].to_numpy() for name in REQUEST_COLUMNS[:2]))
        assert seen is not None
        actual = later["duration_minutes"].to_numpy()
        intervals_of = calibrate_pairs(pipeline.predict(later), actual, seen)
        assert intervals_of.unseen is not None
        attach_intervals(pipeline, intervals_of)
    return Model(pipeline, "7")


def rows_of(path):
    """The rows of a file as text and numbers, whatever its format."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".csv":
        return list(csv.DictReader(path.read_text().splitlines()))
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, rows):
    """Write a file of these rows, in the format of its name."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def some_trips(count=500):
    trips = validation_trips().iloc[:count]
    rows = trips[list(REQUEST_COLUMNS)].to_dict("records")
    for row in rows:
        row["pickup_datetime"] = row["pickup_datetime"].isoformat()
        row["passenger_count"] = (
            None if np.isnan(row["passenger_count"]) else row["passenger_count"]
        )
    return trips, rows
