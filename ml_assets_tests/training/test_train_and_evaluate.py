"""Training and evaluating one family: what may influence a model, and what must not."""

import functools
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from ml_assets.evaluation.metrics import pair_codes
from ml_assets.evaluation.records import ModelRecord, MonthSplit, Role, TrainingSet
from ml_assets.pipeline.background_sample import get_background_sample
from ml_assets.pipeline.conformal_intervals import (
    calibrate_pairs,
    get_intervals,
    get_usual_intervals,
    interval_bounds,
    seen_pairs,
)
from ml_assets.pipeline.predict import without_distance
from ml_assets.requests.parse import states_distance
from ml_assets.training.families import FAMILIES
from ml_assets.training.train_and_evaluate import (
    EvaluatedModel,
    Splits,
    TuningOptions,
    evaluate_baselines,
    load_splits,
    train_and_evaluate,
)
from ml_assets.training.training_set import build_training_set
from ml_assets.training.tune import TuningBudget
from ml_assets.training.windows import choose_window
from ml_assets.trips.month import Month
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.storage.stored_months import put_month, store_at
from ml_assets_tests.training.sample_trips import train_trips, trips_of, validation_trips


def training_set(**roles: str) -> TrainingSet:
    uses = [
        MonthSplit(month=month, role=role, rows=1, raw_sha256="0", source="s", code_version="1")
        for role, month in cast("dict[Role, str]", roles).items()
    ]
    return TrainingSet(
        dataset="green", taxi="green", synthetic=False, months=uses, caveat=None, gaps=[],
        code_version="1",
    )  # fmt: skip


THREE = training_set(train="2023-01", validation="2023-02", test="2023-03")
TWO = training_set(train="2023-01", validation="2023-02", test="2023-02")


@functools.cache
def months() -> Splits:
    train, validation = train_trips(), validation_trips()
    both = pd.concat([train, validation], ignore_index=True)
    return Splits(both, both.iloc[: len(train)], both.iloc[len(train) :], trips_of(4))


def seen_before(evaluated: EvaluatedModel, trips: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether the trips of the model's fit have the zone pair of each trip."""
    zones = (trips[name].to_numpy() for name in REQUEST_COLUMNS[:2])
    seen = seen_pairs(evaluated.pipeline, *zones)
    assert seen is not None
    return seen


def with_shuffled_test_minutes() -> Splits:
    """The same splits, but with the durations of the test trips reversed."""
    known = months()
    test = known.test.assign(duration_minutes=known.test["duration_minutes"].to_numpy()[::-1])
    return Splits(known.train_and_validation, known.train, known.validation, test)


@pytest.mark.parametrize("name", ["linear_svr", "xgboost", "gradient_boosting"])
def test_the_test_month_does_not_influence_the_model(name: str) -> None:
    options = TuningOptions(TuningBudget(trials=2))
    one = train_and_evaluate(FAMILIES[name], THREE, months(), options)
    other = train_and_evaluate(FAMILIES[name], THREE, with_shuffled_test_minutes(), options)
    np.testing.assert_array_equal(one.predicted, other.predicted)
    assert one.record.test.rmse != other.record.test.rmse


def test_the_refit_on_validation_determines_the_months_of_the_final_fit() -> None:
    family, budget = FAMILIES["linear_svr"], TuningBudget(trials=0)
    both = train_and_evaluate(family, THREE, months(), TuningOptions(budget))
    train = train_and_evaluate(
        family, THREE, months(), TuningOptions(budget, refit_on_validation=False)
    )
    assert both.record.training_months == ["2023-01", "2023-02"]
    assert train.record.training_months == ["2023-01"]
    assert train.record.validation_months == both.record.validation_months == ["2023-02"]
    for evaluated, training_trips in (
        (both, months().train_and_validation),
        (train, months().train),
    ):
        again = family.make_pipeline().fit(training_trips, training_trips["duration_minutes"])
        np.testing.assert_allclose(evaluated.predicted, again.predict(months().test), rtol=1e-9)


def test_with_two_months_only_the_first_is_fitted_on() -> None:
    train, test = train_trips(), trips_of(4)
    two = Splits(train, train, test, test)
    options = TuningOptions(TuningBudget(trials=0))
    record = train_and_evaluate(FAMILIES["lasso"], TWO, two, options).record
    assert record.training_months == ["2023-01"]
    assert record.validation == record.test


def test_baselines_are_fitted_on_the_same_months_as_models() -> None:
    mean = next(row for row in evaluate_baselines(THREE, months()) if row.model == "global_mean")
    assert mean.training_months == ["2023-01", "2023-02"]
    test, validation = months().test, months().validation
    error = test["duration_minutes"] - months().train_and_validation["duration_minutes"].mean()
    assert mean.test.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    error = validation["duration_minutes"] - months().train["duration_minutes"].mean()
    assert mean.validation.rmse == pytest.approx(np.sqrt(np.mean(error**2)))


def test_a_pair_of_the_validation_month_is_seen_after_the_final_fit() -> None:
    family, budget = FAMILIES["linear_svr"], TuningBudget(trials=0)
    rows = {}
    for refit in (False, True):
        options = TuningOptions(budget, refit_on_validation=refit)
        record = train_and_evaluate(family, THREE, months(), options).record
        rows[refit] = {part.slice: part.metrics.rows for part in record.slices}
    assert rows[False]["pair/unseen"] > rows[True]["pair/unseen"]


def test_the_training_error_is_recorded() -> None:
    options = TuningOptions(TuningBudget(trials=0))
    record = train_and_evaluate(FAMILIES["extra_trees"], THREE, months(), options).record
    assert record.train is not None
    assert record.train.rmse < record.test.rmse


@pytest.mark.parametrize(
    ("month", "seen"), [("2023-01", True), ("2023-02", True), ("2023-03", False)]
)
def test_a_record_knows_the_months_it_has_seen(month: str, seen: bool) -> None:
    from ml_assets.trips.month import Month

    options = TuningOptions(TuningBudget(trials=0), refit_on_validation=False)
    record = train_and_evaluate(FAMILIES["lasso"], THREE, months(), options).record
    assert record.has_seen(Month.parse(month)) is seen
    unknown = record.model_copy(update={"validation_months": []})  # as in old records
    assert unknown.has_seen(Month.parse("2023-03"))


def test_intervals_are_calibrated_before_the_fit_on_the_validation_month() -> None:
    family, budget = FAMILIES["linear_svr"], TuningBudget(trials=0)
    evaluated = train_and_evaluate(family, THREE, months(), TuningOptions(budget))
    trained = family.make_pipeline().fit(months().train, months().train["duration_minutes"])
    validation = months().validation
    assert evaluated.record.training_months == ["2023-01", "2023-02"]
    stated = validation[states_distance(validation["trip_distance"])]
    for kept, trips in (
        (get_intervals(evaluated.pipeline), stated),
        (get_usual_intervals(evaluated.pipeline), without_distance(validation)),
    ):
        predicted = trained.predict(trips)
        seen = np.isin(pair_codes(trips), pair_codes(months().train))
        expected = calibrate_pairs(predicted, trips["duration_minutes"].to_numpy(), seen)
        assert kept is not None
        np.testing.assert_allclose(kept.bounds(predicted, seen), expected.bounds(predicted, seen))


@pytest.mark.parametrize("name", ["linear_svr", "xgboost"])
def test_intervals_cover_requests_with_and_without_a_distance(name: str) -> None:
    options = TuningOptions(TuningBudget(trials=1))
    evaluated = train_and_evaluate(FAMILIES[name], THREE, months(), options)
    assert evaluated.record.usual is not None
    interval, usual = evaluated.record.interval, evaluated.record.usual.interval
    assert interval is not None and usual is not None
    recorded = [(part.coverage, part.mean_width) for part in (interval, usual)]
    assert evaluated.record.usual.test.rmse > evaluated.record.test.rmse
    widths, covers = [], []
    for trips in (months().test, without_distance(months().test)):
        minutes = evaluated.pipeline.predict(trips)
        stated = states_distance(trips["trip_distance"])
        bounds = interval_bounds(evaluated.pipeline, minutes, stated, seen_before(evaluated, trips))
        assert bounds is not None
        lower, upper = bounds
        covered = trips["duration_minutes"].between(lower, upper).mean()
        # Three standard errors of 1,425 test trips and 1,107 calibration trips of seen pairs.
        assert covered == pytest.approx(0.8, abs=0.048)
        covers.append(covered)
        widths.append(np.mean(upper - lower))
    assert widths[1] > widths[0], "without a distance less is known"
    assert recorded == [pytest.approx(each) for each in zip(covers, widths, strict=True)]


def test_the_record_has_coverage_and_width_of_the_intervals() -> None:
    evaluated = train_and_evaluate(
        FAMILIES["lasso"],
        THREE,
        months(),
        TuningOptions(TuningBudget(trials=0), refit_on_validation=False),
    )
    stated = states_distance(evaluated.test_trips["trip_distance"])
    seen = seen_before(evaluated, evaluated.test_trips)
    bounds = interval_bounds(evaluated.pipeline, evaluated.predicted, stated, seen)
    assert bounds is not None and evaluated.record.interval is not None
    measured, (lower, upper) = evaluated.record.interval, bounds
    actual = evaluated.test_trips["duration_minutes"]
    assert measured.coverage == pytest.approx(actual.between(lower, upper).mean())
    assert measured.mean_width == pytest.approx(np.mean(upper - lower))
    # Golden, on the synthetic sample.
    assert measured.coverage == pytest.approx(0.824, abs=0.005)
    assert measured.mean_width == pytest.approx(12.76, abs=0.05)
    sizes = {part.slice: part.metrics.rows for part in evaluated.record.slices}
    assert {part.slice: part.rows for part in measured.slices} == sizes


@pytest.mark.parametrize("refit", [False, True])
def test_seen_pairs_are_those_of_the_final_fit(refit: bool) -> None:
    options = TuningOptions(TuningBudget(trials=0), refit_on_validation=refit)
    evaluated = train_and_evaluate(FAMILIES["lasso"], THREE, months(), options)
    fitted, test = months().train_and_validation if refit else months().train, months().test
    expected = np.isin(pair_codes(test), pair_codes(fitted))
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(seen_before(evaluated, test), expected)


def test_a_baseline_has_no_intervals() -> None:
    assert {row.interval for row in evaluate_baselines(THREE, months())} == {None}


@pytest.mark.parametrize("refit", [False, True])
def test_the_background_sample_is_of_the_training_months(refit: bool) -> None:
    options = TuningOptions(TuningBudget(trials=0), refit_on_validation=refit)
    evaluated = train_and_evaluate(FAMILIES["lasso"], THREE, months(), options)
    sample = get_background_sample(evaluated.pipeline)
    assert sample is not None
    sampled = set(sample.pickup_datetime.astype("datetime64[M]").astype(str))
    both = {"2023-01", "2023-02"}  # train_trips() has two months, validation_trips() a third
    assert sampled == ({*both, "2023-03"} if refit else both)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store with three months, and a training set of them."""
    store = store_at(tmp_path_factory.mktemp("home"))
    for number, rows in ((1, 900), (2, 800), (3, 400)):
        put_month(store, Month(2023, number), rows)
    return store, build_training_set(store, choose_window(store.months("trip_features")))


def test_splits_within_the_bound_are_the_trips_themselves(stored):
    store, training_set = stored
    splits = load_splits(store, training_set)
    bounded = load_splits(store, training_set, max_rows=1_700)
    assert splits.sampled is bounded.sampled is None
    for name in ("train_and_validation", "train", "validation", "test"):
        assert getattr(splits, name).equals(getattr(bounded, name))


def test_a_bounded_model_says_so_and_is_tested_on_every_trip(stored):
    store, training_set = stored
    splits = load_splits(store, training_set, max_rows=500, seed=1)
    everything = load_splits(store, training_set)
    assert len(splits.train) == len(splits.train_and_validation) == 500
    for roles in (("train",), ("train", "validation")):
        known = np.unique(everything.pair_codes(*roles))
        assert np.array_equal(splits.pair_codes(*roles), known)
    options = TuningOptions(TuningBudget(trials=1))
    evaluated = train_and_evaluate(FAMILIES["linear_svr"], training_set, splits, options)
    assert evaluated.record.rows is not None
    assert evaluated.record.rows.description == (
        "500 of 1,700 trips, a sample stratified by month and pick-up zone"
    )
    assert evaluated.record.max_rows == 500
    assert evaluated.record.test.rows == len(everything.test) == 400
    # The slices of seen and unseen pairs are those of all trips, so that families can be compared.
    whole = train_and_evaluate(FAMILIES["linear_svr"], training_set, everything, options).record
    assert whole.rows is not None
    assert whole.rows.description == "all 1,700 trips"
    assert [(part.slice, part.metrics.rows) for part in evaluated.record.slices] == [
        (part.slice, part.metrics.rows) for part in whole.slices
    ]


@pytest.mark.parametrize("refit", [False, True], ids=["train", "train and validation"])
def test_the_tables_of_a_bounded_model_are_those_of_all_trips(stored, refit):
    store, training_set = stored
    splits = load_splits(store, training_set, max_rows=500, seed=1)
    options = TuningOptions(TuningBudget(trials=0), refit_on_validation=refit)
    evaluated = train_and_evaluate(FAMILIES["extra_trees"], training_set, splits, options)
    rows = evaluated.record.rows
    assert rows is not None
    available = 1_700 if refit else 900
    assert (rows.fitted, rows.available, rows.tables_of_all) == (500, available, True)
    assert rows.description.endswith("and pick-up zone, encoded by tables of all")
    tables = evaluated.pipeline[-2].tables_
    assert round(float(np.expm1(tables.log_pair_trips, dtype=float).sum())) == available
    sample = splits.of("train", "validation") if refit else splits.train
    alone = FAMILIES["extra_trees"].make_pipeline()[:-1].fit(sample, sample["duration_minutes"])
    assert np.expm1(alone[-1].tables_.log_pair_trips).sum() == pytest.approx(500)


def test_a_record_from_before_rows_were_recorded_is_read(stored):
    store, training_set = stored
    options = TuningOptions(TuningBudget(trials=0))
    splits = load_splits(store, training_set)
    record = train_and_evaluate(FAMILIES["linear_svr"], training_set, splits, options).record
    former = ModelRecord.model_validate(record.model_dump(exclude={"rows"}))
    assert former.rows is None
    assert former.max_rows is None
    assert record.rows is not None
