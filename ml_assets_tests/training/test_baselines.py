"""Baselines: correct on hand-calculated cases and robust to outliers."""

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from ml_assets.evaluation.metrics import measure
from ml_assets.training.baselines import BASELINES, DistanceLine, GlobalMean, MedianPerPair


@pytest.fixture
def trips() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "PULocationID": [74, 74, 74, 75, 75],
            "DOLocationID": [75, 75, 75, 74, 74],
            "trip_distance": [1.0, 2.0, 3.0, 4.0, 5.0],
            "pickup_datetime": pd.Timestamp("2023-01-05 12:00"),
            "passenger_count": [1.0, np.nan, 2.0, 1.0, 1.0],
        }
    )


DURATIONS = [5.0, 7.0, 9.0, 11.0, 13.0]


def requests_of(**columns: Sequence[float] | np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_the_global_mean_is_the_same_for_every_trip(trips):
    baseline = GlobalMean().fit(trips, DURATIONS)
    assert baseline.predict(trips.head(2)).tolist() == [9.0, 9.0]


def test_a_pair_gets_its_median_and_an_unseen_pair_the_overall_median(trips):
    baseline = MedianPerPair().fit(trips, DURATIONS)
    unseen = requests_of(PULocationID=[74, 75, 74, 1, 265], DOLocationID=[75, 74, 74, 1, 265])
    assert baseline.predict(unseen).tolist() == [7.0, 12.0, 9.0, 9.0, 9.0]


def test_the_median_per_pair_does_not_depend_on_the_frame_index(trips):
    shuffled = trips.sample(frac=1, random_state=3)
    durations = pd.Series(DURATIONS).loc[shuffled.index]
    baseline = MedianPerPair().fit(shuffled, durations)
    expected = MedianPerPair().fit(trips, DURATIONS)
    assert baseline.predict(trips).tolist() == expected.predict(trips).tolist()


def test_the_line_fits_collinear_points(trips):
    baseline = DistanceLine(limit_quantile=1.0).fit(trips, DURATIONS)
    assert baseline.slope_ == pytest.approx(2.0)
    assert baseline.predict(requests_of(trip_distance=[0.0, 2.5])) == pytest.approx([3.0, 8.0])


def test_an_outlying_distance_does_not_affect_the_line():
    generator = np.random.default_rng(5)
    miles = generator.uniform(0.5, 10, 5_000)
    durations = 3 + 2 * miles
    outliers = np.append(miles, [201_421.0, np.inf])
    baseline = DistanceLine().fit(
        requests_of(trip_distance=outliers), np.append(durations, [9.0, 9.0])
    )
    assert baseline.slope_ == pytest.approx(2.0, rel=0.01)
    odd = requests_of(trip_distance=[201_421.0, np.inf, -5.0, 0.0, np.nan])
    predicted = baseline.predict(odd)
    assert predicted[0] == predicted[1] < 25
    assert predicted[2] == predicted[3] == pytest.approx(3.0, abs=0.1)
    assert predicted[4] == pytest.approx(baseline.mean_duration_)


def test_equal_distances_have_no_slope(trips):
    baseline = DistanceLine().fit(trips.assign(trip_distance=0.3), DURATIONS)
    assert baseline.predict(requests_of(trip_distance=[0.3, 40.0])) == pytest.approx([9.0, 9.0])


def test_a_line_needs_a_distance(trips):
    with pytest.raises(ValueError, match="trip_distance is missing or infinite in all 5 rows"):
        DistanceLine().fit(trips.assign(trip_distance=np.nan), DURATIONS)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_a_scikit_learn_regressor(name, trips):
    baseline = BASELINES[name]()
    with pytest.raises(NotFittedError):
        baseline.predict(trips)
    for durations in (DURATIONS[:-1], []):
        with pytest.raises(ValueError, match="one duration per trip"):
            baseline.fit(trips, durations)
    pipeline = make_pipeline(clone(baseline)).fit(trips, pd.Series(DURATIONS))
    predicted = pipeline.predict(trips)
    assert predicted.shape == (5,)
    assert predicted.dtype == np.float64
    assert isinstance(pipeline.score(trips, DURATIONS), float)


@pytest.mark.parametrize("name", BASELINES)
def test_a_million_trips_take_seconds(name):
    generator = np.random.default_rng(1)
    rows = 1_000_000
    many = pd.DataFrame(
        {
            "PULocationID": generator.integers(1, 266, rows, dtype="int16"),
            "DOLocationID": generator.integers(1, 266, rows, dtype="int16"),
            "trip_distance": generator.exponential(3, rows),
        }
    )
    started = time.perf_counter()
    baseline = BASELINES[name]().fit(many, generator.uniform(1, 60, rows))
    assert np.isfinite(baseline.predict(many)).all()
    assert time.perf_counter() - started < 10, "row by row it would take minutes"


def test_on_real_months_pair_and_distance_beat_the_mean(real_trips):
    january, february = (_kept(real_trips, number) for number in (1, 2))
    rmse = {
        name: measure(
            february["duration_minutes"],
            make().fit(january, january["duration_minutes"]).predict(february),
        ).rmse
        for name, make in BASELINES.items()
    }
    assert rmse["distance_line"] < 0.8 * rmse["global_mean"]
    assert rmse["median_per_pair"] < 0.8 * rmse["global_mean"]


def _kept(folder, number: int) -> pd.DataFrame:
    """Trips of one published month by the course's rule, 1 to 60 minutes."""
    trips = pd.read_parquet(folder / f"green_tripdata_2023-{number:02d}.parquet")
    took = trips["lpep_dropoff_datetime"] - trips["lpep_pickup_datetime"]
    trips["duration_minutes"] = took.dt.total_seconds() / 60
    return trips[trips["duration_minutes"].between(1, 60)]
