"""Choice of training, validation and test months, and the errors when there are too few."""

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


def test_the_newest_is_test_the_one_before_validation_the_others_train():
    window = choose_window(months("2023-03", "2023-01", "2023-04", "2023-02"))
    assert window.train == months("2023-01", "2023-02")
    assert window.validation == months("2023-03")
    assert window.test == months("2023-04")
    assert window.caveat is None
    assert window.gaps == ()


def test_by_default_at_most_twelve_months_train():
    window = choose_window([Month(2022, 1).shift(steps) for steps in range(20)])
    assert len(window.train) == MAX_TRAIN_MONTHS == 12
    assert window.train[-1].shift(1) == window.validation[0]


def test_two_months_share_the_roles_with_a_caveat():
    window = choose_window(months("2023-01", "2023-02"))
    assert window.train == months("2023-01")
    assert window.validation == window.test == months("2023-02")
    assert "both validation and test month" in str(window.caveat)


def test_one_training_month_works_with_two_months():
    assert choose_window(months("2023-01", "2023-02"), train_months=1).caveat is not None


def test_a_test_month_excludes_later_months():
    window = choose_window(
        [Month(2023, number) for number in range(1, 10)], train_months=2, test=Month(2023, 6)
    )
    assert window.train == months("2023-03", "2023-04")
    assert window.validation == months("2023-05")
    assert window.test == months("2023-06")


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
    ("available", "options", "parts"),
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
            {"test": Month(2023, 1)},
            ["missing: 2022-12", "ml-assets run --first 2022-11 --last 2023-01"],
            id="nothing-before-the-test-month",
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
            {"test": Month(2023, 2)},
            ["test month 2023-02", "2023-01, 2023-03", "--last 2023-02"],
            id="test-month-not-available",
        ),
        pytest.param(months("2023-01", "2023-02"), {"train_months": 0}, ["is 0"], id="zero"),
        pytest.param(months("2023-01", "2023-02"), {"train_months": -3}, ["is -3"], id="negative"),
    ],
)
def test_too_few_months_name_the_missing_ones_and_the_command(available, options, parts):
    with pytest.raises(WindowError) as caught:
        choose_window(available, **options)
    for part in parts:
        assert part in str(caught.value)


@given(available=some_months, data=st.data())
def test_roles_are_ordered_and_disjoint(available, data):
    shuffled = data.draw(st.permutations(available + available[:1]))
    window = choose_window(shuffled)
    assert window == choose_window(available)
    assert window.train == tuple(sorted(set(window.train)))
    assert window.train[-1] < window.validation[0]
    assert window.test == (available[-1],)
    if len(available) == 2:
        assert window.validation == window.test
        assert window.caveat
    else:
        assert window.validation == (available[-2],)
        assert window.caveat is None
    used = {*window.train, *window.validation, *window.test}
    assert used <= set(available)
    assert not used & set(window.gaps)
    assert len(used) + len(window.gaps) == len(_all_between(window.train[0], window.test[0]))


@given(available=some_months, train_months=st.integers(1, 30), data=st.data())
def test_a_requested_length_is_kept_or_raises(available, train_months, data):
    test = data.draw(st.none() | st.sampled_from(available))
    history = [month for month in available if test is None or month <= test]
    if len(history) >= train_months + 2 or (train_months, len(history)) == (1, 2):
        window = choose_window(available, train_months=train_months, test=test)
        assert len(window.train) == train_months
        assert window.test == (test or available[-1],)
    else:
        with pytest.raises(WindowError, match=r"missing: .* `ml-assets run --first "):
            choose_window(available, train_months=train_months, test=test)


def test_months_are_formatted_as_ranges():
    assert span(months("2023-01")) == "2023-01"
    assert span(months("2022-12", "2023-02", "2023-01", "2023-04")) == "2022-12 to 2023-02, 2023-04"
    assert span(()) == "none"


def _all_between(first: Month, last: Month) -> list[Month]:
    return [first.shift(steps) for steps in range(200) if first.shift(steps) <= last]
