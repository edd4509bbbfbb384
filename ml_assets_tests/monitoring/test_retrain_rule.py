"""The rule on retraining: two of five months and the latest, with a cool-down."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.monitoring.retrain_rule import COOL_DOWN, Retrained, Window, judge
from ml_assets.trips.month import Month

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
FIRST = Month(2023, 1)


def windows(marks):
    """A month for each mark: ``x`` is over its limit, ``.`` is not."""
    return [
        Window(FIRST.shift(at), 0.5 if mark == "x" else 0.1, 0.25, "drift of trip_distance")
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
        ("xxxx.", False),  # the latest is fine again
        ("xxxxx", True),
    ],
)
def test_two_of_the_last_five_months_and_the_latest(marks, retrain):
    assert judge(windows(marks), None, NOW).retrain is retrain


def test_the_sentence_names_what_when_how_much_and_the_limit():
    told = judge(windows(".x.x"), None, NOW)
    assert told.sentence == (
        "drift of trip_distance 0.500 in 2023-04, over the limit 0.250; in all 2 of 4 months are "
        "(2023-02, 2023-04)"
    )
    assert told.breached == (Month(2023, 2), Month(2023, 4))
    assert "one month is noise" in judge(windows("...x"), None, NOW).sentence
    assert "within the limit" in judge(windows("xx."), None, NOW).sentence
    assert "no month has come in" in judge([], None, NOW).sentence


def test_it_cools_down_for_a_week_and_does_not_ask_twice_for_a_month():
    marks = windows("xxx")
    before = Retrained(NOW - timedelta(days=6), Month(2023, 2))
    cooling = judge(marks, before, NOW)
    assert (cooling.retrain, cooling.passing) == (False, True)
    assert "cooling down until 2026-11-26 12:00 UTC" in cooling.sentence
    assert judge(marks, before, NOW + timedelta(days=1)).retrain
    same = judge(marks, Retrained(NOW - timedelta(days=60), Month(2023, 3)), NOW)
    assert (same.retrain, same.passing) == (False, False)
    assert "2023-03 was retrained for before" in same.sentence


def test_what_is_no_number_is_a_breach():
    nan = [Window(FIRST.shift(at), float("nan"), 0.25, "relative error") for at in range(2)]
    assert judge(nan, None, NOW).retrain


MARKS = st.text("x.", max_size=12)


@given(MARKS)
def test_it_never_retrains_for_a_latest_month_that_is_fine_nor_for_one_month(marks):
    if judge(windows(marks), None, NOW).retrain:
        assert marks.endswith("x")
        assert marks[-5:].count("x") >= 2


@given(MARKS, MARKS)
def test_months_before_the_last_five_do_not_count(older, newer):
    five = newer[-5:].rjust(5, ".")
    alone, after_others = windows(five), windows(older + five)
    assert judge(alone, None, NOW).retrain == judge(after_others, None, NOW).retrain


@given(MARKS, st.randoms())
def test_the_order_of_what_is_handed_in_does_not_matter(marks, random):
    shuffled = windows(marks)
    random.shuffle(shuffled)
    assert judge(shuffled, None, NOW) == judge(windows(marks), None, NOW)


@given(MARKS)
def test_another_bad_month_never_takes_a_retraining_back(marks):
    if judge(windows(marks), None, NOW).retrain:
        assert judge(windows(f"{marks}x"), None, NOW).retrain


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_however_bad_all_months_are_retrainings_are_a_cool_down_and_a_month_apart(days):
    last, now, asked = None, NOW, []
    for month, passed in enumerate(days, start=2):
        now += timedelta(days=passed)
        marks = windows("x" * month)
        for _ in range(3):  # looks
            if judge(marks, last, now).retrain:
                last = Retrained(now, marks[-1].month)
                asked.append(last)
    assert asked
    for earlier, later in pairwise(asked):
        assert later.at - earlier.at >= COOL_DOWN
        assert later.latest > earlier.latest
