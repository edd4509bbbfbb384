"""Parsing of one request in plain Python: the same values and reasons as the check of a frame."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ml_assets.requests.parse import (
    FieldError,
    InvalidRequest,
    Request,
    columns_of,
    parse_request,
    request_columns,
)
from ml_assets.requests.pickup_time import new_york_time
from ml_assets.requests.validate import (
    RULES,
    check_requests,
    requests_frame,
)
from ml_assets.trips.request_columns import REQUEST_COLUMNS

NOW = datetime(2026, 11, 25, 17, 0, tzinfo=UTC)
GOOD = {"PULocationID": 74, "DOLocationID": 75, "trip_distance": 2.5}


def same_as_the_check(fields, now=NOW):
    """Parse a request and compare the result with the check of a frame."""
    checked = check_requests(requests_frame([fields]), now)
    found = parse_request(fields, now)
    if checked.valid[0]:
        assert isinstance(found, Request), found
        expected = checked.requests.row(0)
        # repr distinguishes -0.0 from 0.0, and 1 from 1.0.
        assert repr(tuple(found)) == repr(expected)
        assert found.pickup_datetime.fold == 0
    else:
        assert isinstance(found, InvalidRequest), found
        assert "; ".join(error.message for error in found.errors) == checked.reasons[0]
        assert all(p.message.startswith(f"{p.field} ") for p in found.errors)
    return found


def text_of(alphabet):
    return st.text(alphabet, max_size=12)


NUMBERS = (
    st.floats()
    | st.integers()
    | st.sampled_from([10**18, 10**18 - 1, -(10**18), 2**53 + 1, 10**400, 1e308, -0.0, 5e-324])
    | st.sampled_from([-1, 0, 1, 9, 10, 264, 265, 266, 0.5, 1000, 1000.0, 1000.0000000000001])
)
WHITE = (
    st.just("")
    | st.text(" \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u2003\u200b\ufeff\x00", max_size=3)
    | st.builds(str.__mul__, st.sampled_from(" \t\x1c\xa00"), st.integers(985, 1015))
)
WRITTEN = (
    NUMBERS.map(str)
    | text_of("0123456789+-.eE")
    | text_of("0123456789_ ٧７.eE⁵")
    | st.sampled_from(["nan", "NaN", "-nan", "+nan", "inf", "-Infinity", "1e400", "1_0", "0x10"])
    | st.sampled_from(["74.0", "1e2", "1E2", "+5", ".5", "5.", "5.e0", "007", "٧٤", "７４", "−5"])
    | st.sampled_from(["", "null", "None", "true", "a list", "9" * 400, "0" * 999 + "12", "1.f"])
)
ODD = (
    st.none()
    | st.booleans()
    | st.text(max_size=50)
    | st.text(st.characters(categories=["Cs", "Nd", "Zs"]), max_size=5)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)


def spaced(texts):
    return st.builds("{}{}{}".format, WHITE, texts, WHITE)


OFFSETS = (
    st.sampled_from(["", "Z", "z", " Z", "  Z", "+00:00", "-00:00", "+0530", "-05", "-04:00"])
    | st.sampled_from(["-05:00", "+14:00", "-12:00", "+23:59", "-23:59", "+24:00", "+05:60"])
    | st.sampled_from(["+05:", "+5", "−05:00", "+05:3٠", "EST", "[America/New_York]"])
)
FRACTIONS = st.sampled_from(["", ".", ".5", ",25", ".123456", ".1234567", ".999999999", ".٣"]) | (
    text_of("0123456789").map(".{}".format)
)
SECONDS = st.sampled_from(["", ":00", ":59", ":60", ":5", "00"])
CLOCKS = st.times().map("{:%H:%M}".format) | st.sampled_from(
    ["00:00", "01:30", "02:30", "23:59", "24:00", "2:30", "0230", "02", "12:60"]
)
DAYS = (
    st.dates().map("{:%Y-%m-%d}".format)
    | st.dates(datetime(2009, 1, 1).date(), datetime(2027, 11, 26).date()).map(str)
    | st.sampled_from(["2026-03-08", "2026-11-01", "2024-02-29", "2023-02-29", "2023-04-31"])
    | st.sampled_from(["1970-01-01", "1999-12-31", "2008-12-31", "2009-01-01", "2100-01-01"])
    | st.sampled_from(["2027-11-25", "2200-01-01", "0000-01-01", "0001-01-01", "9999-12-31"])
    | st.sampled_from(["20240506", "2024-5-6", "2024-W19-1", "2024-127", "٢٠٢٤-05-06"])
)
TIMES = st.builds(
    "{}{}{}{}{}{}".format,
    DAYS, st.sampled_from(["T", "t", " ", "", "  ", "_"]), CLOCKS, SECONDS, FRACTIONS, OFFSETS,
) | DAYS  # fmt: skip
INSTANTS = st.datetimes(
    datetime(2009, 1, 1),
    datetime(2027, 12, 1),
    timezones=st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu"]).map(ZoneInfo),
    allow_imaginary=True,
).map(datetime.isoformat)
ANYTHING = NUMBERS | spaced(WRITTEN) | ODD | spaced(TIMES)
FIELDS = {
    "PULocationID": st.integers(1, 265) | ANYTHING,
    "DOLocationID": st.integers(1, 265).map(str) | ANYTHING,
    "trip_distance": st.floats(0, 1000) | st.floats(0, 1000).map(repr) | ANYTHING,
    "pickup_datetime": INSTANTS | spaced(TIMES) | ANYTHING,
    "passenger_count": st.integers(0, 9) | ANYTHING,
}


@settings(max_examples=600, deadline=None)
@given(st.fixed_dictionaries({}, optional=FIELDS) | ODD)
@example({})
@example(GOOD | {"passenger_count": float("nan"), "pickup_datetime": float("nan")})
@example(GOOD | {"trip_distance": -0.0, "passenger_count": -0.0})
@example(GOOD | {"PULocationID": "\ud800", "pickup_datetime": "\udfff" * 1001})
@example(GOOD | {"PULocationID": np.float64(74)})
@example(GOOD | {"PULocationID": "1_0"})
@example(GOOD | {"PULocationID": "\x1c74"})
@example(GOOD | {"PULocationID": "74\x1f", "trip_distance": "\x852.5"})
@example(GOOD | {"pickup_datetime": " " * 1001 + "1970-01-01"})
@example(GOOD | {"PULocationID": "0" * 1100 + "74"})
@example(GOOD | {"PULocationID": " " * 1100 + "74"})
def test_any_request_is_parsed_like_a_frame(fields):
    same_as_the_check(fields)


@settings(max_examples=600, deadline=None)
@given(spaced(TIMES) | INSTANTS)
@example("2026-03-08T02:30")  # the clocks leave it out
@example("2026-11-01T01:30")  # they repeat it
@example("2026-11-01T01:30-04:00")
@example("2026-11-01T01:30-05:00")
@example("2026-11-01T06:30Z")
@example("2026-03-08T06:59:59.9999999Z")
@example("2026-03-08T07:00Z")
@example("2027-11-25T12:00:00-05:00")
@example("2027-11-25T12:00:00.000001")
@example("9999-12-31T23:59:59-23:59")
@example("0001-01-01T00:00+23:59")
@example("2024-05-06T24:00")
@example("2016-12-31T23:59:60Z")
def test_any_time_is_parsed_like_a_frame(written):
    same_as_the_check(GOOD | {"pickup_datetime": written})


def test_an_hour_of_every_day_is_converted_equally():
    """Polars converts a frame by its own time zone data, Python one request by the system's."""
    hours = [
        datetime(2009, 1, 1, 5) + timedelta(hours=25 * step)
        for step in range((datetime(2027, 11, 25) - datetime(2009, 1, 2)) // timedelta(hours=25))
    ]
    changes = [
        datetime(year, month, day, hour, tzinfo=UTC).replace(tzinfo=None)
        for year in range(2009, 2028)
        for month in (3, 11)
        for day in range(1, 15)
        for hour in (5, 6, 7)
        if datetime(year, month, day) < datetime(2027, 11, 25)
    ]
    requests = [GOOD | {"pickup_datetime": f"{time.isoformat()}Z"} for time in hours + changes]
    checked = check_requests(requests_frame(requests), NOW)
    assert checked.valid.all()
    found = [parse_request(request, NOW).pickup_datetime for request in requests]
    assert found == checked.requests["pickup_datetime"].to_list()
    assert len({hour - time for hour, time in zip(hours + changes, found, strict=True)}) == 2


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 11, 1, 5, 30, tzinfo=UTC),
        datetime(2026, 11, 1, 6, 30, tzinfo=UTC),
        datetime(2026, 3, 8, 7, 0, tzinfo=UTC),
        datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=UTC),
    ],
)
def test_now_and_the_latest_time_are_equal_in_both(now):
    assert same_as_the_check(GOOD, now).pickup_datetime == new_york_time(now)
    last = new_york_time(now) + timedelta(days=365)
    allowed = same_as_the_check(GOOD | {"pickup_datetime": last.isoformat()}, now)
    later = same_as_the_check(
        GOOD | {"pickup_datetime": (last + timedelta(microseconds=1)).isoformat()}, now
    )
    assert allowed.pickup_datetime == last
    assert [error.field for error in later.errors] == ["pickup_datetime"]


def test_a_missing_pickup_time_is_now():
    before = new_york_time()
    assert before <= parse_request(GOOD).pickup_datetime <= new_york_time()


@pytest.mark.parametrize("absent", [None, "", " ", "NaN", float("nan")])
def test_a_distance_may_be_left_out(absent):
    zones = {name: GOOD[name] for name in ("PULocationID", "DOLocationID")}
    assert same_as_the_check(zones).trip_distance is None
    assert same_as_the_check(GOOD | {"trip_distance": absent}).trip_distance is None
    assert same_as_the_check(GOOD | {"trip_distance": 0}).trip_distance == 0


def test_each_invalid_field_is_a_problem():
    found = parse_request({"PULocationID": 0, "trip_distance": "far", "passenger_count": [1]}, NOW)
    assert found == InvalidRequest(
        (
            FieldError("PULocationID", f"PULocationID must be {RULES['PULocationID']}, not 0"),
            FieldError(
                "DOLocationID", f"DOLocationID is missing: it must be {RULES['DOLocationID']}"
            ),
            FieldError("trip_distance", f"trip_distance must be {RULES['trip_distance']}, not far"),
            FieldError(
                "passenger_count", f"passenger_count must be {RULES['passenger_count']}, not a list"
            ),
        )
    )


def test_request_columns_equal_those_of_a_checked_frame():
    rows = [
        GOOD | {"pickup_datetime": "2024-05-06T17:30:15.25"},
        GOOD | {"passenger_count": 3, "PULocationID": "265", "trip_distance": -0.0},
        GOOD | {"pickup_datetime": "2024-11-03T01:30", "passenger_count": None},
        {"PULocationID": 74, "DOLocationID": 75},
    ]
    columns = request_columns([cast("Request", parse_request(row, NOW)) for row in rows])
    expected = columns_of(check_requests(requests_frame(rows), NOW).requests)
    for found in (columns, expected):
        assert list(found) == list(REQUEST_COLUMNS)
    for name in REQUEST_COLUMNS:
        assert columns[name].dtype == expected[name].dtype
        assert columns[name].tobytes() == expected[name].tobytes()
    assert np.isnan(columns["passenger_count"]).tolist() == [True, False, True, True]
    assert np.isnan(columns["trip_distance"]).tolist() == [False, False, False, True]


def test_no_requests_give_empty_columns():
    columns = request_columns([])
    assert [len(column) for column in columns.values()] == [0] * len(REQUEST_COLUMNS)
    assert columns["pickup_datetime"].dtype == "datetime64[us]"


def test_parsing_a_request_imports_polars_and_numpy_at_most():
    code = (
        "import sys; from ml_assets.requests.parse import parse_request; "
        "parse_request({'PULocationID': '1', 'pickup_datetime': '2024-05-06T17:30Z'}); "
        "print({'pandas', 'pyarrow', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_white_space_is_stripped_and_long_digits_are_invalid():
    padded = same_as_the_check(GOOD | {"PULocationID": " \t\n" * 1000 + "74"})
    assert padded.PULocationID == 74
    long = same_as_the_check(GOOD | {"PULocationID": "0" * 1100 + "74"})
    assert long.errors[0].message.endswith("not text over 1000 characters")
    separated = same_as_the_check(GOOD | {"PULocationID": "\x1c74"})
    assert [error.field for error in separated.errors] == ["PULocationID"]
    old = same_as_the_check(GOOD | {"pickup_datetime": " " * 1001 + "1970-01-01"})
    assert [error.field for error in old.errors] == ["pickup_datetime"]


TEXTS = {name: (values.map(str) | spaced(WRITTEN)) for name, values in FIELDS.items()}


@settings(max_examples=600, deadline=None)
@given(st.fixed_dictionaries(TEXTS))
@example(GOOD | {"PULocationID": "\x1c74"})
@example(GOOD | {"PULocationID": "74\x1f", "trip_distance": "\x852.5"})
@example(GOOD | {"pickup_datetime": " " * 1001 + "1970-01-01"})
@example(GOOD | {"PULocationID": "0" * 1100 + "74"})
@example(GOOD | {"PULocationID": " " * 1100 + "74"})
def test_texts_of_a_file_are_parsed_like_texts_in_json(fields):
    """A file's column is not parsed as JSON."""
    texts = {name: str(value) for name, value in fields.items()}
    texts = {name: text.encode("utf-8", "replace").decode() for name, text in texts.items()}
    checked = check_requests(pl.DataFrame({name: [text] for name, text in texts.items()}), NOW)
    found = parse_request(texts, NOW)
    if checked.valid[0]:
        assert isinstance(found, Request), found
        assert repr(tuple(found)) == repr(checked.requests.row(0))
    else:
        assert "; ".join(error.message for error in found.errors) == checked.reasons[0]
