"""The choice of months: what trains, tunes and judges, and what is said when that cannot be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.training.windows import MAX_TRAIN_MONTHS, WindowError, choose_window, span
from ml_assets.trips.month import Month


def months(*texts: str) -> tuple[Month, ...]:
    return tuple(Month.parse(text) for text in texts)


some_months = st.sets(
    st.integers(0, 60).map(lambda steps: Month(2020, 1).shift(steps)), min_size=2, max_size=30
).map(sorted)


def test_the_newest_judges_the_one_before_tunes_and_the_rest_train():
    window = choose_window(months("2023-03", "2023-01", "2023-04", "2023-02"))
    assert window.train == months("2023-01", "2023-02")
    assert window.tune == months("2023-03")
    assert window.judge == months("2023-04")
    assert window.caveat is None
    assert window.gaps == ()


def test_without_a_wish_at_most_twelve_months_train():
    window = choose_window([Month(2022, 1).shift(steps) for steps in range(20)])
    assert len(window.train) == MAX_TRAIN_MONTHS == 12
    assert window.train[-1].shift(1) == window.tune[0]


def test_two_months_share_the_roles_and_say_so():
    window = choose_window(months("2023-01", "2023-02"))
    assert window.train == months("2023-01")
    assert window.tune == window.judge == months("2023-02")
    assert "both tuned and judged" in str(window.caveat)


def test_one_month_to_train_is_not_too_long_for_two_months():
    assert choose_window(months("2023-01", "2023-02"), train_months=1).caveat is not None


def test_a_judging_month_leaves_later_months_out():
    window = choose_window(
        [Month(2023, number) for number in range(1, 10)], train_months=2, judge=Month(2023, 6)
    )
    assert window.train == months("2023-03", "2023-04")
    assert window.tune == months("2023-05")
    assert window.judge == months("2023-06")


def test_a_gap_is_named_and_does_not_shorten_the_window():
    window = choose_window(months("2023-01", "2023-03", "2023-04", "2023-06"), train_months=2)
    assert window.train == months("2023-01", "2023-03")
    assert window.gaps == months("2023-02", "2023-05")
    assert "missing in between: 2023-02, 2023-05" in window.describe()


def test_a_gap_before_the_window_is_not_its_gap():
    assert (
        choose_window(months("2020-01", "2023-04", "2023-05", "2023-06"), train_months=1).gaps == ()
    )


@pytest.mark.parametrize(
    ("available", "wishes", "said"),
    [
        pytest.param((), {}, ["--first 2023-01 --last 2023-03", "raw_trips"], id="no-month"),
        pytest.param(
            months("2023-01"),
            {},
            ["2022-12 or 2023-02", "ml-assets run --first 2023-01 --last 2023-03", "raw_trips"],
            id="one-month",
        ),
        pytest.param(
            months("2023-01", "2023-02"),
            {"judge": Month(2023, 1)},
            ["missing: 2022-12", "ml-assets run --first 2022-11 --last 2023-01"],
            id="nothing-before-the-judge",
        ),
        pytest.param(
            months("2023-01", "2023-02", "2023-03"),
            {"train_months": 3},
            ["missing: 2022-11 to 2022-12", "--first 2022-11 --last 2023-03 --train-months 3"],
            id="longer-than-the-history",
        ),
        pytest.param(
            months("2023-01", "2023-03", "2023-04"),
            {"train_months": 2},
            ["missing: 2023-02", "--first 2023-01 --last 2023-04 --train-months 2"],
            id="missing-in-the-middle",
        ),
        pytest.param(
            months("2023-01", "2023-03"),
            {"judge": Month(2023, 2)},
            ["judging month 2023-02", "2023-01, 2023-03", "--last 2023-02"],
            id="judge-not-there",
        ),
        pytest.param(months("2023-01", "2023-02"), {"train_months": 0}, ["is 0"], id="zero"),
        pytest.param(months("2023-01", "2023-02"), {"train_months": -3}, ["is -3"], id="negative"),
    ],
)
def test_too_few_months_name_what_is_missing_and_the_way_out(available, wishes, said):
    with pytest.raises(WindowError) as caught:
        choose_window(available, **wishes)
    for words in said:
        assert words in str(caught.value)


@given(available=some_months, data=st.data())
def test_roles_are_ordered_and_apart_whatever_is_there(available, data):
    shuffled = data.draw(st.permutations(available + available[:1]))
    window = choose_window(shuffled)
    assert window == choose_window(available)
    assert window.train == tuple(sorted(set(window.train)))
    assert window.train[-1] < window.tune[0]
    assert window.judge == (available[-1],)
    if len(available) == 2:
        assert window.tune == window.judge
        assert window.caveat
    else:
        assert window.tune == (available[-2],)
        assert window.caveat is None
    used = {*window.train, *window.tune, *window.judge}
    assert used <= set(available)
    assert not used & set(window.gaps)
    assert len(used) + len(window.gaps) == len(_all_between(window.train[0], window.judge[0]))


@given(available=some_months, train_months=st.integers(1, 30), data=st.data())
def test_an_asked_length_is_kept_or_refused_never_shortened(available, train_months, data):
    judge = data.draw(st.none() | st.sampled_from(available))
    history = [month for month in available if judge is None or month <= judge]
    if len(history) >= train_months + 2 or (train_months, len(history)) == (1, 2):
        window = choose_window(available, train_months=train_months, judge=judge)
        assert len(window.train) == train_months
        assert window.judge == (judge or available[-1],)
    else:
        with pytest.raises(WindowError, match=r"missing: .* `ml-assets run --first "):
            choose_window(available, train_months=train_months, judge=judge)


def test_months_are_written_as_people_write_them():
    assert span(months("2023-01")) == "2023-01"
    assert span(months("2022-12", "2023-02", "2023-01", "2023-04")) == "2022-12 to 2023-02, 2023-04"
    assert span(()) == "none"


def _all_between(first: Month, last: Month) -> list[Month]:
    return [first.shift(steps) for steps in range(200) if first.shift(steps) <= last]
