"""Features of request fields: parsing, rejected input, extreme values."""

from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.pipeline import features
from ml_assets.pipeline.features import FEATURES, RequestFeatures, is_day_off
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.school_days import is_school_day
from ml_assets_tests.training.sample_trips import odd_requests, trips_of


def features_of(**fields: object) -> dict[str, float]:
    """Return the features of an ordinary request with some fields changed."""
    request = {
        "PULocationID": 74,
        "DOLocationID": 75,
        "trip_distance": 1.5,
        "pickup_datetime": datetime(2023, 5, 2, 8, 31, 59),
        "passenger_count": 1.0,
        **fields,
    }
    matrix = RequestFeatures().fit_transform(pd.DataFrame([request]))
    return dict(zip(FEATURES.current, matrix[0], strict=True))


def test_an_ordinary_request() -> None:
    assert features_of() == {
        "pickup_zone": 74,
        "dropoff_zone": 75,
        "hour": 8,
        "weekday": 1,
        "minute_of_day": 511,
        "minute_of_week": 1440 + 511,
        "day_off": 0,
        "school_break": 0,
        "log_miles": np.log(1.5),
        "passenger_count": 1,
        "airport_trip": 0,
    }


@pytest.mark.parametrize(
    "absent", ["PULocationID", "DOLocationID", "trip_distance", "pickup_datetime"]
)
def test_a_missing_column_is_named(absent: str) -> None:
    requests = trips_of(1).drop(columns=absent)
    with pytest.raises(ValueError, match=f"lack {absent}"):
        RequestFeatures().fit(requests)
    if absent in ("trip_distance", "pickup_datetime"):
        return  # optional in a request: see below
    with pytest.raises(ValueError, match=f"lack {absent}"):
        RequestFeatures().transform(requests)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("trip_distance", "Trip_Distance"),
        ("trip_distance", "miles"),
        ("trip_distance", "distance"),
        ("pickup_datetime", "lpep_pickup_datetime"),
        ("pickup_datetime", "pickup_time"),
        ("passenger_count", "Passenger_Count"),
        ("passenger_count", "passengers"),
    ],
)
def test_an_optional_field_under_another_name_is_not_replaced_by_a_default(
    field: str, name: str
) -> None:
    requests = trips_of(1).head(3)
    features = RequestFeatures().fit(requests)
    message = f"the column '{name}', which looks like {field}: rename it"
    with pytest.raises(ValueError, match=message):
        features.transform(requests.rename(columns={field: name}))
    arrays = {column: requests[column].to_numpy() for column in REQUEST_COLUMNS}
    with pytest.raises(ValueError, match=message):
        features.transform({name: arrays.pop(field), **arrays})
    both = features.transform(requests.assign(**{name: 0}))
    np.testing.assert_array_equal(both, features.transform(requests))


def test_other_input_than_a_frame_raises_with_the_required_columns() -> None:
    with pytest.raises(TypeError, match="PULocationID, DOLocationID, trip_distance"):
        RequestFeatures().transform(np.zeros((2, 5)))  # type: ignore[arg-type]


def test_passenger_count_may_be_a_missing_column_or_value() -> None:
    requests = trips_of(1).head(3)
    without = RequestFeatures().transform(requests.drop(columns="passenger_count"))
    missing = RequestFeatures().transform(requests.assign(passenger_count=np.nan))
    np.testing.assert_array_equal(without, missing)
    assert (without[:, [*FEATURES.current].index("passenger_count")] == -1).all()


def test_a_distance_may_be_a_missing_column_or_value() -> None:
    requests = trips_of(1).head(3)
    without = RequestFeatures().transform(requests.drop(columns="trip_distance"))
    missing = RequestFeatures().transform(requests.assign(trip_distance=np.nan))
    np.testing.assert_array_equal(without, missing)
    assert np.isnan(without[:, [*FEATURES.current].index("log_miles")]).all()


def test_missing_pickup_times_mean_now(monkeypatch) -> None:
    now = datetime(2023, 7, 4, 17, 45)
    monkeypatch.setattr(features, "new_york_time", lambda: now)
    requests = trips_of(1).head(3)
    without = RequestFeatures().transform(requests.drop(columns="pickup_datetime"))
    stated = RequestFeatures().transform(requests.assign(pickup_datetime=pd.Timestamp(now)))
    np.testing.assert_array_equal(without, stated)
    hours = without[:, [*FEATURES.current].index("hour")]
    assert (hours == 17).all()


@pytest.mark.parametrize("zone", [0, 266, 999, -1, np.nan, np.inf, None])
def test_a_zone_out_of_range_is_the_unknown_zone(zone: float | None) -> None:
    assert features_of(PULocationID=zone)["pickup_zone"] == 0
    assert features_of(DOLocationID=zone)["dropoff_zone"] == 0


@pytest.mark.parametrize("zone", [1, 264, 265])
def test_a_zone_of_the_published_table_is_unchanged(zone: int) -> None:
    assert features_of(PULocationID=zone)["pickup_zone"] == zone


@pytest.mark.parametrize("miles", [0.0, -5.0, np.nan, np.inf, -np.inf, 1e308, 201_421.0, None])
def test_an_implausible_distance_is_missing(miles: float | None) -> None:
    assert np.isnan(features_of(trip_distance=miles)["log_miles"])


def test_only_the_log_distance_may_be_missing() -> None:
    matrix = RequestFeatures().transform(odd_requests())
    others = [name != "log_miles" for name in FEATURES.current]
    assert np.isfinite(matrix[:, others]).all()


def test_an_aware_pickup_time_is_converted_to_new_york() -> None:
    aware = pd.Timestamp("2023-05-02 12:31:59", tz="UTC")
    assert features_of(pickup_datetime=aware) == features_of()


def test_a_time_may_be_text() -> None:
    assert features_of(pickup_datetime="2023-05-02T08:31:59") == features_of()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_unit_of_the_times_does_not_matter(unit: Literal["s", "ms", "us", "ns"]) -> None:
    trips = trips_of(1)
    other = trips.assign(pickup_datetime=trips["pickup_datetime"].dt.as_unit(unit))
    np.testing.assert_array_equal(
        RequestFeatures().transform(other), RequestFeatures().transform(trips)
    )


@pytest.mark.parametrize(
    ("day", "off"),
    [
        (date(2023, 1, 1), True),
        (date(2023, 1, 2), False),
        (date(2023, 5, 29), True),
        (date(2023, 5, 22), False),
        (date(2023, 7, 4), True),
        (date(2023, 9, 4), True),
        (date(2023, 9, 11), False),
        (date(2023, 11, 23), True),
        (date(2023, 11, 30), False),
        (date(2024, 11, 28), True),
        (date(2023, 12, 25), True),
        (date(2023, 6, 10), True),
    ],
)
def test_days_off(day: date, off: bool) -> None:
    days = np.asarray([(day - date(1970, 1, 1)).days])
    assert is_day_off(days).tolist() == [off]


@pytest.mark.parametrize("year", [1999, 2004, 2005, 2023, 2029, 2030, 2031])
def test_days_that_are_looked_up_are_those_of_the_rules(year: int) -> None:
    times = pd.date_range(f"{year}-01-01T12:00", f"{year}-12-31T12:00", unit="us")
    days = (times.normalize() - pd.Timestamp(1970, 1, 1)).days.to_numpy()
    trips = trips_of(1).iloc[[0] * len(times)].assign(pickup_datetime=times)
    found = RequestFeatures().fit_transform(trips)
    names = list(FEATURES.current)
    off = is_day_off(days)
    np.testing.assert_array_equal(found[:, names.index("day_off")], off)
    no_school = ~is_school_day(days) & ~off
    np.testing.assert_array_equal(found[:, names.index("school_break")], no_school)


@given(
    st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)),
)
def test_the_clock_agrees_with_the_calendar(moment: datetime) -> None:
    features = features_of(pickup_datetime=moment)
    assert features["weekday"] == moment.weekday()
    assert features["hour"] == moment.hour
    since_midnight = moment - datetime.combine(moment.date(), datetime.min.time())
    assert features["minute_of_day"] == since_midnight // timedelta(minutes=1)
