"""Single requests of one turn of the event loop: one call of the model, and to each its own."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from ml_assets.pipeline.predict import Answers
from ml_assets.requests.parse import read_request
from ml_assets.serving.micro_batching import MicroBatcher


def request(miles):
    return read_request({"PULocationID": 74, "DOLocationID": 75, "trip_distance": miles})


class Counting:
    """Answers with ten minutes a mile, and keeps how many were asked at once."""

    def __init__(self, bounds=True):
        self.batch_sizes, self.bounds = [], bounds

    def minutes(self, columns):
        miles = columns["trip_distance"]
        self.batch_sizes.append(len(miles))
        if (miles > 100).any():
            raise RuntimeError("too far")
        minutes = 10.0 * miles
        return (
            Answers(minutes, minutes - 1, minutes + 1)
            if self.bounds
            else Answers(minutes, None, None)
        )


def ask_at_once(gathering, *miles):
    async def ask():
        batch_sizes = [gathering.ask(request(one)) for one in miles]
        return await asyncio.gather(*batch_sizes, return_exceptions=True)

    return asyncio.run(ask())


@pytest.mark.parametrize("bounds", [True, False])
def test_simultaneous_requests_are_one_batch_and_each_gets_its_own_prediction(bounds):
    model = Counting(bounds)
    served = SimpleNamespace(model=model)
    found = ask_at_once(MicroBatcher(lambda: served), 1.0, 3.0, 2.0)
    assert model.batch_sizes == [3]
    assert [answers.minutes.tolist() for _, answers in found] == [[10.0], [30.0], [20.0]]
    lower = [None if answers.lower is None else answers.lower.tolist() for _, answers in found]
    assert lower == ([[9.0], [29.0], [19.0]] if bounds else [None] * 3)
    assert all(one is served for one, _ in found)


def test_all_of_a_turn_are_one_model_s_and_the_next_turn_may_be_another_s():
    models = [SimpleNamespace(model=Counting()) for _ in range(2)]
    following = iter(models)
    gathering = MicroBatcher(lambda: next(following))
    for expected in models:
        assert [one for one, _ in ask_at_once(gathering, 1.0, 2.0)] == [expected] * 2


def test_a_failure_reaches_every_request_of_its_batch_and_no_other():
    gathering = MicroBatcher(lambda: SimpleNamespace(model=Counting()))
    failed = ask_at_once(gathering, 1.0, 101.0)
    assert [str(error) for error in failed] == ["too far", "too far"]
    ((_, answers),) = ask_at_once(gathering, 1.0)
    assert np.array_equal(answers.minutes, [10.0])
