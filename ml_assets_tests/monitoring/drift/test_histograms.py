"""The population stability index: its formula, its noise, and its bounds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ml_assets.monitoring.drift.histograms import population_stability_index

COUNTS = st.integers(2, 40).flatmap(
    lambda bins: st.tuples(*[arrays.arrays(np.int64, bins, elements=st.integers(0, 10**7))] * 2)
)


def test_it_matches_the_textbook_formula_on_many_trips():
    reference, month = np.array([600_000, 400_000]), np.array([500_000, 500_000])
    textbook = -0.1 * math.log(0.5 / 0.6) + 0.1 * math.log(0.5 / 0.4)
    assert population_stability_index(reference, month) == pytest.approx(textbook, abs=1e-5)


@given(COUNTS)
def test_it_is_non_negative_finite_and_symmetric(pair):
    index, swapped = population_stability_index(*pair), population_stability_index(*pair[::-1])
    assert 0 <= index < 50
    assert index == pytest.approx(swapped, abs=1e-9)


@given(COUNTS, st.randoms())
def test_the_order_of_bins_does_not_matter(pair, random):
    order = list(range(len(pair[0])))
    random.shuffle(order)
    shuffled = [counts[order] for counts in pair]
    assert population_stability_index(*shuffled) == pytest.approx(
        population_stability_index(*pair), abs=1e-9
    )


@given(arrays.arrays(np.int64, 12, elements=st.integers(0, 10**6)), st.integers(1, 9))
def test_equal_shares_have_an_index_of_0(counts, times):
    assert population_stability_index(counts, counts * times) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("reference", "month"), [(600, 200), (1_200, 400), (4_000, 1_500), (400_000, 65_000)]
)
def test_noise_is_no_drift_however_few_trips_there_are(reference, month):
    random = np.random.default_rng(7)
    shares = random.dirichlet(np.full(168, 2.0))  # of hours of the week
    found = [
        population_stability_index(
            random.multinomial(reference, shares), random.multinomial(month, shares)
        )
        for _ in range(200)
    ]
    assert max(found) < 0.1
    assert np.mean(found) < 0.02


def test_an_emptied_bin_counts_like_a_filled_one():
    before, after = np.array([500, 500, 0]), np.array([500, 0, 500])
    assert 1 < population_stability_index(before, after) < 10
    assert population_stability_index(np.array([5]), np.array([9])) == 0
    assert population_stability_index(np.array([0, 0]), np.array([9, 1])) == 0
