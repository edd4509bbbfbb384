"""A fit on all rows, read in parts, is the fit in memory, and leaves no trip out."""

import numpy as np
import pandas as pd
import pytest

from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.evaluation.records import FittedRows, Role
from ml_assets.pipeline.background_sample import get_background_sample
from ml_assets.training import all_rows, train_and_evaluate
from ml_assets.training.all_rows import fit_on_all_rows, is_fitted_in_parts
from ml_assets.training.families import FAMILIES
from ml_assets.training.train_and_evaluate import TuningOptions, load_splits
from ml_assets.training.training_set import build_training_set, load_trips, past_trips, read_trips
from ml_assets.training.tune import TuningBudget
from ml_assets.training.windows import choose_window
from ml_assets.trips.month import Month
from ml_assets.trips.target import TARGET
from ml_assets_tests.storage.stored_months import put_month, store_at

XGBOOST = FAMILIES["xgboost"]
FEW_TREES = {"n_estimators": 20, "n_estimators_without_distance": 10}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    store = store_at(tmp_path_factory.mktemp("home"))
    for number, rows in ((1, 3_000), (2, 2_000), (3, 1_500)):
        put_month(store, Month(2023, number), rows)
    return store, build_training_set(store, choose_window(store.months("trip_features")))


@pytest.fixture(params=["in memory", "on disk"])
def place(request, monkeypatch):
    """Where the quantized rows are."""
    if request.param == "on disk":
        monkeypatch.setattr(all_rows, "MAX_ROWS_CACHED_IN_MEMORY", 0)


def test_trips_are_read_in_parts_once(stored):
    store, training_set = stored
    parts = [*read_trips(store, training_set, "train", "validation", batch_rows=700)]
    assert [len(part) for part in parts] == [700, 700, 700, 700, 200, 700, 700, 600]
    everything = load_trips(store, training_set, "train", "validation")
    assert pd.concat(parts, ignore_index=True).equals(everything)


def test_past_trips_are_read_only_if_the_fit_has_fewer(stored):
    store, training_set = stored
    available = training_set.rows_in("train")
    assert past_trips(store, training_set, "train", fitted=available) is None
    past = past_trips(store, training_set, "train", fitted=available - 1)
    assert past is not None
    assert sum(map(len, past())) == available == sum(map(len, past()))


@pytest.mark.usefixtures("place")
def test_trips_in_one_part_give_the_fit_in_memory(stored):
    store, training_set = stored
    trips = load_trips(store, training_set, "train")
    unfitted = XGBOOST.make_pipeline(FEW_TREES, seed=3)
    fitted = fit_on_all_rows(XGBOOST, unfitted, store, training_set, "train", seed=3)
    in_memory = XGBOOST.make_pipeline(FEW_TREES, seed=3).fit(trips, trips[TARGET.name])
    requests = load_trips(store, training_set, "test")
    for each in (requests, requests.assign(trip_distance=np.nan)):
        assert np.array_equal(fitted.predict(each), in_memory.predict(each))
    assert get_background_sample(fitted) is not None


@pytest.mark.usefixtures("place")
def test_all_rows_in_parts_are_as_good_as_in_memory(stored, monkeypatch):
    monkeypatch.setattr(all_rows, "BATCH_ROWS", 600)
    store, training_set = stored
    roles: tuple[Role, ...] = ("train", "validation")
    trips, test = load_trips(store, training_set, *roles), load_trips(store, training_set, "test")
    unfitted = XGBOOST.make_pipeline(FEW_TREES, seed=3)
    parts = fit_on_all_rows(XGBOOST, unfitted, store, training_set, *roles, seed=3)
    whole = XGBOOST.make_pipeline(FEW_TREES, seed=3).fit(trips, trips[TARGET.name])
    sample = load_trips(store, training_set, *roles, max_rows=1_000, seed=3)
    less = XGBOOST.make_pipeline(FEW_TREES, seed=3).fit(sample, sample[TARGET.name])
    rmse = {
        name: root_mean_squared_error(test[TARGET.name], pipeline.predict(test))
        for name, pipeline in {"parts": parts, "whole": whole, "less": less}.items()
    }
    assert rmse["parts"] == pytest.approx(rmse["whole"], rel=0.005)
    assert rmse["less"] > max(rmse["parts"], rmse["whole"])


def test_a_model_fitted_on_all_rows_says_how(stored):
    store, training_set = stored
    splits = load_splits(store, training_set, max_rows=1_500, seed=3, fit_all=True)
    options = TuningOptions(TuningBudget(trials=0, seed=3), warm_start=FEW_TREES)
    record = train_and_evaluate.train_and_evaluate(XGBOOST, training_set, splits, options).record
    assert record.rows is not None
    available = training_set.rows_in("train", "validation")
    assert (record.rows.fitted, record.rows.sample_rows) == (available, 1_500)
    assert record.rows.description == f"all {available:,} trips, tuned on a sample of 1,500"
    assert record.interval is not None


def test_a_family_without_batches_is_refused(stored):
    store, training_set = stored
    lasso = FAMILIES["lasso"]
    with pytest.raises(ValueError, match="lasso cannot be fitted in batches: choose a number"):
        fit_on_all_rows(lasso, lasso.make_pipeline(), store, training_set, "train", seed=0)


@pytest.mark.parametrize(
    ("name", "rows", "available", "expected"),
    [
        ("xgboost", FittedRows(fitted=9, available=9), 9, False),
        ("xgboost", FittedRows(fitted=9, available=9), 3_000_000, True),
        ("xgboost", FittedRows(fitted=9, available=9, sample_rows=7), 12, True),
        ("xgboost", FittedRows(fitted=9, available=9, max_rows=2_000_000), 3_000_000, False),
        ("xgboost", None, 3_000_000, True),
        ("lasso", FittedRows(fitted=9, available=9), 3_000_000, False),
    ],
    ids=["few rows", "more months", "already in parts", "bounded", "old record", "in memory only"],
)
def test_a_model_is_fitted_again_as_it_was(name, rows, available, expected):
    assert is_fitted_in_parts(FAMILIES[name], rows, available) == expected


@pytest.mark.parametrize(
    ("max_rows", "fit_all", "expected"),
    [(None, False, (None, None)), (4_000, False, (4_000, None)), (4_000, True, (None, 4_000)),
     (6_000, False, (6_000, None)), (6_000, True, (None, None))],
)  # fmt: skip
def test_the_record_has_the_bound_that_was_stated(stored, monkeypatch, max_rows, fit_all, expected):
    monkeypatch.setattr(train_and_evaluate, "MAX_VALIDATION_ROWS", 500)
    store, training_set = stored
    splits = load_splits(store, training_set, max_rows, fit_all=fit_all)
    assert len(splits.validation) == 500
    rows = splits.fitted_rows("train", "validation")
    assert (rows.max_rows, rows.sample_rows) == expected
    assert rows.available == 5_000
    assert rows.fitted == (4_000 if expected == (4_000, None) else 5_000)
