"""Months: the unit of publication, partitioning and windows."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.trips.month import Month, months_between

months = st.builds(Month, st.integers(2009, 2100), st.integers(1, 12))


@given(months)
def test_a_month_parses_its_own_text(month):
    assert Month.parse(str(month)) == month


@given(months, st.integers(-500, 500))
def test_shifting_forth_and_back_gives_the_same_month(month, months_later):
    assert month.shift(months_later).shift(-months_later) == month


@given(months)
def test_a_month_begins_where_the_previous_one_ends_and_months_are_ordered(month):
    assert month.shift(-1).end == month.start
    assert month.shift(-1) < month < month.shift(1)
    assert Month.of(month.end - timedelta(microseconds=1)) == month
    assert timedelta(days=28) <= month.end - month.start <= timedelta(days=31)


def test_months_between_includes_both_ends_across_new_year():
    between = months_between(Month(2023, 11), Month(2024, 2))
    assert [str(month) for month in between] == ["2023-11", "2023-12", "2024-01", "2024-02"]
    assert list(months_between(Month(2023, 2), Month(2023, 1))) == []


def test_spaces_around_a_month_do_not_matter():
    assert Month.parse(" 2023-01\n").start == datetime(2023, 1, 1)


@pytest.mark.parametrize(
    "text",
    ["", "2023", "2023-1", "2023-13", "2023-00", "23-01", "2023-01-01", "2023/01", "january",
     "0000-01", "9999-12", "２０２３-01", "-2023-01"],
)  # fmt: skip
def test_any_other_text_is_rejected_with_an_example(text):
    with pytest.raises(ValueError, match="write it as YYYY-MM, for example 2023-01"):
        Month.parse(text)
