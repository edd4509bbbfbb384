"""Requests as columns: bit-equal to a frame, for one row alone or among a thousand."""

import warnings
from datetime import timedelta
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from ml_assets.pipeline.features import RequestFeatures
from ml_assets.pipeline.predict import Model
from ml_assets.pipeline.zone_map import get_zone_map
from ml_assets.requests.parse import Request, columns_of, request_columns
from ml_assets.serving.fast_predict import FastRegressor, enable_fast_path
from ml_assets.training.baselines import DistanceLine
from ml_assets.training.families import FAMILIES
from ml_assets.trips.request_columns import REQUEST_COLUMNS, ZONE_CODES
from ml_assets_tests.training.sample_trips import odd_requests, train_trips, validation_trips


@cache
def pipeline_of(family: str, *, fast: bool = False) -> Pipeline:
    """A small fitted pipeline, cached; optionally with the fast path of the service."""
    if fast:
        pipeline = clone(pipeline_of(family)).fit(train_trips(), train_trips()["duration_minutes"])
        assert enable_fast_path(pipeline)
        return pipeline
    trips = train_trips()
    parameters = {"n_estimators": 20} if "n_estimators" in FAMILIES[family].defaults else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = FAMILIES[family].make_pipeline(parameters, n_jobs=1)
        return pipeline.fit(trips, trips["duration_minutes"])


def arrays_of(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: frame[name].to_numpy() for name in REQUEST_COLUMNS}


def as_requests(frame: pd.DataFrame) -> list[Request]:
    """Return the requests of these trips."""
    return [
        Request(
            int(pickup),
            int(dropoff),
            float(miles),
            time.to_pydatetime(),
            None if np.isnan(passengers) else float(passengers),
        )
        for pickup, dropoff, miles, time, passengers in frame[list(REQUEST_COLUMNS)].itertuples(
            index=False
        )
    ]


requests = st.builds(
    Request,
    st.integers(1, 265),
    st.integers(1, 265),
    st.one_of(st.just(0.0), st.floats(0, 100), st.floats(0, 1_000_000)),
    st.datetimes(
        min_value=pd.Timestamp("2009-01-01").to_pydatetime(),
        max_value=pd.Timestamp("2027-12-31").to_pydatetime(),
    ),
    st.none() | st.integers(0, 9).map(float),
)


@pytest.mark.parametrize(
    ("family", "fast"), [*((family, False) for family in FAMILIES), ("xgboost", True)]
)
@given(
    request=requests | requests.map(lambda one: one._replace(trip_distance=None)),
    place=st.integers(0, 999),
)
@settings(max_examples=15, deadline=None)
def test_predictions_are_equal_as_columns_or_frame_and_alone_or_among_a_thousand(
    family, fast, request, place
):
    pipeline = pipeline_of(family, fast=fast)
    assert isinstance(pipeline[-1].regressor_, FastRegressor) is fast
    alone = request_columns([request])
    many = as_requests(validation_trips().iloc[:1000])
    many[place] = request
    among = request_columns(many)
    minutes = pipeline.predict(alone)
    assert minutes.tolist() == pipeline.predict(pd.DataFrame(alone)).tolist()
    together = pipeline.predict(among)
    assert together.tolist() == pipeline.predict(pd.DataFrame(among)).tolist()
    assert minutes[0] == together[place]
    single, several = (Model(pipeline, "1").predict(columns) for columns in (alone, among))
    assert [*single.rows()] == [[*several.rows()][place]]
    assert np.isfinite(single.miles).all()


def test_a_request_has_the_features_of_the_same_training_trip():
    """The same trips as a training frame, as requests and as a table of requests."""
    trips = train_trips()
    trained_on = RequestFeatures().fit_transform(trips)
    requested = RequestFeatures().transform(request_columns(as_requests(trips)))
    tabled = RequestFeatures().transform(columns_of(pl.from_pandas(trips)))
    assert trained_on.tobytes() == requested.tobytes() == tabled.tobytes()


def test_extreme_values_have_the_same_features_as_in_a_frame():
    odd = odd_requests()
    expected = RequestFeatures().transform(odd)
    assert RequestFeatures().transform(arrays_of(odd)).tobytes() == expected.tobytes()
    as_objects = {name: odd[name].astype(object).to_numpy() for name in REQUEST_COLUMNS}
    assert RequestFeatures().transform(as_objects).tobytes() == expected.tobytes()


def test_passenger_count_may_be_absent():
    columns = arrays_of(validation_trips().iloc[:9])
    without = {name: column for name, column in columns.items() if name != "passenger_count"}
    unknown = columns | {"passenger_count": np.full(9, np.nan)}
    np.testing.assert_array_equal(
        RequestFeatures().transform(without), RequestFeatures().transform(unknown)
    )


@pytest.mark.parametrize(
    "wrong",
    [{"trip_distance": np.ones(1)}, {"passenger_count": np.ones(4)}, {"DOLocationID": np.array(7)}],
)
def test_columns_of_different_length_raise(wrong):
    with pytest.raises(ValueError, match=f"arrays of equal length.*{next(iter(wrong))}"):
        RequestFeatures().transform(arrays_of(validation_trips().iloc[:3]) | wrong)


def test_a_missing_array_is_named():
    columns = arrays_of(validation_trips().iloc[:3])
    del columns["DOLocationID"]
    with pytest.raises(ValueError, match="lack DOLocationID"):
        RequestFeatures().transform(columns)


def test_columns_and_frames_have_equal_predictions_and_bounds():
    from ml_assets.pipeline.conformal_intervals import attach_intervals, calibrate

    trips = validation_trips()
    pipeline = pipeline_of("extra_trees")
    columns, frame = columns_of(pl.from_pandas(trips)), pl.from_pandas(trips)
    without = Model(pipeline, "3").predict(columns)
    assert without.lower is without.upper is None
    attach_intervals(pipeline, calibrate(pipeline.predict(trips), trips["duration_minutes"]))
    answers, table = (
        Model(pipeline, "3").predict(columns),
        Model(pipeline, "3").predict_frame(frame),
    )
    attach_intervals(pipeline, None)
    assert answers.minutes.tolist() == table["predicted_minutes"].to_list()
    assert answers.lower.tolist() == table["lower_minutes"].to_list()
    assert answers.upper.tolist() == table["upper_minutes"].to_list()
    assert answers.minutes.tolist() == pipeline.predict(trips).tolist()


@pytest.mark.parametrize(
    ("family", "fast"), [*((family, False) for family in FAMILIES), ("xgboost", True)]
)
def test_a_distance_of_none_zero_or_an_implausible_one_is_the_usual(family, fast):
    pipeline = pipeline_of(family, fast=fast)
    request = as_requests(validation_trips().iloc[:1])[0]
    given = [None, 0.0, 0.01, 61.0, 1000.0, 2.5]
    found = Model(pipeline, "1").predict(
        request_columns([request._replace(trip_distance=miles) for miles in given])
    )
    *usual, stated = found.rows()
    zone_map = get_zone_map(pipeline)
    assert zone_map is not None
    pair = request.PULocationID * ZONE_CODES + request.DOLocationID
    expected = np.exp(np.float64(zone_map.usual_log_miles[pair]))
    assert usual == [usual[0]] * 5
    assert (usual[0]["distance"], usual[0]["distance_miles"]) == ("usual", expected)
    assert (stated["distance"], stated["distance_miles"]) == ("stated", 2.5)


def test_a_pipeline_without_a_zone_map_has_no_usual_miles():
    trips = validation_trips().iloc[:3].assign(trip_distance=[2.5, np.nan, 0.0])
    as_frame = FunctionTransformer(pd.DataFrame)
    pipeline = Pipeline([("frame", as_frame), ("model", DistanceLine())])
    pipeline.fit(train_trips(), train_trips()["duration_minutes"])
    model = Model(pipeline, "1")
    assert model.predict(columns_of(pl.from_pandas(trips))).miles.tolist()[0] == 2.5
    frame = model.predict_frame(pl.from_pandas(trips, nan_to_null=True))
    assert frame["distance"].to_list() == ["stated", "usual", "usual"]
    assert frame["distance_miles"].to_list() == [2.5, None, None]


def test_minutes_matter_but_seconds_do_not():
    """Seconds are dropped, whatever the form of the time."""
    trip = validation_trips().iloc[:1]
    start = trip["pickup_datetime"].dt.floor("min")

    def features(delay: timedelta) -> bytes:
        columns = arrays_of(trip.assign(pickup_datetime=start + delay))
        return RequestFeatures().transform(columns).tobytes()

    assert (
        features(timedelta(seconds=59)) == features(timedelta()) != features(timedelta(minutes=1))
    )
