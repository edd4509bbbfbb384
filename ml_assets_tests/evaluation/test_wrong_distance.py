"""What a wrong distance costs: the errors follow from the distances that are stated."""

import numpy as np
import pandas as pd
import pytest

from ml_assets.evaluation.leaderboard import wrong_distance_table
from ml_assets.evaluation.records import DistanceError
from ml_assets.evaluation.wrong_distance import MAX_TRIPS, measure_wrong_distances
from ml_assets.pipeline.conformal_intervals import attach_intervals, calibrate
from ml_assets.pipeline.predict import without_distance
from ml_assets.training.families import FAMILIES
from ml_assets_tests.training.sample_trips import train_trips, trips_of


class FourMinutesAMile:
    """Predicts four minutes a mile, and 10 minutes without a distance."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __getitem__(self, step: int) -> "FourMinutesAMile":
        return self  # as the last step of a pipeline, which has no intervals here

    def predict(self, requests: pd.DataFrame) -> np.ndarray:
        self.rows.append(len(requests))
        return (4 * requests["trip_distance"]).fillna(10.0).to_numpy()


def measured(trips: pd.DataFrame, seed: int = 0) -> list[DistanceError]:
    model = FourMinutesAMile()
    modes = (model.predict(trips), model.predict(without_distance(trips)))
    return measure_wrong_distances(model, trips, *modes, seed=seed)


@pytest.fixture(scope="module")
def trips() -> pd.DataFrame:
    """Trips that take exactly four minutes a mile."""
    found = trips_of(4)
    found = found[found["trip_distance"] > 0.25]
    return found.assign(duration_minutes=4 * found["trip_distance"])


def test_each_error_is_that_of_its_distance(trips):
    rmse = {error.distance: error.rmse for error in measured(trips)}
    size = np.sqrt(np.mean(trips["duration_minutes"] ** 2))
    assert [*rmse] == [
        "metered", "0.8 × metered", "1.25 × metered", "metered with 20% noise", "left out"
    ]  # fmt: skip
    assert rmse["metered"] == 0
    assert rmse["0.8 × metered"] == pytest.approx(0.2 * size)
    assert rmse["1.25 × metered"] == pytest.approx(0.25 * size)
    assert rmse["metered with 20% noise"] == pytest.approx(0.2 * size, rel=0.1)
    without = np.sqrt(np.mean((trips["duration_minutes"] - 10) ** 2))
    assert rmse["left out"] == pytest.approx(without)


def test_the_noise_is_that_of_the_seed(trips):
    assert measured(trips) == measured(trips)
    assert measured(trips, seed=1)[3] != measured(trips)[3]
    assert measured(trips, seed=1)[:3] == measured(trips)[:3]


def test_a_large_month_is_thinned_out(trips):
    many = pd.concat([trips] * (2 * MAX_TRIPS // len(trips) + 1), ignore_index=True)
    model = FourMinutesAMile()
    errors = measure_wrong_distances(model, many, np.zeros(len(many)), np.zeros(len(many)))
    assert {*model.rows} == {errors[0].rows}
    assert MAX_TRIPS / 2 < errors[0].rows <= MAX_TRIPS


def test_a_distance_shortened_below_the_shortest_counts_as_left_out():
    pipeline = FAMILIES["lasso"].make_pipeline()
    pipeline.fit(train_trips(), train_trips()["duration_minutes"])
    short = trips_of(4).assign(trip_distance=0.06)
    usual = pipeline.predict(without_distance(short))
    errors = measure_wrong_distances(pipeline, short, pipeline.predict(short), usual)
    rmse = {error.distance: error.rmse for error in errors}
    assert rmse["0.8 × metered"] == rmse["left out"] != rmse["metered"]


def test_intervals_cover_fewer_trips_if_the_distance_is_wrong():
    pipeline = FAMILIES["lasso"].make_pipeline()
    pipeline.fit(train_trips(), train_trips()["duration_minutes"])
    test = trips_of(4)
    predicted, usual = pipeline.predict(test), pipeline.predict(without_distance(test))
    actual = test["duration_minutes"].to_numpy()
    attach_intervals(pipeline, calibrate(predicted, actual), calibrate(usual, actual))
    errors = measure_wrong_distances(pipeline, test, predicted, usual)
    covered = {error.distance: error.coverage for error in errors}
    assert covered["metered"] == pytest.approx(0.8, abs=0.04)
    assert covered["left out"] == pytest.approx(0.8, abs=0.04)
    assert covered["0.8 × metered"] < covered["metered"] - 0.02
    table = wrong_distance_table(errors)
    assert table[0]["covered_percent"] == round(100 * covered["metered"], 1)


def test_the_table_has_the_change_in_percent():
    errors = [
        DistanceError(distance=name, rmse=rmse, rows=9)
        for name, rmse in (("metered", 4.0), ("0.8 × metered", 4.5))
    ]
    assert wrong_distance_table(errors) == [
        {"distance": "metered", "rmse": 4.0, "change_percent": 0.0},
        {"distance": "0.8 × metered", "rmse": 4.5, "change_percent": 12.5},
    ]
    assert wrong_distance_table([]) == []
