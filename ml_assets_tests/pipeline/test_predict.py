"""A month that is predicted piece by piece gets the very bits of one that is predicted at once."""

import numpy as np
import pytest

from ml_assets.pipeline import predict
from ml_assets.pipeline.predict import predict_trips
from ml_assets.training.families import FAMILIES
from ml_assets.trips.rules import REQUEST_COLUMNS
from ml_assets_tests.training.sample_trips import train_trips, tune_trips


@pytest.mark.parametrize("name", list(FAMILIES))
def test_every_family_gives_the_same_bits_in_pieces(name, monkeypatch):
    few = {"n_estimators": 20} if "n_estimators" in FAMILIES[name].defaults else None
    trips, month = train_trips(), tune_trips()
    pipeline = FAMILIES[name].make_pipeline(few).fit(trips, trips["duration_minutes"])
    asked = []

    class Counted:
        def predict(self, requests):
            asked.append(len(requests))
            return pipeline.predict(requests)

    monkeypatch.setattr(predict, "ROWS_AT_ONCE", 400)
    in_pieces = predict_trips(Counted(), month)
    assert asked == [400, 400, 400, len(month) - 1200]
    assert np.array_equal(in_pieces, pipeline.predict(month[list(REQUEST_COLUMNS)]))


def test_no_trips_are_no_minutes():
    assert predict_trips(None, tune_trips().head(0)).shape == (0,)
