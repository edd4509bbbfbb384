"""Explanations: Shapley axioms and closed forms, on functions and models; usual distances."""

import warnings
from dataclasses import replace
from datetime import datetime
from functools import cache
from itertools import permutations
from typing import cast

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from ml_assets.pipeline.background_sample import (
    COUNT,
    attach_background_sample,
    draw_background_sample,
    get_background_sample,
)
from ml_assets.pipeline.explain import PLAYERS, explain
from ml_assets.pipeline.predict import Model
from ml_assets.pipeline.serialization import trusted_types
from ml_assets.requests.parse import Request, request_columns, states_distance
from ml_assets.training.families import FAMILIES
from ml_assets.training.fit import encode_trips, fit_encoded, refit
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.pipeline.test_request_columns import as_requests, requests
from ml_assets_tests.training.sample_trips import train_trips, trips_of, validation_trips


def players_of(columns):
    """Return each player's part of the requests as a number, (n, 6)."""
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
    """A model that is a function of the players' numbers, with a background sample."""

    def __init__(self, function, background):
        self.function = function
        attach_background_sample(self, background)

    def __getitem__(self, step):
        return self

    def predict(self, columns):
        columns = {name: np.asarray(columns[name]) for name in REQUEST_COLUMNS}
        return self.function(*players_of(columns).T)


def sample_of(seed, count=5):
    return validation_trips().sample(count, random_state=seed)


def values_of(model, request):
    explanation = explain(model, request)
    assert tuple(explanation.contributions) == tuple(PLAYERS)
    return np.array(list(explanation.contributions.values()))


seeds = st.integers(0, 1000)
stated_requests = requests.map(
    lambda each: each._replace(trip_distance=min(max(each.trip_distance or 0.0, 0.05), 60.0))
)
weights = st.lists(st.floats(-5, 5), min_size=6, max_size=6)


@given(weights=weights, seed=seeds, request=stated_requests)
def test_contributions_to_a_linear_model_are_proportional_to_the_difference(weights, seed, request):
    background, columns = sample_of(seed), request_columns([request])
    model = Function(lambda *players: np.dot(weights, players), background)
    apart = players_of(columns)[0] - players_of(get_background_sample(model).columns).mean(axis=0)
    np.testing.assert_allclose(values_of(model, columns), weights * apart, rtol=1e-9, atol=1e-6)


@given(seed=seeds, request=stated_requests)
def test_an_interaction_is_shared_between_its_players(seed, request):
    """For x·y, the Shapley value of x is the mean of (x - x') (y + y') / 2 over the background."""
    background, columns = sample_of(seed), request_columns([request])
    model = Function(lambda pickup, dropoff, miles, time, day, passengers: miles * time, background)
    others = players_of(get_background_sample(model).columns)
    x, y = players_of(columns)[0, 2:4]
    expected = np.zeros(6)
    expected[2] = np.mean((x - others[:, 2]) * (y + others[:, 3]) / 2)
    expected[3] = np.mean((y - others[:, 3]) * (x + others[:, 2]) / 2)
    np.testing.assert_allclose(values_of(model, columns), expected, rtol=1e-9, atol=1e-6)


@given(seed=seeds, request=stated_requests)
@settings(max_examples=10, deadline=None)
def test_contributions_are_the_mean_over_all_orders_of_players(seed, request):
    """The definition of the Shapley value, on a function without structure."""

    def jumps(*players):
        return np.sin(np.prod([np.cos(37 * player) + 2 for player in players], axis=0) * 11)

    background, columns = sample_of(seed, 3), request_columns([request])
    model = Function(jumps, background)
    own, others = players_of(columns)[0], players_of(get_background_sample(model).columns)
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
    np.testing.assert_allclose(values_of(model, columns), expected, atol=1e-9)


@given(weights=weights, ignored=st.sets(st.integers(0, 5)), seed=seeds, request=stated_requests)
def test_an_ignored_player_contributes_nothing(weights, ignored, seed, request):
    def function(*players):
        heeded = [np.tanh(w * p) for at, (w, p) in enumerate(zip(weights, players, strict=True))
                  if at not in ignored]  # fmt: skip
        return np.prod(heeded, axis=0) * np.ones(len(players[0]))

    values = values_of(Function(function, sample_of(seed)), request_columns([request]))
    np.testing.assert_allclose(values[list(ignored)], 0, atol=1e-12)


@given(seed=seeds, request=stated_requests)
def test_symmetric_players_contribute_equally(seed, request):
    background = sample_of(seed).assign(DOLocationID=lambda trips: trips["PULocationID"])
    request = request._replace(DOLocationID=request.PULocationID)
    model = Function(
        lambda pickup, dropoff, miles, *_: np.sqrt(pickup + dropoff) * miles, background
    )
    values = values_of(model, request_columns([request]))
    assert values[0] == pytest.approx(values[1], rel=1e-9, abs=1e-9)


@given(seed=seeds, request=stated_requests, hour=st.integers(0, 23), day=st.integers(0, 400))
def test_time_of_day_and_day_are_separate_players(seed, request, hour, day):
    """Background requests that differ from the request only in the date, or the hour."""

    def wild(pickup, dropoff, miles, time, date, passengers):
        return np.sin(time) * 20 + np.cos(date * 1.7) * 10

    columns = request_columns([request])
    same = pd.DataFrame(columns)
    midnight = same["pickup_datetime"].dt.normalize()
    clock = same["pickup_datetime"] - midnight
    for other, player in (
        (midnight + pd.Timedelta(hours=hour), "time_of_day"),
        (midnight + clock - pd.Timedelta(days=day), "day"),
    ):
        model = Function(wild, same.assign(pickup_datetime=other))
        explanation = explain(model, columns)
        alone = explanation.contributions[player]
        assert explanation.baseline_minutes + alone == pytest.approx(model.predict(columns)[0])
        assert sum(abs(value) for value in explanation.contributions.values()) == pytest.approx(
            abs(alone)
        )


@cache
def fitted(name):
    family = FAMILIES[name]
    trees = {"n_estimators": 20} if "n_estimators" in family.defaults else {}
    encoded = encode_trips(family, train_trips(), validation_trips())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = fit_encoded(family, encoded, {**family.defaults, **trees}, 1, 1)
    attach_background_sample(found.pipeline, train_trips())
    return found


@pytest.mark.parametrize("family", ["xgboost", "random_forest", "lasso"])
@given(request=requests)
@settings(max_examples=15, deadline=None)
def test_contributions_sum_up_to_the_prediction(family, request):
    pipeline, columns = fitted(family).pipeline, request_columns([request])
    explanation = explain(pipeline, columns)
    others = get_background_sample(pipeline).columns
    if not states_distance(columns["trip_distance"]).any():
        others = {**others, "trip_distance": np.full(len(others["trip_distance"]), np.nan)}
    background = pipeline.predict(others)
    assert explanation.baseline_minutes == pytest.approx(background.mean(), rel=1e-12)
    assert explanation.baseline_minutes + sum(explanation.contributions.values()) == pytest.approx(
        pipeline.predict(columns)[0], rel=1e-12
    )


@pytest.mark.parametrize("family", ["linear_svr", "xgboost"])
def test_a_distance_that_is_left_out_contributes_nothing(family):
    """And the contributions still sum up to the prediction."""
    model = fitted(family).pipeline
    for miles in (np.nan, 0.0):
        columns = request_columns([Request(74, 236, miles, datetime(2023, 2, 1, 9), 1.0)])
        explanation = explain(model, columns)
        assert explanation.contributions["trip_distance"] == pytest.approx(0, abs=1e-9)
        total = explanation.baseline_minutes + sum(explanation.contributions.values())
        assert total == pytest.approx(model.predict(columns)[0])


def test_more_miles_add_minutes_to_the_distance():
    pipeline = fitted("xgboost").pipeline
    trip = as_requests(trips_of(4).iloc[:1])[0]
    near, far = (
        explain(pipeline, request_columns([trip._replace(trip_distance=miles)]))
        for miles in (0.5, 12.0)
    )
    gained = {name: far.contributions[name] - near.contributions[name] for name in PLAYERS}
    assert gained["trip_distance"] > 5
    assert gained["trip_distance"] > sum(abs(gained[name]) for name in PLAYERS if "zone" in name)


def test_a_model_without_a_background_sample_has_no_explanation():
    columns = request_columns(as_requests(trips_of(4).iloc[:1]))
    old = clone(fitted("lasso").pipeline).fit(trips_of(4), trips_of(4)["duration_minutes"])
    assert explain(old, columns) is None
    del old[-1].__dict__["background_sample_"]  # as skops restores a model stored without it
    assert explain(old, columns) is None


@pytest.mark.parametrize("rows", [0, 2])
def test_an_explanation_is_of_one_request(rows):
    columns = request_columns(as_requests(trips_of(4).iloc[:rows]))
    with pytest.raises(ValueError, match=f"of one request, not of {rows}"):
        explain(fitted("lasso").pipeline, columns)


def test_a_stored_pipeline_has_the_same_explanation():
    pipeline = fitted("xgboost").pipeline
    stored = skops.io.dumps(pipeline)
    loaded = skops.io.loads(stored, trusted=trusted_types(pipeline))
    columns = request_columns(as_requests(trips_of(4).iloc[:1]))
    assert explain(loaded, columns) == explain(pipeline, columns)


def test_the_background_sample_matches_the_distribution_of_predictions():
    pipeline = fitted("xgboost").pipeline
    background = pipeline.predict(draw_background_sample(pipeline, train_trips()).columns)
    everyone = pipeline.predict(train_trips())
    assert len(background) == COUNT
    quantiles = (np.arange(COUNT) + 0.5) / COUNT
    np.testing.assert_allclose(background, np.quantile(everyone, quantiles), rtol=0.05)


def test_the_background_sample_is_reproducible_and_of_training_trips():
    pipeline = fitted("xgboost").pipeline
    first, again = (draw_background_sample(pipeline, train_trips()).columns for _ in range(2))
    np.testing.assert_equal(first, again)
    trips = train_trips()[list(REQUEST_COLUMNS)].astype(dict.fromkeys(first, "str"))
    chosen = pd.DataFrame(first).astype({"PULocationID": int, "DOLocationID": int})
    chosen["passenger_count"] = chosen["passenger_count"].astype(np.float32)
    assert set(map(tuple, chosen.astype(str).to_numpy())) <= set(map(tuple, trips.to_numpy()))


def test_few_trips_are_all_in_the_background_sample():
    background = draw_background_sample(fitted("lasso").pipeline, trips_of(4).iloc[:3]).columns
    assert {len(column) for column in background.values()} == {3}


def test_a_refit_draws_from_its_own_trips():
    first = fitted("lasso")
    pipeline = refit(replace(first), trips_of(4)).pipeline
    kept = get_background_sample(pipeline).columns["pickup_datetime"]
    assert set(kept.astype("datetime64[M]").astype(str)) == {"2023-04"}


def test_the_background_sample_does_not_change_predictions():
    pipeline = fitted("random_forest").pipeline
    without = clone(pipeline)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        without.fit(train_trips(), train_trips()["duration_minutes"])
    before = without.predict(trips_of(4))
    attach_background_sample(without, train_trips())
    np.testing.assert_array_equal(before, without.predict(trips_of(4)))


@pytest.mark.parametrize("family", ["xgboost", "lasso"])
def test_usual_miles_match_the_trips_of_a_pair(family):
    trips = train_trips()
    metered = trips[trips["trip_distance"].between(0.05, 60)]
    pairs = metered.groupby(["PULocationID", "DOLocationID"])["trip_distance"]
    pair = cast("tuple[int, int]", pairs.size().idxmax())
    miles = np.exp(np.log(pairs.get_group(pair)).mean())
    (usual,) = Model(fitted(family).pipeline, "1").usual_miles(*(np.array([zone]) for zone in pair))
    assert usual == pytest.approx(miles, rel=0.05)
