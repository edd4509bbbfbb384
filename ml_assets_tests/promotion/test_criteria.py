"""How fast one request is answered: the model's doing, not the machine's."""

import time
from itertools import count

import pytest

from ml_assets.promotion.criteria import measure_latency_ms
from ml_assets.trips.request_columns import REQUEST_COLUMNS


class Answering:
    """Takes 2 ms for a request; two of three times the machine has other work."""

    def __init__(self, own=0.002, others=0.02):
        self.own, self.others, self.calls = own, others, count()

    def predict(self, requests):
        assert {name: column.shape for name, column in requests.items()} == dict.fromkeys(
            REQUEST_COLUMNS, (1,)
        )
        time.sleep(self.own + (self.others if next(self.calls) % 3 else 0))
        return [1.0]


def test_a_busy_machine_does_not_make_a_model_slow():
    assert measure_latency_ms(Answering()) < 10


@pytest.mark.parametrize("seconds", [0.005, 0.02])
def test_a_slow_model_is_slow(seconds):
    assert measure_latency_ms(Answering(own=seconds, others=0)) >= 1000 * seconds
