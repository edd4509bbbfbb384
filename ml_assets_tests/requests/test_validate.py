"""Validation of requests in any form: a reason for every invalid one, and never an error."""

import json
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ml_assets.requests.validate import (
    RULES,
    as_text,
    check_requests,
    requests_frame,
)
from ml_assets.trips.request_columns import REQUEST_COLUMNS

NOW = datetime(2026, 11, 25, 17, 0, tzinfo=UTC)
HERE = datetime(2026, 11, 25, 12, 0)
GOOD = {"PULocationID": 74, "DOLocationID": 75, "trip_distance": 2.5}


def check(*requests):
    return check_requests(requests_frame(requests), NOW)


def read(**fields):
    """Return the values of one valid request."""
    checked = check(GOOD | fields)
    assert checked.reasons.to_list() == [None]
    return checked.requests.row(0, named=True)


def refused(**fields):
    checked = check(GOOD | fields)
    assert checked.requests.height == 0
    return checked.reasons[0]


def test_a_request_has_the_types_of_the_training_data():
    checked = check(GOOD | {"pickup_datetime": "2024-05-06T17:30:00", "passenger_count": 1})
    assert checked.requests.schema == {
        "PULocationID": pl.Int16,
        "DOLocationID": pl.Int16,
        "trip_distance": pl.Float64,
        "pickup_datetime": pl.Datetime("us"),
        "passenger_count": pl.Float32,
    }
    assert checked.requests.row(0) == (74, 75, 2.5, datetime(2024, 5, 6, 17, 30), 1.0)


@pytest.mark.parametrize("zone", ["75", 75, 75.0, "75.0", " 75 ", np.float64(75)])
def test_a_zone_may_be_text_or_a_whole_float(zone):
    assert read(DOLocationID=zone)["DOLocationID"] == 75


def test_a_missing_time_is_now_and_missing_passengers_are_unknown():
    row = read()
    assert (row["pickup_datetime"], row["passenger_count"]) == (HERE, None)
    row = read(pickup_datetime="", passenger_count=float("nan"))
    assert (row["pickup_datetime"], row["passenger_count"]) == (HERE, None)


@pytest.mark.parametrize("zone", [1, 264, 265])
def test_the_first_and_last_zones_are_valid(zone):
    assert read(PULocationID=zone)["PULocationID"] == zone


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("2024-05-06", datetime(2024, 5, 6)),
        ("2024-05-06 17:30", datetime(2024, 5, 6, 17, 30)),
        ("2024-05-06T17:30:15.25", datetime(2024, 5, 6, 17, 30, 15, 250000)),
        ("2024-05-06T17:30:00Z", datetime(2024, 5, 6, 13, 30)),
        ("2024-01-06T17:30:00Z", datetime(2024, 1, 6, 12, 30)),
        ("2024-05-06T17:30+05:30", datetime(2024, 5, 6, 8, 0)),
        ("2024-05-06T17:30-0400", datetime(2024, 5, 6, 17, 30)),
        # The hour that the clocks leave out is taken as written; so is the one they repeat.
        ("2024-03-10T02:30", datetime(2024, 3, 10, 2, 30)),
        ("2024-11-03T01:30", datetime(2024, 11, 3, 1, 30)),
        ("2024-03-10T07:30Z", datetime(2024, 3, 10, 3, 30)),
    ],
)
def test_a_time_is_new_yorks_unless_it_has_an_offset(written, read_as):
    assert read(pickup_datetime=written)["pickup_datetime"] == read_as


def test_instants_are_converted_and_wall_times_are_not():
    wall = datetime(2024, 5, 6, 17, 30)
    there = timezone(timedelta(hours=9))
    for column, expected in (
        (pl.Series([wall]), wall),
        (pl.Series([wall], dtype=pl.Datetime("ns")), wall),
        (pl.Series([wall.replace(tzinfo=UTC)]), datetime(2024, 5, 6, 13, 30)),
        (pl.Series([wall.replace(tzinfo=there)]), datetime(2024, 5, 6, 4, 30)),
        (pl.Series([date(2024, 5, 6)]), datetime(2024, 5, 6)),
    ):
        frame = pl.DataFrame({name: [value] for name, value in GOOD.items()})
        found = check_requests(frame.with_columns(pickup_datetime=column), NOW)
        assert found.requests["pickup_datetime"].to_list() == [expected]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("PULocationID", 0),
        ("PULocationID", 266),
        ("PULocationID", 74.5),
        ("DOLocationID", "Harlem"),
        ("DOLocationID", "1_0"),
        ("DOLocationID", True),
        ("DOLocationID", [75]),
        ("trip_distance", -0.1),
        ("trip_distance", 1000.1),
        ("trip_distance", 1e308),
        ("trip_distance", float("inf")),
        ("trip_distance", "-inf"),
        ("trip_distance", {"miles": 2}),
        ("pickup_datetime", "1970-01-01T00:00:00Z"),
        ("pickup_datetime", "2008-12-31T23:59:59"),
        ("pickup_datetime", "2100-01-01"),
        ("pickup_datetime", "9999-12-31T23:59:59-23:59"),
        ("pickup_datetime", "2027-11-25T12:01"),
        ("pickup_datetime", "2023-02-29"),
        ("pickup_datetime", "2024-05-06T24:00"),
        # The minutes of an offset in another script's digits, and a part of no second.
        ("pickup_datetime", "2024-05-06T17:30+05:3٠"),
        ("pickup_datetime", "2024-05-06T17:30.5"),
        ("pickup_datetime", "2024-05-06T17:30+05:"),
        ("pickup_datetime", "yesterday"),
        ("pickup_datetime", 1714980000),
        ("passenger_count", 10),
        ("passenger_count", -1),
        ("passenger_count", 1.5),
    ],
)
def test_a_reason_names_field_rule_and_value(field, value):
    reason = refused(**{field: value})
    assert reason.startswith(f"{field} must be {RULES[field]}, not ")
    if not isinstance(value, bool | list | dict):
        shown = reason.removeprefix(f"{field} must be {RULES[field]}, not ")
        assert shown == str(value)


ABSENT = [None, "", " ", float("nan")]


@pytest.mark.parametrize("absent", ABSENT)
@pytest.mark.parametrize("field", ["PULocationID", "DOLocationID"])
def test_the_zones_are_required(field, absent):
    assert refused(**{field: absent}) == f"{field} is missing: it must be {RULES[field]}"


@pytest.mark.parametrize("absent", ABSENT)
def test_a_distance_may_be_left_out(absent):
    assert read(trip_distance=absent)["trip_distance"] is None
    only_zones = {name: GOOD[name] for name in ("PULocationID", "DOLocationID")}
    assert check(only_zones, GOOD).requests["trip_distance"].to_list() == [None, 2.5]
    assert "left out" in RULES["trip_distance"]


def test_every_invalid_field_is_named_and_valid_rows_keep_their_order():
    bad = {"PULocationID": 0, "DOLocationID": None, "trip_distance": 1e9}
    checked = check(GOOD, bad, GOOD | {"PULocationID": 1}, "no object", None)
    assert checked.valid.to_list() == [True, False, True, False, False]
    assert checked.requests["PULocationID"].to_list() == [74, 1]
    assert [part.split()[0] for part in checked.reasons[1].split("; ")] == list(GOOD)
    assert checked.reasons.is_null().to_list() == checked.valid.to_list()


def test_the_latest_pickup_is_a_year_from_now():
    latest = HERE + timedelta(days=365)
    assert read(pickup_datetime=latest.isoformat())
    assert refused(pickup_datetime=(latest + timedelta(seconds=1)).isoformat())


def test_a_frame_may_have_no_rows_or_columns():
    assert check_requests(pl.DataFrame(), NOW).requests.columns == list(REQUEST_COLUMNS)
    lacking = check_requests(pl.DataFrame({"other": [1]}), NOW)
    assert "DOLocationID is missing" in lacking.reasons[0]
    assert "trip_distance" not in lacking.reasons[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
MAYBE_GOOD = {
    "PULocationID": st.integers(0, 266) | JSON,
    "DOLocationID": st.integers(1, 265).map(str) | JSON,
    "trip_distance": st.floats(0, 1000) | JSON,
    "pickup_datetime": st.datetimes(datetime(2009, 1, 1), HERE).map(datetime.isoformat) | JSON,
    "passenger_count": st.integers(0, 9) | JSON,
}


@given(st.lists(st.fixed_dictionaries({}, optional=MAYBE_GOOD) | JSON, max_size=8))
@example([GOOD | {"PULocationID": 10**400}])
@example([GOOD | {"pickup_datetime": "\ud800"}])
def test_any_request_is_in_range_or_has_a_reason(requests):
    checked = check_requests(requests_frame(requests), NOW)
    assert len(checked.valid) == len(checked.reasons) == len(requests)
    assert checked.requests.height == checked.valid.sum()
    assert checked.reasons.is_null().to_list() == checked.valid.to_list()
    for row in checked.requests.iter_rows(named=True):
        assert 1 <= row["PULocationID"] <= 265
        assert 1 <= row["DOLocationID"] <= 265
        assert row["trip_distance"] is None or 0 <= row["trip_distance"] <= 1000
        assert datetime(2009, 1, 1) <= row["pickup_datetime"] <= HERE + timedelta(days=365)
        assert row["passenger_count"] in (None, *range(10))
    json.dumps(checked.reasons.to_list(), ensure_ascii=False).encode()


def as_texts(requests):
    """Return every value as text, the reference for columns of other types."""
    rows = [row if isinstance(row, dict) else {} for row in requests]
    columns = {name: [as_text(row.get(name)) for row in rows] for name in REQUEST_COLUMNS}
    return pl.DataFrame(columns, schema=dict.fromkeys(REQUEST_COLUMNS, pl.String))


PLAIN = st.sampled_from(
    [
        st.none() | st.integers(-1, 267),
        st.integers() | st.integers(-(2**63) - 2, 2**63 + 2),
        st.none() | st.floats(),
        st.floats(-1, 1001) | st.integers(-1, 1001),
        st.none() | st.text(max_size=5) | st.sampled_from(["2024-05-06T17:30Z", "7", "\ud800"]),
        st.booleans(),
    ]
)


@given(st.data())
def test_a_column_of_plain_values_is_parsed_like_its_texts(data):
    rows = data.draw(st.integers(1, 5))
    columns = {
        name: data.draw(st.lists(data.draw(PLAIN), min_size=rows, max_size=rows))
        for name in REQUEST_COLUMNS
    }
    requests = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    found = check_requests(requests_frame(requests), NOW)
    expected = check_requests(as_texts(requests), NOW)
    assert found.reasons.to_list() == expected.reasons.to_list()
    assert found.requests.schema == expected.requests.schema
    assert repr(found.requests.rows()) == repr(expected.requests.rows())


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kathmandu"])
def test_extreme_times_are_invalid_without_an_error(unit, zone):
    ends = pl.Series([-(2**63) + 1, 2**63 - 1, 0]).cast(pl.Datetime(unit, zone))
    frame = pl.DataFrame({name: [value] * 3 for name, value in GOOD.items()})
    checked = check_requests(frame.with_columns(pickup_datetime=ends), NOW)
    assert not checked.valid.any()
    assert all("pickup_datetime must be" in reason for reason in checked.reasons)


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([74], dtype=pl.UInt64),
        pl.Series([74], dtype=pl.Decimal(10, 2)),
        pl.Series(["74"], dtype=pl.Categorical),
        pl.Series(np.array([74], dtype=np.float32)),
    ],
)
def test_a_number_may_have_any_column_type(column):
    frame = pl.DataFrame({name: [value] for name, value in GOOD.items()})
    checked = check_requests(frame.with_columns(PULocationID=column), NOW)
    assert checked.requests["PULocationID"].to_list() == [74]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([b"74"]),
        pl.Series([[74]]),
        pl.Series([{"zone": 74}]),
        pl.Series([True]),
        pl.Series([timedelta(hours=74)]),
        pl.Series([datetime(2024, 5, 6)]),
        pl.Series([object()], dtype=pl.Object),
    ],
)
def test_a_column_of_another_type_is_invalid(column):
    frame = pl.DataFrame({name: [value] for name, value in GOOD.items()})
    checked = check_requests(frame.with_columns(PULocationID=column), NOW)
    assert checked.reasons[0].startswith("PULocationID must be a zone number")
