"""Errors in fixed bins: what is counted adds up, and what is averaged is what was measured."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.evaluation.error_profile import (
    DISTANCE_EDGES,
    MINUTE_EDGES,
    RESIDUAL_EDGES,
    bin_errors,
)
from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.evaluation.records import ErrorProfile, ModelRecord, errors_record
from ml_assets.storage.record_store import RecordStore


def trips_of(actual, pickup=74, dropoff=75, miles=1.5, hour=8):
    """Trips with these minutes; the other columns are one value or one for each."""
    return pd.DataFrame(
        {
            "PULocationID": pickup,
            "DOLocationID": dropoff,
            "trip_distance": miles,
            "pickup_datetime": pd.Timestamp("2023-05-02") + pd.to_timedelta(hour, unit="h"),
            "duration_minutes": np.asarray(actual, dtype=np.float64),
        }
    )


def test_errors_are_averaged_by_zone_hour_and_distance():
    trips = trips_of([10, 10, 20], [74, 74, 41], [7, 42, 42], [0.0, 1.0, 99.0], [23, 0, 0])
    groups = bin_errors(trips, [12, 6, 20]).groups
    pickup = groups["pickup_zone"]
    assert (pickup.values, pickup.trips) == ([41, 74], [1, 2])
    assert pickup.rmse == pytest.approx([0, np.sqrt(10)], abs=1e-4)
    assert (pickup.mae, pickup.bias) == ([0, 3], [0, -1])  # 74: 2 minutes more, 4 fewer
    assert groups["dropoff_zone"].bias == [2, -2]
    assert (groups["hour"].values, groups["hour"].bias) == ([0, 23], [-2, 2])
    assert groups["distance"].values == [0, 1, 20]


def test_the_last_bins_have_no_upper_edge():
    binned = bin_errors(trips_of([0.5, 7, 1000]), [400.0, 7.0, -3.0])
    grid = np.array(binned.predicted_against_actual)
    assert np.argwhere(grid).tolist() == [[0, len(MINUTE_EDGES) - 1], [1, 1], [12, 0]]
    assert (binned.residuals[0], binned.residuals[-1], binned.trips) == (1, 1, 3)


def test_predictions_that_do_not_match_the_trips_are_refused():
    with pytest.raises(ValueError, match="same trips in the same order"):
        bin_errors(trips_of([1, 2]), [1.0])
    with pytest.raises(ValueError, match="NaN or infinite"):
        bin_errors(trips_of([1, 2]), [1.0, np.nan])


MINUTES = st.floats(0.1, 2000)
ROWS = st.lists(
    st.tuples(MINUTES, MINUTES, st.integers(1, 265), st.floats(0, 300_000), st.integers(0, 23)),
    min_size=1,
    max_size=40,
)


@given(ROWS)
def test_every_trip_is_in_one_bin_of_each_kind(rows):
    actual, predicted, zones, miles, hours = map(list, zip(*rows, strict=True))
    binned = bin_errors(trips_of(actual, zones, zones[::-1], miles, hours), predicted)
    overall = root_mean_squared_error(actual, predicted)
    for errors in binned.groups.values():
        assert sum(errors.trips) == len(rows)
        assert min(errors.trips) > 0
        squares = np.dot(np.square(errors.rmse), errors.trips)
        assert np.sqrt(squares / len(rows)) == pytest.approx(overall, abs=1e-3)
    assert set(binned.groups["distance"].values) <= set(DISTANCE_EDGES)
    assert sum(binned.residuals) == np.sum(binned.predicted_against_actual) == len(rows)
    assert len(binned.residuals) == len(RESIDUAL_EDGES) + 1


def test_a_trained_model_keeps_its_errors_on_the_test_month(trained_home):
    records = RecordStore(str(trained_home.home), trained_home.store.dataset)
    model = records.read("linear_regression_model", ModelRecord)
    errors = records.read(errors_record("linear_regression_model"), ErrorProfile)
    assert (errors.run_id, errors.month) == (model.mlflow_run_id, "2023-03")
    assert errors.raw_sha256 == trained_home.store.raw_record(errors.month).sha256
    for binned, metrics in ((errors.stated, model.test), (errors.usual, model.usual.test)):
        hours = binned.groups["hour"]
        squares = np.dot(np.square(hours.rmse), hours.trips)
        assert np.sqrt(squares / metrics.rows) == pytest.approx(metrics.rmse, abs=1e-3)
        assert np.dot(hours.mae, hours.trips) / metrics.rows == pytest.approx(metrics.mae, abs=1e-3)
    assert errors.trips == model.test.rows == 200
