"""Profiles of single columns: every type, nothing, one value, and hostile values."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.monitoring.data_profile.columns import FREQUENT, UnknownType, profile_column
from ml_assets.monitoring.data_profile.records import ColumnProfile


def profile(values, kind=None, name="fee") -> ColumnProfile:
    array = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(values, kind)])  # fmt: skip
    made = profile_column(name, str(array.type), array)
    assert ColumnProfile.model_validate_json(made.model_dump_json()) == made
    return made


def frequent(made: ColumnProfile) -> list[tuple[object, int]]:
    return [(each.value, each.count) for each in made.frequent]


def test_the_figures_of_numbers_leave_missing_values_out():
    made = profile([3, 1, None, 1, 10, None])
    assert (made.rows, made.missing, made.unique, made.kind) == (6, 2, 3, "number")
    assert frequent(made) == [(1, 2), (3, 1), (10, 1)]
    assert [each.share for each in made.frequent] == [2 / 6, 1 / 6, 1 / 6]
    assert made.missing_share == 2 / 6
    assert made.numbers is not None
    numbers = made.numbers
    assert (numbers.minimum, numbers.maximum, numbers.mean, numbers.median) == (1, 10, 3.75, 2)
    values = np.array([3, 1, 1, 10])
    for probability, value in numbers.quantiles.items():
        assert value == pytest.approx(np.quantile(values, float(probability)))


def test_an_integer_column_that_became_float_has_the_same_profile():
    values = [1, 2, 2, 5, None]
    before, after = profile(values, pa.int64()), profile(values, pa.float64())
    assert (before.published_type, after.published_type) == ("int64", "double")
    assert [type(each.value) for each in after.frequent] == [int] * 3
    assert before.model_copy(update={"published_type": "double"}) == after
    for kind in (pa.int8(), pa.uint64(), pa.float32(), pa.float16()):
        same = profile(values, kind).model_copy(update={"published_type": "double"})
        assert same == after, kind


@pytest.mark.parametrize("kind", [pa.null(), pa.float64(), pa.int32(), pa.string(),
                                  pa.timestamp("us"), pa.bool_()])  # fmt: skip
def test_a_column_without_any_value_has_no_figures_and_says_so(kind):
    made = profile([None] * 4, kind)
    assert made.all_missing and made.missing == made.rows == 4
    assert (made.unique, made.frequent, made.other) == (0, [], 0)
    assert [made.numbers, made.times, made.lengths] == [None] * 3
    assert not made.constant


@pytest.mark.parametrize("kind", [pa.null(), pa.float64(), pa.string(), pa.timestamp("us")])
def test_a_column_without_rows_is_not_one_without_values(kind):
    made = profile([], kind)
    assert not made.all_missing and not made.constant
    assert (made.rows, made.missing_share, made.frequent) == (0, 0.0, [])


def test_a_constant_column_is_one_value_with_the_whole_share():
    made = profile([2.5] * 7)
    assert made.constant
    assert [(each.value, each.share) for each in made.frequent] == [(2.5, 1.0)]
    assert made.numbers is not None
    assert {made.numbers.minimum, made.numbers.mean, *made.numbers.quantiles.values()} == {2.5}


def test_infinity_and_no_number_are_counted_apart():
    made = profile([1.0, float("nan"), float("inf"), float("-inf"), None, 3.0])
    assert (made.missing, made.not_finite, made.unique) == (1, 3, 2)
    assert made.numbers is not None and made.numbers.mean == 2
    assert profile([float("nan")] * 3).numbers is None


def test_numbers_at_the_limits_of_floats_have_finite_figures():
    largest = 1.7e308
    made = profile([largest, largest, -largest, largest])
    assert made.numbers is not None
    assert made.numbers.mean == pytest.approx(largest / 2)
    assert made.numbers.median == pytest.approx(largest)


def test_integers_beyond_the_precision_of_floats_keep_their_digits():
    assert frequent(profile([2**62 + 1, 2**62 + 1, -(2**63)])) == [(2**62 + 1, 2), (-(2**63), 1)]


def test_decimals_are_numbers():
    made = profile([Decimal("1.50"), Decimal("1.50"), Decimal("2.00")])
    assert frequent(made) == [(1.5, 2), (2, 1)]


def test_times_have_the_earliest_and_latest_and_quantiles_that_occur():
    times = [datetime(2023, 1, 1, hour) for hour in range(24)]
    made = profile([*times, times[5], None], pa.timestamp("us"))
    assert made.kind == "time" and made.numbers is None
    assert frequent(made)[0] == ("2023-01-01 05:00:00", 2)
    assert made.times is not None
    assert (made.times.earliest, made.times.latest) == ("2023-01-01 00:00:00", "2023-01-01 23:00:00")  # fmt: skip
    shown = {str(time) for time in times}
    assert {made.times.median, *made.times.quantiles.values()} <= shown


def test_times_outside_of_python_s_calendar_and_dates_are_shown():
    made = profile([2**63 - 1, 0], pa.timestamp("us"))
    assert made.times is not None and made.times.latest == f"{2**63 - 1:,} us since 1970"
    assert frequent(profile([date(2023, 1, 2)] * 2)) == [("2023-01-02 00:00:00", 2)]
    zoned = profile([0, 0], pa.timestamp("ms", tz="America/New_York"))
    assert frequent(zoned) == [("1970-01-01 00:00:00+00:00", 2)]


def test_texts_have_lengths_and_are_safe_to_show():
    hostile = ["<script>alert(1)</script>", "a|b\n\x1b[31m\u202e", "x" * 1_000_000, "", None]
    made = profile([*hostile, ""])
    assert (made.kind, made.missing, made.unique) == ("text", 1, 4)
    assert made.lengths is not None
    assert (made.lengths.shortest, made.lengths.longest) == (0, 1_000_000)
    shown = [str(each.value) for each in made.frequent]
    assert shown[0] == "" and all(value.isprintable() and len(value) < 200 for value in shown)
    assert "<script>alert(1)</script>" in shown, "as it is: whoever draws it escapes it"


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_texts_are_the_same_whether_stored_as_a_dictionary_or_not(kind):
    values = [["N", "Y", None, "N"], ["Y", "Y", "Z"]]
    plain = pa.chunked_array([pa.array(part, kind) for part in values])
    # Each row group has a dictionary of its own.
    coded = pa.chunked_array([pa.array(part, kind).dictionary_encode() for part in values])
    first = profile_column("flag", "string", plain)
    assert profile_column("flag", "string", coded) == first
    assert frequent(first) == [("Y", 3), ("N", 2), ("Z", 1)]


def test_a_million_rows_with_one_long_text_take_little_memory():
    codes = pa.array(np.zeros(1_000_000, np.int32))
    text = pa.chunked_array([pa.DictionaryArray.from_arrays(codes, pa.array(["y" * 100_000]))])
    made = profile_column("flag", "string", text)  # as texts these are 100 GB
    assert made.lengths is not None and made.lengths.longest == 100_000


def test_invalid_texts_are_refused():
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32).tobytes()),
                         pa.py_buffer(b"\xff\xfe")]
    )  # fmt: skip
    with pytest.raises(pa.ArrowInvalid, match="UTF8"):
        profile_column("flag", "string", pa.chunked_array([broken]))


def test_truth_values_are_counted():
    made = profile([True, False, True, None])
    assert made.kind == "boolean" and frequent(made) == [(True, 2), (False, 1)]


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.binary(), pa.struct([("a", pa.int8())])])
def test_a_type_without_profile_is_named(kind):
    with pytest.raises(UnknownType, match="have no profile"):
        profile([None], kind)


def test_a_hostile_name_is_shortened():
    made = profile([1], name="fee\n" + "x" * 1_000_000)
    assert made.name.isprintable() and len(made.name) < 200


ELEMENTS: list[st.SearchStrategy[Any]] = [
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=8),
    st.booleans(),
    st.sampled_from("NYZ"),
    st.integers(0, 20),
]


@given(st.one_of(*(st.lists(st.none() | element, max_size=40) for element in ELEMENTS)))
def test_shares_add_up_to_the_whole(values):
    made = profile(values)
    assert made.rows == len(values) and made.missing == sum(value is None for value in values)
    assert len(made.frequent) == min(FREQUENT, made.unique)
    assert made.other >= 0 and (made.other == 0) == (made.unique <= FREQUENT)
    counts = [each.count for each in made.frequent]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) + made.other + made.missing + made.not_finite == made.rows
    if made.rows:
        rest = (made.other + made.missing + made.not_finite) / made.rows
        assert sum(each.share for each in made.frequent) + rest == pytest.approx(1)
