"""Fitting with given parameters, and rejecting unusable trips."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from ml_assets.config.cores import thread_count
from ml_assets.training.families import FAMILIES
from ml_assets.training.fit import encode_trips, fit_encoded, fit_steps, refit, target_minutes
from ml_assets_tests.training.sample_trips import train_trips, trips_of, validation_trips


def test_fitting_encoded_trips_equals_fitting_the_pipeline() -> None:
    family, trips = FAMILIES["extra_trees"], train_trips()
    parameters = {**family.defaults, "n_estimators": 5}
    encoded = encode_trips(family, trips, validation_trips())
    fitted = fit_encoded(family, encoded, parameters, seed=7, n_jobs=1)
    whole = family.make_pipeline(parameters, seed=7).fit(trips, trips["duration_minutes"])
    np.testing.assert_array_equal(
        fitted.pipeline.predict(validation_trips()), whole.predict(validation_trips())
    )


def test_a_sample_of_rows_is_the_same_for_the_same_seed() -> None:
    encoded = encode_trips(FAMILIES["lasso"], train_trips(), validation_trips())
    rows, minutes = encoded.sample(100, seed=1)
    again, _ = encoded.sample(100, seed=1)
    assert rows.shape[0] == len(minutes) == 100
    assert (rows != again).nnz == 0
    assert encoded.sample(None, seed=1)[0] is encoded.train


def test_a_refit_keeps_parameters_and_metrics_and_uses_the_other_trips() -> None:
    family = FAMILIES["xgboost"]
    encoded = encode_trips(family, train_trips(), validation_trips())
    fitted = fit_encoded(family, encoded, {**family.defaults, "n_estimators": 9}, 1, 1)
    again = refit(fitted, trips_of(4))
    assert again.parameters == fitted.parameters and again.validation_rmse == fitted.validation_rmse
    assert again.pipeline["model"].regressor_.get_booster().num_boosted_rounds() == 9
    assert (
        again.pipeline.predict(validation_trips()) != fitted.pipeline.predict(validation_trips())
    ).any()


def in_parts(trips: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Read trips in parts of different sizes."""
    for start, end in pairwise([0, 700, 701, 2_000, len(trips)]):
        yield trips.iloc[start:end].reset_index(drop=True)


def encoded_sample(sample: pd.DataFrame, past: pd.DataFrame) -> np.ndarray:
    steps = FAMILIES["extra_trees"].make_pipeline()[:-1]
    return fit_steps(steps, sample, target_minutes(sample, "training"), lambda: in_parts(past))


def test_a_sample_is_encoded_as_among_all_trips() -> None:
    trips = train_trips()
    chosen = np.arange(5, len(trips), 7)
    encoded = encoded_sample(trips.iloc[chosen], trips)
    steps = FAMILIES["extra_trees"].make_pipeline()[:-1]
    expected = steps.fit_transform(trips, trips["duration_minutes"].to_numpy())[chosen]
    # The map places a zone of one trip in any direction from its neighbour.
    close = np.isclose(encoded, expected, rtol=1e-5, atol=1e-5)
    names = steps.get_feature_names_out()
    on_map = np.array([name.endswith(("_x", "_y", "_z")) for name in names])
    assert close[:, ~on_map].mean() > 0.999
    assert close.all(axis=1).mean() > 0.99


def test_the_duration_of_a_sampled_trip_does_not_leak_into_its_encoding() -> None:
    trips = train_trips()
    chosen = np.arange(5, len(trips), 7)
    sample, changed = trips.iloc[chosen], trips.copy()
    row = 3
    changed.loc[trips.index[chosen[row]], "duration_minutes"] = 59.0
    before, after = encoded_sample(sample, trips), encoded_sample(sample, changed)
    np.testing.assert_array_equal(after[row], before[row])
    assert (after != before).any(), "the duration did not even reach the other folds"


@pytest.mark.parametrize("minutes", [np.nan, np.inf, 0.0, -1.0])
def test_an_invalid_duration_raises(minutes: float) -> None:
    invalid = train_trips().copy()
    invalid.loc[3, "duration_minutes"] = minutes
    with pytest.raises(ValueError, match="duration_minutes of the training trips"):
        encode_trips(FAMILIES["lasso"], invalid, validation_trips())


def test_missing_trips_or_target_raise_with_the_role() -> None:
    lasso = FAMILIES["lasso"]
    with pytest.raises(ValueError, match="no validation trips"):
        encode_trips(lasso, train_trips(), validation_trips().head(0))
    with pytest.raises(ValueError, match="training trips have no column duration_minutes"):
        encode_trips(lasso, train_trips().drop(columns="duration_minutes"), validation_trips())


@pytest.mark.parametrize("n_jobs", [0, -2])
def test_an_invalid_number_of_threads_raises(n_jobs: int) -> None:
    with pytest.raises(ValueError, match=f"n_jobs is {n_jobs}"):
        thread_count(n_jobs)
