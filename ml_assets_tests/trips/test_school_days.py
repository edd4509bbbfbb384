"""School days: the published calendars, and the rules for other years."""

from datetime import date, timedelta

import numpy as np
import pytest

from ml_assets.trips import school_days
from ml_assets.trips.school_days import CALENDARS, is_school_day

EPOCH = date(1970, 1, 1)


def in_session(*dates: str) -> list[bool]:
    """Whether schools are in session on these dates."""
    days = np.array([(date.fromisoformat(day) - EPOCH).days for day in dates], dtype=np.int64)
    return is_school_day(days).tolist()


def days_of(year: str) -> np.ndarray:
    """All days from the first to the last day of a listed school year."""
    first, last, _ = CALENDARS[year]
    span = date.fromisoformat(last) - date.fromisoformat(first)
    start = (date.fromisoformat(first) - EPOCH).days
    return np.arange(start, start + span / timedelta(days=1) + 1).astype(np.int64)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2023-04-05", True),
        ("2023-04-06", False),  # recess in spring
        ("2023-04-17", True),
        ("2023-04-15", False),  # Saturday
        ("2023-06-27", True),
        ("2023-06-28", False),
        ("2023-09-06", False),
        ("2023-09-07", True),
        ("2024-12-23", True),
        ("2026-01-02", False),
    ],
)
def test_listed_years_are_as_published(day, expected):
    assert in_session(day) == [expected]


@pytest.mark.parametrize("year", CALENDARS)
def test_a_listed_year_has_about_180_school_days(year):
    """The state's law asks for 180 days, some of them without students."""
    assert 174 <= is_school_day(days_of(year)).sum() <= 184


@pytest.mark.parametrize("year", CALENDARS)
def test_the_rules_differ_from_a_listed_year_by_recesses_and_religious_holidays(year):
    days = days_of(year)
    by_rule, listed = school_days._by_rule(days), is_school_day(days)
    missed = listed & ~by_rule
    assert missed.sum() <= 2
    assert (by_rule & ~listed).sum() <= 16


@pytest.mark.parametrize("year", CALENDARS)
def test_a_closed_day_is_a_weekday_within_its_year(year):
    first, last, closed = CALENDARS[year]
    for entry in closed:
        start, end = (entry, entry) if isinstance(entry, str) else entry
        assert first < start <= end < last
        assert date.fromisoformat(start).weekday() < 5
        assert date.fromisoformat(end).weekday() < 5


def test_other_years_follow_the_rules():
    assert in_session("2019-09-05", "2019-09-04", "2019-02-18", "2019-07-10", "2019-11-28") == [
        True, False, False, False, False,
    ]  # fmt: skip
    assert in_session("2030-10-15", "2030-12-24", "2031-06-26", "2031-06-27") == [
        True, False, True, False,
    ]  # fmt: skip
