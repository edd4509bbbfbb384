"""The course's rule, and the reason for every rejected trip."""

import math
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.trips.cleaning import REASONS, kept_trips, normalise, read_published, rejected_trips
from ml_assets.trips.month import Month
from ml_assets.trips.schema import enforce
from ml_assets.trips.target import FEATURE_COLUMNS
from ml_assets_tests.published_months import published_month

JANUARY = Month(2023, 1)
NOON = datetime(2023, 1, 15, 12)

# Published, kept by the course's rule and the month's, kept by the course's rule alone: counted
# with the course's own pandas expression on the TLC's files.
GOLDEN = {
    "2023-01": (68211, 65943, 65946),
    "2023-02": (64809, 62551, 62574),
    "2023-03": (72044, 69384, 69392),
    "2023-04": (65392, 62976, 62979),
    "2023-05": (69174, 66309, 66313),
    "2023-06": (65550, 62774, 62784),
    "2023-07": (61343, 58715, 58722),
    "2023-08": (60649, 57757, 57767),
    "2023-09": (65471, 62008, 62040),
}


def one(**fields):
    """One trip of five minutes at noon, with some of its published fields replaced."""
    trip = {
        "lpep_pickup_datetime": NOON,
        "lpep_dropoff_datetime": NOON + timedelta(minutes=5),
        "PULocationID": 74,
        "DOLocationID": 75,
        "trip_distance": 1.5,
        "passenger_count": 1.0,
    } | fields
    types: dict[str, Any] = {name: pl.Datetime("us") for name in trip if name.endswith("datetime")}
    types |= {
        name: pl.Float64 for name, value in trip.items() if value is None and name not in types
    }
    return normalise(pl.DataFrame([trip], schema_overrides=types), "green")


def outcome(**fields):
    """``kept``, or why the trip was rejected."""
    published = one(**fields)
    kept, rejected = kept_trips(published, JANUARY), rejected_trips(published, JANUARY)
    assert kept.height + rejected.height == 1
    return "kept" if kept.height else rejected["reason"].item()


def after(**duration):
    return {"lpep_dropoff_datetime": NOON + timedelta(**duration)}


def picked_up(at):
    return {"lpep_pickup_datetime": at, "lpep_dropoff_datetime": at + timedelta(minutes=5)}


@pytest.mark.parametrize("month", GOLDEN)
def test_real_months_keep_exactly_what_they_kept_before(real_trips, month):
    path = real_trips / f"green_tripdata_{month}.parquet"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    published = read_published(path, "green", Month.parse(month), path.name)
    kept = kept_trips(published, Month.parse(month))
    rejected = rejected_trips(published, Month.parse(month))
    by_the_month_alone = (rejected["reason"] == "pickup_outside_month").sum()
    rows, kept_rows, course = GOLDEN[month]
    assert (published.height, kept.height, rejected.height) == (rows, kept_rows, rows - kept_rows)
    duration = (pl.col("dropoff_datetime") - pl.col("pickup_datetime")).dt.total_microseconds()
    assert published.filter(duration.is_between(60e6, 3600e6)).height == course
    assert course - kept_rows <= by_the_month_alone


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (after(minutes=1), "kept"),
        (after(minutes=60), "kept"),
        (after(microseconds=59_999_999), "under_one_minute"),
        (after(minutes=60, microseconds=1), "over_one_hour"),
        (after(), "under_one_minute"),
        (after(microseconds=-1), "dropoff_before_pickup"),
        (after(days=-4000), "dropoff_before_pickup"),
        (after(days=4000), "over_one_hour"),
        (picked_up(JANUARY.start), "kept"),
        (picked_up(JANUARY.end - timedelta(microseconds=1)), "kept"),
        (picked_up(JANUARY.end), "pickup_outside_month"),
        (picked_up(JANUARY.start - timedelta(microseconds=1)), "pickup_outside_month"),
        (picked_up(datetime(2008, 12, 31, 23)), "pickup_outside_month"),
        (picked_up(datetime(2098, 1, 15, 12)), "pickup_outside_month"),
        ({"PULocationID": 1}, "kept"),
        ({"DOLocationID": 264}, "kept"),
        ({"PULocationID": 265}, "kept"),
        ({"PULocationID": 0}, "zone_outside_map"),
        ({"DOLocationID": 266}, "zone_outside_map"),
        ({"DOLocationID": 999}, "zone_outside_map"),
        ({"PULocationID": -74}, "zone_outside_map"),
        ({"PULocationID": 2**40}, "zone_outside_map"),
        ({"PULocationID": 74.0}, "kept"),
        ({"PULocationID": 74.5}, "zone_outside_map"),
        ({"PULocationID": math.nan}, "zone_outside_map"),
        ({"DOLocationID": math.inf}, "zone_outside_map"),
        ({"trip_distance": 0.0}, "kept"),
        ({"trip_distance": 201_421.0}, "kept"),
        ({"trip_distance": 1_000_000.0}, "kept"),
        ({"trip_distance": 1_000_000.01}, "impossible_distance"),
        ({"trip_distance": 1e300}, "impossible_distance"),
        ({"trip_distance": -0.01}, "impossible_distance"),
        ({"trip_distance": math.nan}, "impossible_distance"),
        ({"trip_distance": math.inf}, "impossible_distance"),
        ({"trip_distance": -math.inf}, "impossible_distance"),
        ({"lpep_pickup_datetime": None}, "missing_value"),
        ({"lpep_dropoff_datetime": None}, "missing_value"),
        ({"PULocationID": None}, "missing_value"),
        ({"DOLocationID": None}, "missing_value"),
        ({"trip_distance": None}, "missing_value"),
        ({"passenger_count": None}, "kept"),
    ],
    ids=str,
)
def test_each_trip_is_kept_or_rejected_for_one_reason(fields, expected):
    assert outcome(**fields) == expected


def test_the_first_reason_that_applies_is_given():
    assert (
        outcome(PULocationID=0, trip_distance=-1.0, **after(minutes=-3)) == "dropoff_before_pickup"
    )


@pytest.mark.parametrize("passengers", [math.inf, -math.inf, math.nan, 1e300])
def test_a_passenger_count_that_is_not_finite_counts_as_missing(passengers):
    kept = kept_trips(one(passenger_count=passengers), JANUARY)
    assert kept["passenger_count"].to_list() == [None]


@pytest.mark.parametrize("dropoff", [2**63 - 1, -(2**63) + 1, 2**62, -(2**62)])
@pytest.mark.parametrize("unit", ["us", "ms"])
def test_times_at_the_limits_of_the_type_are_rejected_for_the_right_reason(dropoff, unit):
    times = pl.Series("lpep_dropoff_datetime", [dropoff]).cast(pl.Datetime(unit))
    trip = {"PULocationID": [74], "DOLocationID": [75], "trip_distance": [1.5]}
    frame = pl.DataFrame(
        {**trip, "passenger_count": [1], "lpep_pickup_datetime": [NOON], times.name: times}
    )
    reason = rejected_trips(normalise(frame, "green"), JANUARY)["reason"].item()
    fitting = "over_one_hour" if dropoff > 0 else "dropoff_before_pickup"
    assert reason == (fitting if unit == "us" else "missing_value")


def test_duplicate_rows_are_all_kept_with_different_ids():
    published = normalise(
        pl.DataFrame(pa.concat_tables([published_month(JANUARY, 20)] * 2)), "green"
    )
    kept = kept_trips(published, JANUARY)
    assert kept["trip_id"].to_list() == list(range(40))


def test_the_features_hold_only_what_is_known_at_the_request():
    assert FEATURE_COLUMNS == (
        "trip_id",
        "PULocationID",
        "DOLocationID",
        "trip_distance",
        "pickup_datetime",
        "passenger_count",
        "duration_minutes",
    )
    known_later = ("fare", "tip", "tolls", "total", "amount", "dropoff", "payment", "fee", "tax")
    assert not [name for name in FEATURE_COLUMNS if any(word in name for word in known_later)]
    assert kept_trips(one(), JANUARY).columns == list(FEATURE_COLUMNS)


moments = st.one_of(
    st.none(),
    st.datetimes(datetime(2022, 12, 31), datetime(2023, 2, 2)),
    st.datetimes(datetime(1700, 1, 1), datetime(2262, 1, 1)),
    st.sampled_from([JANUARY.start, JANUARY.end, datetime(2008, 12, 31), datetime(2098, 1, 1)]),
)
lengths = st.one_of(
    st.none(),
    st.sampled_from([0, 59_999_999, 60_000_000, 3_600_000_000, 3_600_000_001, -1]),
    st.integers(-(10**13), 10**13),
)
zones = st.one_of(
    st.none(), st.integers(-5, 270).map(float), st.sampled_from([999.0, math.nan, math.inf, 74.5])
)
distances = st.one_of(st.none(), st.floats(), st.floats(0, 30))
wild_trips = st.lists(
    st.tuples(moments, lengths, zones, zones, distances, st.floats()), max_size=30
)


def wild_frame(rows):
    pickups = [row[0] for row in rows]
    dropoffs = [
        None if length is None else (at or NOON) + timedelta(microseconds=length)
        for at, length, *_ in rows
    ]
    columns = {
        "lpep_pickup_datetime": pl.Series(pickups, dtype=pl.Datetime("us")),
        "lpep_dropoff_datetime": pl.Series(dropoffs, dtype=pl.Datetime("us")),
        "PULocationID": pl.Series([row[2] for row in rows], dtype=pl.Float64),
        "DOLocationID": pl.Series([row[3] for row in rows], dtype=pl.Float64),
        "trip_distance": pl.Series([row[4] for row in rows], dtype=pl.Float64),
        "passenger_count": pl.Series([row[5] for row in rows], dtype=pl.Float64),
    }
    return normalise(pl.DataFrame(columns), "green")


@settings(max_examples=100, deadline=None)
@given(wild_trips)
def test_kept_and_rejected_are_all_published_trips_for_any_values(rows):
    published = wild_frame(rows)
    kept = enforce("trip_features", kept_trips(published, JANUARY), "kept")
    rejected = enforce("rejected_trips", rejected_trips(published, JANUARY), "rejected")
    ids = sorted(kept["trip_id"].to_list() + rejected["trip_id"].to_list())
    assert ids == list(range(len(rows)))
    assert set(rejected["reason"]) <= set(REASONS)
    assert kept["duration_minutes"].is_between(1, 60).all()
    assert kept["trip_distance"].is_finite().all()


@settings(max_examples=30, deadline=None)
@given(wild_trips)
def test_the_same_trips_give_the_same_tables(rows):
    first, second = wild_frame(rows), wild_frame(rows)
    assert kept_trips(first, JANUARY).equals(kept_trips(second, JANUARY))
    assert rejected_trips(first, JANUARY).equals(rejected_trips(second, JANUARY))
