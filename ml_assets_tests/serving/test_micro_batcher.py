"""Single requests of one turn of the event loop are predicted in one call of the model."""

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ml_assets.pipeline.predict import Predictions
from ml_assets.requests.parse import parse_request
from ml_assets.serving.predict_endpoint import MicroBatcher


def request(miles):
    return parse_request({"PULocationID": 74, "DOLocationID": 75, "trip_distance": miles})


class CountingModel:
    """Predicts ten minutes a mile, and keeps the batch sizes."""

    def __init__(self, bounds=True):
        self.batch_sizes, self.bounds = [], bounds

    def predict(self, columns):
        miles = columns["trip_distance"]
        self.batch_sizes.append(len(miles))
        if (miles > 100).any():
            raise RuntimeError("too far")
        minutes = 10.0 * miles
        lower, upper = (minutes - 1, minutes + 1) if self.bounds else (None, None)
        return Predictions(minutes, lower, upper, miles > 0, miles)


def predict_concurrently(batcher, *miles):
    async def predict():
        requests = [batcher.predict(request(distance)) for distance in miles]
        return await asyncio.gather(*requests, return_exceptions=True)

    return asyncio.run(predict())


@pytest.mark.parametrize("bounds", [True, False])
def test_concurrent_requests_are_one_batch_and_each_gets_its_own_prediction(bounds):
    model = CountingModel(bounds)
    served: Any = SimpleNamespace(model=model)
    results = predict_concurrently(MicroBatcher(lambda: served), 1.0, 3.0, 2.0)
    assert model.batch_sizes == [3]
    assert [each.minutes.tolist() for _, each in results] == [[10.0], [30.0], [20.0]]
    lower = [None if each.lower is None else each.lower.tolist() for _, each in results]
    assert lower == ([[9.0], [29.0], [19.0]] if bounds else [None] * 3)
    assert all(version is served for version, _ in results)


def test_a_batch_uses_one_model_and_the_next_batch_may_use_another():
    models: list[Any] = [SimpleNamespace(model=CountingModel()) for _ in range(2)]
    following = iter(models)
    batcher = MicroBatcher(lambda: next(following))
    for expected in models:
        results = predict_concurrently(batcher, 1.0, 2.0)
        assert [served for served, _ in results] == [expected] * 2


def test_an_error_is_raised_for_each_request_of_its_batch_and_no_other():
    served: Any = SimpleNamespace(model=CountingModel())
    batcher = MicroBatcher(lambda: served)
    errors = predict_concurrently(batcher, 1.0, 101.0)
    assert [str(error) for error in errors] == ["too far", "too far"]
    ((_, prediction),) = predict_concurrently(batcher, 1.0)
    assert np.array_equal(prediction.minutes, [10.0])
