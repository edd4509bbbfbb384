"""A bounded fit gets a reproducible sample in which months and zones have their shares."""

import numpy as np
import pytest

from ml_assets.training.families import FAMILIES
from ml_assets.training.row_sample import RowLimitError, draw_rows, parse_row_limit, row_quotas
from ml_assets.trips.month import Month

MONTH = Month(2023, 1)
ZONES = np.random.default_rng(0).choice(
    [0, 7, 74, 75, 265], 20_000, p=[0.001, 0.1, 0.6, 0.2, 0.099]
)


def test_a_bound_is_divided_by_the_rows_of_the_months():
    assert row_quotas([50, 30, 90], 100) == [29, 18, 53]
    assert row_quotas([50, 30, 90], 170) == row_quotas([50, 30, 90], None) == [50, 30, 90]


@pytest.mark.parametrize("quota", [1, 100, 3_000])
def test_each_zone_has_its_share(quota):
    drawn = draw_rows(ZONES, quota, 42, MONTH)
    assert len(drawn) == len(np.unique(drawn)) == quota
    assert (np.diff(drawn) > 0).all()  # in the order of the month
    expected = np.bincount(ZONES) * quota / len(ZONES)
    assert np.abs(np.bincount(ZONES[drawn], minlength=len(expected)) - expected).max() < 1


def test_a_sample_depends_on_seed_and_month_only_and_grows_by_more_rows():
    drawn = draw_rows(ZONES, 500, 42, MONTH)
    assert np.array_equal(drawn, draw_rows(ZONES, 500, 42, MONTH))
    assert not np.array_equal(drawn, draw_rows(ZONES, 500, 43, MONTH))
    assert not np.array_equal(drawn, draw_rows(ZONES, 500, 42, Month(2023, 2)))
    assert {*drawn.tolist()} < {*draw_rows(ZONES, 501, 42, MONTH).tolist()}


def test_rows_within_a_zone_are_random():
    """The trips of a month are stored by time: its first ones must not stand for a zone."""
    drawn = draw_rows(np.full(20_000, 74), 2_000, 42, MONTH)
    assert drawn.mean() == pytest.approx(10_000, rel=0.05)


def test_a_month_within_the_bound_is_whole():
    assert np.array_equal(draw_rows(ZONES, len(ZONES), 42, MONTH), np.arange(len(ZONES)))


def test_a_limit_is_a_number_or_the_familys_own_or_none():
    xgboost = FAMILIES["xgboost"]
    assert xgboost.bound(parse_row_limit("default")) == xgboost.max_rows
    assert xgboost.bound(parse_row_limit(" ALL ")) is None
    assert xgboost.bound(parse_row_limit("2_000_000")) == 2_000_000
    for wrong in ("", "999", "-5", "many", "1e6", "_1000", "1__000", ",,1000", "9" * 5_000):
        with pytest.raises(RowLimitError, match=r"use default .*, a number of at least 1000, or"):
            parse_row_limit(wrong)
