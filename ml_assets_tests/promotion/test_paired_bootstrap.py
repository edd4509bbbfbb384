"""Is a model better, or was it luck? The paired bootstrap over trips."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.promotion.paired_bootstrap import paired_bootstrap


def trips(rows=2000, seed=0):
    random = np.random.default_rng(seed)
    actual = random.gamma(2, 7, rows) + 1
    return actual, actual + random.normal(0, 4, rows), random


def test_a_clearly_better_model_is_better_for_sure():
    actual, champion, random = trips()
    found = paired_bootstrap(actual, champion, actual + random.normal(0, 3, len(actual)))
    assert found.improvement == pytest.approx(1.0, abs=0.2)
    assert 0.7 < found.lower_bound < found.improvement
    assert found.win_rate == 1.0


def test_a_tie_is_no_improvement():
    actual, champion, _ = trips()
    found = paired_bootstrap(actual, champion, champion.copy())
    assert (found.improvement, found.lower_bound, found.win_rate) == (0.0, 0.0, 0.0)


def test_a_hair_better_on_few_trips_may_be_luck():
    actual, champion, random = trips(200)
    challenger = champion + random.normal(0, 1, 200)
    challenger = actual + (challenger - actual) * 0.999
    assert paired_bootstrap(actual, champion, challenger).lower_bound < 0


def test_that_both_err_on_the_same_trips_makes_a_small_difference_plain():
    """Unpaired, 1 % would drown in the noise of 2,000 trips."""
    actual, champion, _ = trips()
    found = paired_bootstrap(actual, champion, actual + (champion - actual) * 0.99)
    assert found.lower_bound == pytest.approx(found.improvement, rel=0.1)
    assert found.lower_bound > 0


def test_the_lower_limit_holds_as_often_as_it_says():
    """On 200 draws of trips where the models are alike, it is above 0 in about one of twenty."""
    false_alarms = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        actual = np.zeros(300)
        one, other = random.normal(0, 4, (2, 300))
        found = paired_bootstrap(actual, one, other, resamples=200, seed=seed)
        false_alarms += found.lower_bound > 0
    assert 2 <= false_alarms <= 20


def test_the_same_seed_draws_the_same_trips():
    actual, champion, random = trips(300)
    challenger = champion + random.normal(0, 1, 300)
    assert paired_bootstrap(actual, champion, challenger) == (
        paired_bootstrap(actual, champion, challenger)
    )


@settings(max_examples=30, deadline=None)
@given(
    errors=st.lists(st.tuples(st.floats(-60, 60), st.floats(-60, 60)), min_size=2, max_size=40),
)
def test_turning_the_two_around_turns_the_sign_around(errors):
    one, other = np.array(errors).T
    zeros = np.zeros(len(one))
    forth = paired_bootstrap(zeros, one, other, resamples=50)
    back = paired_bootstrap(zeros, other, one, resamples=50)
    assert forth.improvement == pytest.approx(-back.improvement)
    assert not (forth.lower_bound > 0 and back.lower_bound > 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"actual": [1.0, 2.0], "champion": [1.0], "challenger": [1.0, 2.0]}, "shapes"),
        ({"actual": [1.0], "champion": [1.0], "challenger": [1.0]}, "two at least"),
        ({"actual": [1.0, 2.0], "champion": [1.0, np.nan], "challenger": [1.0, 2.0]}, "finite"),
        (
            {
                "actual": [1.0, 2.0],
                "champion": [1.0, 2.0],
                "challenger": [1.0, 2.0],
                "confidence": 95,
            },
            "0.95",
        ),
    ],
)
def test_invalid_comparisons_raise(given, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(**given)
