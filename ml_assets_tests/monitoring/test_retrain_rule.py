"""The retraining rule: two of five months including the latest, with a cool-down."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.monitoring.retrain_rule import COOL_DOWN, LastRetraining, MonthlyValue, decide
from ml_assets.trips.month import Month

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
FIRST = Month(2023, 1)


def values(marks):
    """A month for each mark: ``x`` is over its limit, ``.`` is not."""
    return [
        MonthlyValue(FIRST.shift(at), 0.5 if mark == "x" else 0.1, 0.25, "drift of trip_distance")
        for at, mark in enumerate(marks)
    ]


@pytest.mark.parametrize(
    ("marks", "retrain"),
    [
        ("", False),
        (".....", False),
        ("x", False),  # one bad month is noise
        ("....x", False),
        ("xx", True),
        ("x...x", True),
        ("...xx", True),
        ("x....x", False),  # the first is no longer among five
        ("xxxx.", False),  # the latest is within the limit again
        ("xxxxx", True),
    ],
)
def test_two_of_the_last_five_months_and_the_latest(marks, retrain):
    assert decide(values(marks), None, NOW).retrain is retrain


def test_the_reason_names_measure_month_value_and_limit():
    decision = decide(values(".x.x"), None, NOW)
    assert decision.reason == (
        "drift of trip_distance 0.500 in 2023-04, over the limit 0.250; in all 2 of 4 months are "
        "(2023-02, 2023-04)"
    )
    assert decision.breached == (Month(2023, 2), Month(2023, 4))
    assert "one month is noise" in decide(values("...x"), None, NOW).reason
    assert "within the limit" in decide(values("xx."), None, NOW).reason
    assert "no month has come in" in decide([], None, NOW).reason


def test_no_second_retraining_within_a_week_or_for_the_same_month():
    marks = values("xxx")
    before = LastRetraining(NOW - timedelta(days=6), Month(2023, 2))
    cooling = decide(marks, before, NOW)
    assert (cooling.retrain, cooling.retry_later) == (False, True)
    assert "cooling down until 2026-11-26 12:00 UTC" in cooling.reason
    assert decide(marks, before, NOW + timedelta(days=1)).retrain
    same = decide(marks, LastRetraining(NOW - timedelta(days=60), Month(2023, 3)), NOW)
    assert (same.retrain, same.retry_later) == (False, False)
    assert "already retrained for 2023-03" in same.reason


def test_nan_is_a_breach():
    nan = [MonthlyValue(FIRST.shift(at), float("nan"), 0.25, "relative error") for at in range(2)]
    assert decide(nan, None, NOW).retrain


MARKS = st.text("x.", max_size=12)


@given(MARKS)
def test_no_retraining_if_the_latest_month_is_within_the_limit_or_only_one_is_over(marks):
    if decide(values(marks), None, NOW).retrain:
        assert marks.endswith("x")
        assert marks[-5:].count("x") >= 2


@given(MARKS, MARKS)
def test_months_before_the_last_five_do_not_count(older, newer):
    five = newer[-5:].rjust(5, ".")
    alone, after_others = values(five), values(older + five)
    assert decide(alone, None, NOW).retrain == decide(after_others, None, NOW).retrain


@given(MARKS, st.randoms())
def test_the_order_of_the_input_does_not_matter(marks, random):
    shuffled = values(marks)
    random.shuffle(shuffled)
    assert decide(shuffled, None, NOW) == decide(values(marks), None, NOW)


@given(MARKS)
def test_another_bad_month_never_cancels_a_retraining(marks):
    if decide(values(marks), None, NOW).retrain:
        assert decide(values(f"{marks}x"), None, NOW).retrain


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_retrainings_are_at_least_a_cool_down_and_a_month_apart(days):
    last, now, requested = None, NOW, []
    for month, passed in enumerate(days, start=2):
        now += timedelta(days=passed)
        marks = values("x" * month)
        for _ in range(3):  # evaluations
            if decide(marks, last, now).retrain:
                last = LastRetraining(now, marks[-1].month)
                requested.append(last)
    assert requested
    for earlier, later in pairwise(requested):
        assert later.at - earlier.at >= COOL_DOWN
        assert later.latest > earlier.latest
