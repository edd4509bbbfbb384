"""Every model family, from a frame of requests to minutes."""

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import optuna
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from ml_assets.evaluation.feature_importance import feature_descriptions, feature_importance
from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.pipeline.bounded_regressor import BoundedRegressor
from ml_assets.pipeline.serialization import OutdatedModel, load_stored, trusted_types
from ml_assets.requests.parse import states_distance
from ml_assets.training.families import FAMILIES, OPTIONAL_FAMILIES, MissingPackage, family_named
from ml_assets.training.families.base import MAX_ROUNDS, Tuned, tunable
from ml_assets.training.tune import TuningBudget, tune_and_fit
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.training.sample_trips import odd_requests, train_trips, validation_trips

EVERY = {**FAMILIES, **OPTIONAL_FAMILIES}
every_family = pytest.mark.parametrize("name", list(EVERY))

FEWER_TREES: dict[str, dict[str, int]] = {
    name: {rounds: 20}
    for name, family in EVERY.items()
    for rounds in ("n_estimators", "iterations", "max_iter")
    if rounds in family.defaults and "trees" in family.kinds
}


@cache
def fitted(name: str) -> Pipeline:
    trips = train_trips()
    pipeline = EVERY[name].make_pipeline(FEWER_TREES.get(name))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        return pipeline.fit(trips, trips["duration_minutes"])


@every_family
def test_it_beats_the_global_mean_on_a_later_month(name: str) -> None:
    family = EVERY[name]
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
    name=st.sampled_from(list(EVERY)),
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
@pytest.mark.parametrize("absent", REQUEST_COLUMNS[:2])
def test_a_missing_request_column_is_named(name: str, absent: str) -> None:
    with pytest.raises(ValueError, match=f"lack {absent}"):
        fitted(name).predict(validation_trips().drop(columns=absent))


@every_family
def test_requests_without_a_column_of_distances_leave_it_out(name: str) -> None:
    trips = validation_trips().head(50)
    np.testing.assert_array_equal(
        fitted(name).predict(trips.drop(columns="trip_distance")),
        fitted(name).predict(trips.assign(trip_distance=np.nan)),
    )


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
    importance = feature_importance(fitted(name), validation_trips())
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
    assert set(feature_importance(pipeline, validation_trips()).values()) == {0.0}


@pytest.mark.parametrize("family", ["xgboost", "linear_svr"])
def test_an_estimator_without_importance_is_measured_by_permutation(family: str) -> None:
    from sklearn.neighbors import KNeighborsRegressor

    pipeline = clone(fitted(family))
    trips, unseen = train_trips().head(200), validation_trips().head(200)
    pipeline.set_params(model__regressor=KNeighborsRegressor())
    pipeline.fit(trips, trips["duration_minutes"])
    importance = feature_importance(pipeline, unseen, max_seconds=60)
    assert set(importance) <= set(feature_descriptions(pipeline))
    assert sum(importance.values()) == pytest.approx(1)
    assert importance == feature_importance(pipeline, unseen, max_seconds=60)  # seeded
    assert feature_importance(pipeline, unseen, max_seconds=1e-9) == {}


def test_permutation_finds_the_features_that_trees_split_on() -> None:
    pipeline = fitted("xgboost")
    trips = validation_trips()
    trips = trips[
        states_distance(trips["trip_distance"])
    ]  # the others have an estimator of their own
    own = feature_importance(pipeline, trips)

    class Plain(BaseEstimator):  # type: ignore[misc]
        def __init__(self, fitted):
            self.fitted = fitted

        def predict(self, features):
            return self.fitted.predict(features)

    plain = BoundedRegressor(None, distance_columns=pipeline[-1].distance_columns)
    plain.wrap_fitted(Plain(pipeline[-1].regressor_), Plain(pipeline[-1].without_distance_))
    measured = feature_importance(Pipeline([*pipeline.steps[:-1], ("model", plain)]), trips)
    assert set(list(measured)[:3]) & set(list(own)[:5])
    unused = {name for name, share in own.items() if share == 0}
    assert all(measured[name] == 0 for name in unused)


@every_family
def test_a_distance_that_is_no_distance_counts_as_left_out(name: str) -> None:
    trips = validation_trips().head(50)
    left_out, zero, absurd, stated = (
        fitted(name).predict(trips.assign(trip_distance=miles)) for miles in (np.nan, 0, 900, 3)
    )
    np.testing.assert_array_equal(zero, left_out)
    np.testing.assert_array_equal(absurd, left_out)
    assert (stated != left_out).any()


@every_family
def test_each_of_its_features_has_a_sentence(name: str) -> None:
    sentences = feature_descriptions(fitted(name))
    importance = feature_importance(fitted(name), validation_trips())
    assert set(importance) <= set(sentences)
    assert all(sentence.endswith(".") for sentence in sentences.values())


@pytest.mark.parametrize("name", list(OPTIONAL_FAMILIES))
def test_an_optional_family_stops_early_and_is_stored_and_loaded(name, tmp_path) -> None:
    """Early stopping on the validation month; the allowlist; the same minutes once loaded."""
    family = OPTIONAL_FAMILIES[name]
    fitted = tune_and_fit(
        family, train_trips(), validation_trips(), budget=TuningBudget(trials=1), n_jobs=1
    )
    (trial,) = fitted.trials
    rounds = family.early_stopping.parameter
    assert 1 <= trial.parameters[rounds] < MAX_ROUNDS
    assert family.usual_rounds is not None
    of_usual = fitted.parameters[family.usual_rounds]
    assert 1 <= of_usual < MAX_ROUNDS
    assert fitted.parameters == {
        **family.defaults,
        rounds: trial.parameters[rounds],
        family.usual_rounds: of_usual,
    }
    stated = validation_trips()[states_distance(validation_trips()["trip_distance"])]
    rmse = root_mean_squared_error(stated["duration_minutes"], fitted.pipeline.predict(stated))
    assert rmse == pytest.approx(trial.validation_rmse, rel=1e-3)
    more = family.make_pipeline({rounds: 4 * fitted.parameters[rounds]})
    more.fit(train_trips(), train_trips()["duration_minutes"])
    actual = validation_trips()["duration_minutes"]
    assert fitted.validation_rmse < root_mean_squared_error(
        actual, more.predict(validation_trips())
    )
    stored = tmp_path / "model.skops"
    skops.io.dump(fitted.pipeline, stored)
    batch = pd.concat([validation_trips(), odd_requests()], ignore_index=True)
    np.testing.assert_array_equal(
        load_stored(stored).predict(batch), fitted.pipeline.predict(batch)
    )


def test_a_model_whose_package_is_not_installed_says_so(tmp_path, monkeypatch) -> None:
    stored = tmp_path / "model.skops"
    skops.io.dump(fitted("lightgbm"), stored)
    for module in [name for name in sys.modules if name.partition(".")[0] == "lightgbm"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OutdatedModel, match="needs the package lightgbm, which is not installed"):
        load_stored(stored)


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        (
            ("absent_package",),
            "family xgboost needs the package absent_package.*pip install absent_package",
        ),
        (("tomllib",), "family xgboost could not be stored.*tomllib.*TRUSTED_TYPES"),
    ],
)
def test_missing_packages_are_named_before_a_fit(packages, message) -> None:
    family = replace(FAMILIES["xgboost"], packages=packages, make_estimator=None)  # type: ignore[arg-type]
    for attempt in (
        family.make_pipeline,
        lambda: tune_and_fit(family, train_trips(), validation_trips(), budget=TuningBudget(0)),
    ):
        with pytest.raises(MissingPackage, match=message) as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_optional_families_are_enabled_by_their_names() -> None:
    code = "from ml_assets.training.families import FAMILIES; print(*FAMILIES)"

    def families(names: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False,
            env={**os.environ, "ML_ASSETS_EXTRA_FAMILIES": names},
        )  # fmt: skip

    assert families("").stdout.split() == [*FAMILIES]
    assert families(" lightgbm , catboost").stdout.split() == [*FAMILIES, "lightgbm", "catboost"]
    wrong = families("lightgbm,lgbm").stderr.splitlines()[-1]
    assert wrong.endswith(
        "ML_ASSETS_EXTRA_FAMILIES='lgbm' is not allowed: use names among hist_gradient_boosting, "
        "lightgbm, catboost"
    )


def test_an_unknown_family_raises_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'lgbm': choose from linear_regression, lasso"):
        family_named("lgbm")


def test_the_registry_imports_no_estimator() -> None:
    heavy = (
        "sklearn",
        "pandas",
        "xgboost",
        "lightgbm",
        "catboost",
        "optuna",
        "mlflow",
        "matplotlib",
    )
    code = (
        "import sys; import ml_assets.training.families; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_tuned_parameter_is_sampled_from_its_range_and_others_keep_their_value():
    family = tunable(rounds=300, depth=Tuned(7, 4, 9), rate=Tuned(0.1, 0.01, 0.2, log=True))
    assert family["defaults"] == {"rounds": 300, "depth": 7, "rate": 0.1}
    trial = optuna.create_study().ask()
    assert family["search_space"](trial).keys() == {"depth", "rate"}
    assert trial.distributions == {
        "depth": IntDistribution(4, 9),
        "rate": FloatDistribution(0.01, 0.2, log=True),
    }
