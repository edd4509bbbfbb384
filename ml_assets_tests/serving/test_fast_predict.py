"""Predictions of few rows by the tree walker are bit-identical to XGBoost's."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import Pipeline
from xgboost import XGBRegressor

from ml_assets.pipeline.bounded_regressor import BoundedRegressor
from ml_assets.serving.fast_predict import (
    MAX_ROWS,
    FastRegressor,
    TreeEnsembleWalker,
    enable_fast_path,
    leave_a_core,
)
from ml_assets.training.families import FAMILIES
from ml_assets_tests.training.sample_trips import odd_requests, train_trips, validation_trips

COLUMNS = 4


def trips(rows=400, holes=0.2):
    """Return features of different scales with missing values, and a target."""
    random = np.random.default_rng(1)
    features = (random.normal(0, 1, (rows, COLUMNS)) * [1, 1e-3, 1e3, 1]).astype(np.float32)
    target = np.nan_to_num(features[:, 0] * 3 + features[:, 2] / 1e3 + 20)
    features[random.random(features.shape) < holes] = np.nan
    return features, target


def fitted(**parameters) -> XGBRegressor:
    return XGBRegressor(n_estimators=40, n_jobs=1, **parameters).fit(*trips())


@pytest.fixture(scope="module")
def regressor():
    return fitted(max_depth=5)


@pytest.fixture(scope="module")
def walk(regressor):
    return TreeEnsembleWalker.from_xgboost(regressor)


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, MAX_ROWS), st.just(COLUMNS)),
        elements=st.floats(width=32, allow_infinity=False) | st.sampled_from([np.nan, 0.0, -0.0]),
    )
)
def test_any_row_is_bit_identical_to_xgboost(regressor, walk, rows):
    np.testing.assert_array_equal(walk.predict(rows), regressor.predict(rows))


def test_values_equal_to_a_threshold_are_bit_identical_to_xgboost(regressor, walk):
    edges = np.unique(walk.nodes[:, 1].copy().view(np.float32))
    on_edges = np.tile(edges[:, None], (1, COLUMNS))
    np.testing.assert_array_equal(walk.predict(on_edges), regressor.predict(on_edges))


def test_the_fast_path_does_not_change_predictions():
    fit, requests = train_trips(), validation_trips().head(200)
    pipeline = FAMILIES["xgboost"].make_pipeline({"n_estimators": 60}, n_jobs=1)
    pipeline.fit(fit, fit["duration_minutes"])
    expected, odd = pipeline.predict(requests), pipeline.predict(odd_requests())
    assert enable_fast_path(pipeline)
    assert isinstance(pipeline[-1].regressor_, FastRegressor)
    for rows in (1, 3, MAX_ROWS):
        predicted = [pipeline.predict(requests.iloc[at : at + rows]) for at in range(0, 200, rows)]
        np.testing.assert_array_equal(np.concatenate(predicted), expected)
    alone = [pipeline.predict(odd_requests().iloc[[at]])[0] for at in range(len(odd))]
    np.testing.assert_array_equal(alone, odd)


@pytest.mark.parametrize(
    "other",
    [
        lambda: RandomForestRegressor(5).fit(*trips(holes=0)),
        lambda: fitted(booster="gblinear"),
        lambda: fitted(booster="dart", rate_drop=0.5),
        lambda: fitted(objective="count:poisson"),
        lambda: fitted(objective="reg:gamma"),
    ],
    ids=["forest", "linear", "dart", "poisson", "gamma"],
)
def test_a_booster_with_another_objective_predicts_without_the_fast_path(other):
    """Dropped trees are weighed, and counts are the exponential of what the leaves say."""
    model = other()
    bounded = BoundedRegressor(model).wrap_fitted(model)
    assert not enable_fast_path([bounded])
    assert bounded.regressor_ is model
    rows = trips(holes=0)[0][:3]
    np.testing.assert_array_equal(bounded.predict(rows), model.predict(rows).clip(1, 60))


def test_parallel_trees_are_supported():
    model = fitted(num_parallel_tree=3, subsample=0.5)
    rows, _ = trips()
    np.testing.assert_array_equal(
        TreeEnsembleWalker.from_xgboost(model).predict(rows), model.predict(rows)
    )


def test_a_new_fit_discards_the_fast_path():
    features, target = trips()
    bounded = BoundedRegressor(XGBRegressor(n_estimators=5, n_jobs=1)).fit(features, target)
    assert enable_fast_path([bounded])
    before = bounded.predict(features[:1])
    bounded.fit(features, target / 2)
    assert bounded.predict(features[:1]) != before


def test_a_pipeline_may_predict_while_its_fast_path_is_enabled():
    """The service answers with a model that it has just loaded, and enables the path meanwhile."""
    features, _ = trips(200)
    stop = Event()

    def predict(pipeline):
        while not stop.is_set():
            pipeline.predict(features)

    with ThreadPoolExecutor(2) as threads:
        for _ in range(10):
            stop.clear()
            pipeline = Pipeline([("model", BoundedRegressor(None).wrap_fitted(fitted()))])
            leave_a_core(pipeline)
            expected = pipeline.predict(features)
            running = [threads.submit(predict, pipeline) for _ in range(2)]
            assert enable_fast_path(pipeline)
            stop.set()
            for each in running:
                each.result()
            assert np.array_equal(pipeline.predict(features), expected)
