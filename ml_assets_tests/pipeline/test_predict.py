"""A month predicted in batches gets bit-equal predictions to one predicted at once."""

import numpy as np
import pytest

from ml_assets.pipeline import predict
from ml_assets.pipeline.predict import predict_modes, predict_trips, without_distance
from ml_assets.training.families import FAMILIES
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.training.sample_trips import train_trips, validation_trips


@pytest.mark.parametrize("name", list(FAMILIES))
def test_every_family_is_bit_equal_in_batches(name, monkeypatch):
    few = {"n_estimators": 20} if "n_estimators" in FAMILIES[name].defaults else None
    trips, month = train_trips(), validation_trips()
    pipeline = FAMILIES[name].make_pipeline(few).fit(trips, trips["duration_minutes"])
    batches = []

    class Counted:
        def predict(self, requests):
            batches.append(len(requests))
            return pipeline.predict(requests)

    monkeypatch.setattr(predict, "ROWS_AT_ONCE", 400)
    in_batches = predict_trips(Counted(), month)
    assert sorted(batches) == [len(month) - 1200, 400, 400, 400]  # free cores take them in turn
    assert np.array_equal(in_batches, pipeline.predict(month[list(REQUEST_COLUMNS)]))
    stated, usual = predict_modes(pipeline, month)
    assert np.array_equal(stated, in_batches)
    assert np.array_equal(usual, predict_trips(pipeline, without_distance(month)))


def test_no_trips_give_no_predictions():
    assert predict_trips(None, validation_trips().head(0)).shape == (0,)
