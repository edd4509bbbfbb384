"""A model that memorized the test trips is detected; an honest one passes."""

import numpy as np
import pandas as pd
import pytest

from ml_assets.evaluation.leakage import FEW_TRIPS, check_memorization, perturb_requests
from ml_assets.training.families import FAMILIES
from ml_assets.trips.quality.finding import Verdict
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET
from ml_assets_tests.training.sample_trips import train_trips, trips_of

REQUESTS = list(REQUEST_COLUMNS)


@pytest.fixture(scope="module")
def test_trips():
    """Four months, to have many trips."""
    trips = pd.concat([trips_of(number) for number in (3, 4, 5, 6)], ignore_index=True)
    assert len(trips) > FEW_TRIPS
    return trips


@pytest.fixture(scope="module", params=["linear_regression", "xgboost", "extra_trees"])
def honest(request):
    train = train_trips()
    return FAMILIES[request.param].make_pipeline().fit(train[REQUESTS], train[TARGET.name])


class Memorizing:
    """Wraps a model and memorizes every n-th of the given trips."""

    def __init__(self, pipeline, read, nth):
        self.pipeline = pipeline
        self.known = dict(zip(self.keys(read)[::nth], read[TARGET.name][::nth], strict=True))

    def keys(self, requests):
        return list(requests[REQUESTS].itertuples(index=False, name=None))

    def predict(self, requests):
        honest = self.pipeline.predict(requests)
        pairs = zip(self.keys(requests), honest, strict=True)
        return np.array([self.known.get(key, minutes) for key, minutes in pairs])


def found(model, test_trips):
    return check_memorization(model, test_trips, model.predict(test_trips[REQUESTS]))


def test_an_honest_model_has_the_same_error_on_perturbed_requests(honest, test_trips):
    finding = found(honest, test_trips)
    assert finding.verdict == Verdict.PASS
    assert finding.value > 0.98
    assert found(honest, test_trips.head(300)).verdict == Verdict.PASS


@pytest.mark.parametrize("nth", [1, 3, 7])
def test_a_model_that_memorized_labels_fails(honest, test_trips, nth):
    finding = found(Memorizing(honest, test_trips, nth), test_trips)
    assert finding.verdict == Verdict.FAIL
    assert "seems to have memorized the test trips" in finding.sentence
    assert "begin 5 minutes later" in finding.sentence


def test_memorizing_half_of_few_trips_is_detected(honest, test_trips):
    few = test_trips.head(1000)
    assert found(Memorizing(honest, few, 2), few).verdict == Verdict.FAIL


def test_an_unmetered_distance_is_not_perturbed():
    requests = pd.DataFrame(
        {
            "PULocationID": [41, 41, 41],
            "DOLocationID": [74, 74, 74],
            "trip_distance": [0.0, np.nan, 2.0],
            "pickup_datetime": pd.to_datetime(["2023-01-31 23:58"] * 3),
            "passenger_count": [1.0, np.nan, 2.0],
        }
    )
    moved = perturb_requests(requests)
    assert moved["trip_distance"].tolist()[::2] == [0.0, 2.03]
    assert np.isnan(moved["trip_distance"][1])
    assert set(moved["pickup_datetime"]) == {pd.Timestamp("2023-02-01 00:03")}
    assert requests["trip_distance"][2] == 2.0
