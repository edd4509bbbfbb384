"""Every model family, from a frame of requests to minutes."""

import subprocess
import sys
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from ml_assets.evaluation.feature_importance import feature_importance
from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.registry.artifacts import trusted_types
from ml_assets.training.families import FAMILIES, family_named
from ml_assets.trips.rules import REQUEST_COLUMNS
from ml_assets_tests.training.sample_trips import odd_requests, train_trips, validation_trips

every_family = pytest.mark.parametrize("name", list(FAMILIES))

FEWER_TREES = {
    name: {"n_estimators": 20}
    for name, family in FAMILIES.items()
    if "n_estimators" in family.defaults
}


@cache
def fitted(name: str) -> Pipeline:
    trips = train_trips()
    pipeline = FAMILIES[name].make_pipeline(FEWER_TREES.get(name))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        return pipeline.fit(trips, trips["duration_minutes"])


@every_family
def test_it_beats_the_global_mean_on_a_later_month(name: str) -> None:
    family = FAMILIES[name]
    train, validation = train_trips(), validation_trips()
    pipeline = family.make_pipeline()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        pipeline.fit(train, train["duration_minutes"])
    actual = validation["duration_minutes"]
    mean = np.full(len(actual), train["duration_minutes"].mean())
    rmse = root_mean_squared_error(actual, pipeline.predict(validation))
    assert rmse < 0.9 * root_mean_squared_error(actual, mean)


@every_family
def test_it_reads_request_columns_only(name: str) -> None:
    trips = validation_trips()
    more = trips.assign(
        duration_minutes=60.0, trip_id=-1, dropoff_datetime=pd.Timestamp("2030-1-1")
    )
    pipeline = fitted(name)
    expected = pipeline.predict(trips[list(REQUEST_COLUMNS)])
    np.testing.assert_array_equal(pipeline.predict(more), expected)
    np.testing.assert_array_equal(pipeline.predict(more[more.columns[::-1]]), expected)


@every_family
def test_a_single_request_is_predicted_as_in_a_batch(name: str) -> None:
    pipeline = fitted(name)
    batch = pd.concat([validation_trips().head(40), odd_requests()], ignore_index=True)
    batched = pipeline.predict(batch)
    single = [pipeline.predict(batch.iloc[[row]])[0] for row in range(len(batch))]
    np.testing.assert_array_equal(single, batched)


@every_family
def test_extreme_requests_get_minutes_within_the_bounds(name: str) -> None:
    minutes = fitted(name).predict(odd_requests())
    assert np.isfinite(minutes).all()
    assert minutes.min() >= 1 and minutes.max() <= 60


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(list(FAMILIES)),
    zones=st.tuples(*[st.one_of(st.integers(-10, 1000), st.floats())] * 2),
    miles=st.floats(),
    moment=st.datetimes(
        min_value=pd.Timestamp("1700-01-01").to_pydatetime(),
        max_value=pd.Timestamp("2200-01-01").to_pydatetime(),
    ),
    passengers=st.one_of(st.none(), st.floats()),
)
def test_no_request_breaks_a_model(
    name: str,
    zones: tuple[float, float],
    miles: float,
    moment: object,
    passengers: float | None,
) -> None:
    request = pd.DataFrame([[*zones, miles, moment, passengers]], columns=list(REQUEST_COLUMNS))
    (minutes,) = fitted(name).predict(request)
    assert 1 <= minutes <= 60


@every_family
@pytest.mark.parametrize("absent", REQUEST_COLUMNS[:3])
def test_a_missing_request_column_is_named(name: str, absent: str) -> None:
    with pytest.raises(ValueError, match=f"lack {absent}"):
        fitted(name).predict(validation_trips().drop(columns=absent))


@every_family
def test_a_refitted_clone_predicts_the_same(name: str) -> None:
    trips = train_trips()
    again = clone(fitted(name)).fit(trips, trips["duration_minutes"])
    np.testing.assert_array_equal(
        again.predict(validation_trips()), fitted(name).predict(validation_trips())
    )


@every_family
def test_it_survives_skops_bit_for_bit(name: str) -> None:
    pipeline = fitted(name)
    loaded = skops.io.loads(skops.io.dumps(pipeline), trusted=trusted_types(pipeline))
    batch = pd.concat([validation_trips(), odd_requests()], ignore_index=True)
    np.testing.assert_array_equal(loaded.predict(batch), pipeline.predict(batch))


@every_family
def test_its_importance_has_named_shares_and_distance_matters(name: str) -> None:
    importance = feature_importance(fitted(name))
    shares = list(importance.values())
    assert shares == sorted(shares, reverse=True)
    assert min(shares) >= 0 and sum(shares) == pytest.approx(1)
    assert not any("=" in feature for feature in importance)
    top = list(importance)[:8]
    assert any("mile" in f or "minutes" in f or "distance" in f for f in top), top


def test_importance_without_used_features_is_zero() -> None:
    trips = train_trips()
    pipeline = FAMILIES["lasso"].make_pipeline({"alpha": 1e6})
    pipeline.fit(trips, trips["duration_minutes"])
    assert set(feature_importance(pipeline).values()) == {0.0}


def test_an_estimator_without_importance_has_none() -> None:
    from sklearn.neighbors import KNeighborsRegressor

    pipeline = clone(fitted("xgboost"))
    trips = train_trips().head(200)
    pipeline.set_params(model__regressor=KNeighborsRegressor())
    pipeline.fit(trips, trips["duration_minutes"])
    assert feature_importance(pipeline) == {}


def test_an_unknown_family_raises_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'lgbm': choose from linear_regression, lasso"):
        family_named("lgbm")


def test_the_registry_imports_no_estimator() -> None:
    heavy = ("sklearn", "pandas", "xgboost", "optuna", "mlflow", "matplotlib")
    code = (
        "import sys; import ml_assets.training.families; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
