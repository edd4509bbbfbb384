"""Explanations: Shapley's axioms and closed forms, on functions and on models; usual distances."""

import warnings
from dataclasses import replace
from functools import cache
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ml_assets.pipeline.background_sample import (
    COUNT,
    attach_background_sample,
    draw_background_sample,
    get_background_sample,
)
from ml_assets.pipeline.explain import PLAYERS, expected_miles, explain
from ml_assets.registry.artifacts import trusted_types
from ml_assets.requests.parse import request_columns
from ml_assets.training.families import FAMILIES
from ml_assets.training.fit import encode_trips, fit_encoded, refit
from ml_assets.trips.rules import REQUEST_COLUMNS
from ml_assets_tests.pipeline.test_request_columns import as_requests, requests
from ml_assets_tests.training.sample_trips import train_trips, trips_of, tune_trips


def players_of(columns):
    """Each player's part of the requests as a number, (n, 6)."""
    time = columns["pickup_datetime"]
    day = time.astype("datetime64[D]")
    parts = (
        columns["PULocationID"],
        columns["DOLocationID"],
        columns["trip_distance"],
        (time - day) / np.timedelta64(1, "h"),
        day.astype(np.int64) - 19_000,
        np.nan_to_num(columns["passenger_count"], nan=-1.0),
    )
    return np.column_stack([np.asarray(part, dtype=np.float64) for part in parts])


class Function:
    """A model that is a function of the players' numbers; keeps typical requests like any other."""

    def __init__(self, function, typical):
        self.function = function
        attach_background_sample(self, typical)

    def __getitem__(self, step):
        return self

    def predict(self, asked):
        columns = {name: np.asarray(asked[name]) for name in REQUEST_COLUMNS}
        return self.function(*players_of(columns).T)


def some_trips(seed, count=5):
    return tune_trips().sample(count, random_state=seed)


def values_of(model, request):
    explanation = explain(model, request)
    assert tuple(explanation.contributions) == PLAYERS
    return np.array(list(explanation.contributions.values()))


seeds = st.integers(0, 1000)
weights = st.lists(st.floats(-5, 5), min_size=6, max_size=6)


@given(weights=weights, seed=seeds, request=requests)
def test_a_linear_model_pays_each_player_by_how_far_it_is_from_the_typical(weights, seed, request):
    typical, asked = some_trips(seed), request_columns([request])
    model = Function(lambda *players: np.dot(weights, players), typical)
    apart = players_of(asked)[0] - players_of(get_background_sample(model).columns).mean(axis=0)
    np.testing.assert_allclose(values_of(model, asked), weights * apart, rtol=1e-9, atol=1e-6)


@given(seed=seeds, request=requests)
def test_what_two_players_do_together_is_shared_between_them(seed, request):
    """Of x·y, Shapley's value of x is the mean of (x - x') (y + y') / 2 over the typical ones."""
    typical, asked = some_trips(seed), request_columns([request])
    model = Function(lambda pickup, dropoff, miles, time, day, passengers: miles * time, typical)
    others = players_of(get_background_sample(model).columns)
    x, y = players_of(asked)[0, 2:4]
    expected = np.zeros(6)
    expected[2] = np.mean((x - others[:, 2]) * (y + others[:, 3]) / 2)
    expected[3] = np.mean((y - others[:, 3]) * (x + others[:, 2]) / 2)
    np.testing.assert_allclose(values_of(model, asked), expected, rtol=1e-9, atol=1e-6)


@given(seed=seeds, request=requests)
@settings(max_examples=10, deadline=None)
def test_any_model_is_explained_by_the_mean_over_all_orders_in_which_players_may_enter(
    seed, request
):
    """Shapley's own definition, of a function without any structure."""

    def jumps(*players):
        return np.sin(np.prod([np.cos(37 * player) + 2 for player in players], axis=0) * 11)

    typical, asked = some_trips(seed, 3), request_columns([request])
    model = Function(jumps, typical)
    own, others = players_of(asked)[0], players_of(get_background_sample(model).columns)
    expected = np.zeros(6)
    orders = list(permutations(range(6)))
    for order in orders:
        mixed = others.copy()
        before = jumps(*mixed.T).mean()
        for player in order:
            mixed[:, player] = own[player]
            after = jumps(*mixed.T).mean()
            expected[player] += (after - before) / len(orders)
            before = after
    np.testing.assert_allclose(values_of(model, asked), expected, atol=1e-9)


@given(weights=weights, ignored=st.sets(st.integers(0, 5)), seed=seeds, request=requests)
def test_a_player_that_the_model_ignores_adds_nothing(weights, ignored, seed, request):
    def function(*players):
        heeded = [np.tanh(w * p) for at, (w, p) in enumerate(zip(weights, players, strict=True))
                  if at not in ignored]  # fmt: skip
        return np.prod(heeded, axis=0) * np.ones(len(players[0]))

    values = values_of(Function(function, some_trips(seed)), request_columns([request]))
    np.testing.assert_allclose(values[list(ignored)], 0, atol=1e-12)


@given(seed=seeds, request=requests)
def test_players_that_do_the_same_are_paid_the_same(seed, request):
    typical = some_trips(seed).assign(DOLocationID=lambda trips: trips["PULocationID"])
    request = request._replace(DOLocationID=request.PULocationID)
    model = Function(lambda pickup, dropoff, miles, *_: np.sqrt(pickup + dropoff) * miles, typical)
    values = values_of(model, request_columns([request]))
    assert values[0] == pytest.approx(values[1], rel=1e-9, abs=1e-9)


@given(seed=seeds, request=requests, hour=st.integers(0, 23), day=st.integers(0, 400))
def test_the_clock_and_the_calendar_are_told_apart(seed, request, hour, day):
    """Typical requests that differ from the request in nothing but the date, or the hour."""

    def wild(pickup, dropoff, miles, time, date, passengers):
        return np.sin(time) * 20 + np.cos(date * 1.7) * 10

    asked = request_columns([request])
    same = pd.DataFrame(asked)
    midnight = same["pickup_datetime"].dt.normalize()
    clock = same["pickup_datetime"] - midnight
    for other, player in (
        (midnight + pd.Timedelta(hours=hour), "time_of_day"),
        (midnight + clock - pd.Timedelta(days=day), "day"),
    ):
        model = Function(wild, same.assign(pickup_datetime=other))
        explanation = explain(model, asked)
        alone = explanation.contributions[player]
        assert explanation.typical_minutes + alone == pytest.approx(model.predict(asked)[0])
        assert sum(abs(value) for value in explanation.contributions.values()) == pytest.approx(
            abs(alone)
        )


@cache
def fitted(name):
    family = FAMILIES[name]
    trees = {"n_estimators": 20} if "n_estimators" in family.defaults else {}
    encoded = encode_trips(family, train_trips(), tune_trips())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fit_encoded(family, encoded, {**family.defaults, **trees}, 1, 1)
    attach_background_sample(found.pipeline, train_trips())
    return found


@pytest.mark.parametrize("family", ["xgboost", "random_forest", "lasso"])
@given(request=requests)
@settings(max_examples=15, deadline=None)
def test_the_parts_sum_up_to_the_prediction(family, request):
    pipeline, asked = fitted(family).pipeline, request_columns([request])
    explanation = explain(pipeline, asked)
    typical = pipeline.predict(get_background_sample(pipeline).columns)
    assert explanation.typical_minutes == pytest.approx(typical.mean(), rel=1e-12)
    assert explanation.typical_minutes + sum(explanation.contributions.values()) == pytest.approx(
        pipeline.predict(asked)[0], rel=1e-12
    )


def test_more_miles_add_minutes_and_the_miles_get_them():
    pipeline = fitted("xgboost").pipeline
    trip = as_requests(trips_of(4).iloc[:1])[0]
    near, far = (
        explain(pipeline, request_columns([trip._replace(trip_distance=miles)]))
        for miles in (0.5, 12.0)
    )
    gained = {name: far.contributions[name] - near.contributions[name] for name in PLAYERS}
    assert gained["trip_distance"] > 5
    assert gained["trip_distance"] > sum(abs(gained[name]) for name in PLAYERS if "zone" in name)


def test_a_model_without_typical_requests_has_no_explanation():
    asked = request_columns(as_requests(trips_of(4).iloc[:1]))
    old = clone(fitted("lasso").pipeline).fit(trips_of(4), trips_of(4)["duration_minutes"])
    assert explain(old, asked) is None
    del old[-1].__dict__["background_sample_"]  # as skops rebuilds what was stored without it
    assert explain(old, asked) is None


@pytest.mark.parametrize("rows", [0, 2])
def test_an_explanation_is_of_one_request(rows):
    asked = request_columns(as_requests(trips_of(4).iloc[:rows]))
    with pytest.raises(ValueError, match=f"of one request, not of {rows}"):
        explain(fitted("lasso").pipeline, asked)


def test_a_stored_pipeline_explains_itself_alike():
    pipeline = fitted("xgboost").pipeline
    stored = skops.io.dumps(pipeline)
    loaded = skops.io.loads(stored, trusted=trusted_types(pipeline))
    asked = request_columns(as_requests(trips_of(4).iloc[:1]))
    assert explain(loaded, asked) == explain(pipeline, asked)


def test_typical_requests_are_rides_of_all_lengths_in_their_true_shares():
    pipeline = fitted("xgboost").pipeline
    typical = pipeline.predict(draw_background_sample(pipeline, train_trips()).columns)
    everyone = pipeline.predict(train_trips())
    assert len(typical) == COUNT
    quantiles = (np.arange(COUNT) + 0.5) / COUNT
    np.testing.assert_allclose(typical, np.quantile(everyone, quantiles), rtol=0.05)


def test_typical_requests_are_trips_that_were_fitted_on_and_the_same_each_time():
    pipeline = fitted("xgboost").pipeline
    first, again = (draw_background_sample(pipeline, train_trips()).columns for _ in range(2))
    np.testing.assert_equal(first, again)
    trips = train_trips()[list(REQUEST_COLUMNS)].astype(dict.fromkeys(first, "str"))
    chosen = pd.DataFrame(first).astype({"PULocationID": int, "DOLocationID": int})
    chosen["passenger_count"] = chosen["passenger_count"].astype(np.float32)
    assert set(map(tuple, chosen.astype(str).to_numpy())) <= set(map(tuple, trips.to_numpy()))


def test_few_trips_are_all_typical():
    typical = draw_background_sample(fitted("lasso").pipeline, trips_of(4).iloc[:3]).columns
    assert {len(column) for column in typical.values()} == {3}


def test_a_refit_chooses_among_the_trips_of_the_refit():
    first = fitted("lasso")
    pipeline = refit(replace(first), trips_of(4)).pipeline
    kept = get_background_sample(pipeline).columns["pickup_datetime"]
    assert set(kept.astype("datetime64[M]").astype(str)) == {"2023-04"}


def test_typical_requests_change_no_prediction():
    pipeline = fitted("random_forest").pipeline
    without = clone(pipeline)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        without.fit(train_trips(), train_trips()["duration_minutes"])
    before = without.predict(trips_of(4))
    attach_background_sample(without, train_trips())
    np.testing.assert_array_equal(before, without.predict(trips_of(4)))


@pytest.mark.parametrize("family", ["xgboost", "lasso"])
def test_the_usual_miles_are_those_of_the_trips_of_a_pair(family):
    trips = train_trips()
    metered = trips[trips["trip_distance"].between(0.05, 60)]
    pairs = metered.groupby(["PULocationID", "DOLocationID"])["trip_distance"]
    pair = pairs.size().idxmax()
    miles = np.exp(np.log(pairs.get_group(pair)).mean())
    assert expected_miles(fitted(family).pipeline, *pair) == pytest.approx(miles, rel=0.05)


def test_zones_off_the_map_and_pipelines_without_one_have_no_usual_miles():
    pipeline: Pipeline = fitted("xgboost").pipeline
    assert expected_miles(pipeline, 0, 74) is None
    assert expected_miles(pipeline, 74, 266) is None
    assert expected_miles(pipeline, 1, 265) > 0
    assert expected_miles(Function(lambda *players: players[0], some_trips(1)), 74, 75) is None
