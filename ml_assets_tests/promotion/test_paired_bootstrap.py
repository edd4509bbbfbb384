"""Is a model better, or was it luck? The paired bootstrap over trips."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.promotion.paired_bootstrap import paired_bootstrap


def trips(rows=2000, seed=0):
    """The champion's squared errors, and a generator for those of a challenger."""
    random = np.random.default_rng(seed)
    return random.normal(0, 4, rows) ** 2, random


def test_a_clearly_better_model_is_better_for_sure():
    champion, random = trips()
    found = paired_bootstrap(champion, random.normal(0, 3, len(champion)) ** 2)
    assert found.improvement == pytest.approx(1.0, abs=0.2)
    assert 0.7 < found.lower_bound < found.improvement
    assert found.win_rate == 1.0


def test_a_tie_is_no_improvement():
    champion, _ = trips()
    found = paired_bootstrap(champion, champion.copy())
    assert (found.improvement, found.lower_bound, found.win_rate) == (0.0, 0.0, 0.0)


def test_a_hair_better_on_few_trips_may_be_luck():
    champion, random = trips(200)
    challenger = ((np.sqrt(champion) + random.normal(0, 1, 200)) * 0.97) ** 2
    found = paired_bootstrap(champion, challenger)
    assert found.lower_bound < 0 < found.improvement


def test_that_both_err_on_the_same_trips_makes_a_small_difference_plain():
    """Unpaired, 1 % would drown in the noise of 2,000 trips."""
    champion, _ = trips()
    found = paired_bootstrap(champion, champion * 0.99**2)
    assert found.lower_bound == pytest.approx(found.improvement, rel=0.1)
    assert found.lower_bound > 0


def test_the_lower_limit_holds_as_often_as_it_says():
    """On 200 draws of trips where the models are alike, it is above 0 in about one of twenty."""
    false_alarms = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        one, other = random.normal(0, 4, (2, 300)) ** 2
        found = paired_bootstrap(one, other, resamples=200, seed=seed)
        false_alarms += found.lower_bound > 0
    assert 2 <= false_alarms <= 20


def test_the_same_seed_draws_the_same_trips():
    champion, random = trips(300)
    challenger = champion * random.uniform(0.5, 1.5, 300)
    assert paired_bootstrap(champion, challenger) == paired_bootstrap(champion, challenger)


@settings(max_examples=30, deadline=None)
@given(
    errors=st.lists(st.tuples(st.floats(-60, 60), st.floats(-60, 60)), min_size=2, max_size=40),
)
def test_turning_the_two_around_turns_the_sign_around(errors):
    one, other = np.array(errors).T ** 2
    forth = paired_bootstrap(one, other, resamples=50)
    back = paired_bootstrap(other, one, resamples=50)
    assert forth.improvement == pytest.approx(-back.improvement)
    assert not (forth.lower_bound > 0 and back.lower_bound > 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"champion": [1.0], "challenger": [1.0, 2.0]}, "shapes"),
        ({"champion": [1.0], "challenger": [1.0]}, "two at least"),
        ({"champion": [1.0, np.nan], "challenger": [1.0, 2.0]}, "finite"),
        ({"champion": [1.0, 2.0], "challenger": [1.0, 2.0], "confidence": 95}, "0.95"),
    ],
)
def test_invalid_comparisons_raise(given, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(**given)


def test_of_very_many_trips_the_limit_is_that_of_resampling_each(monkeypatch):
    champion, random = trips(20_000)
    challenger = (np.sqrt(champion) * 0.99 + random.normal(0, 0.5, len(champion))) ** 2
    each = paired_bootstrap(champion, challenger)
    monkeypatch.setattr("ml_assets.promotion.paired_bootstrap.MAX_RESAMPLED", 3_000)
    grouped = paired_bootstrap(champion, challenger)
    assert grouped.improvement == each.improvement
    assert grouped.trips == each.trips == 20_000
    width, expected = (one.improvement - one.lower_bound for one in (grouped, each))
    assert width == pytest.approx(expected, rel=0.15)
