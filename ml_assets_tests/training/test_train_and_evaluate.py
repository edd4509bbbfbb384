"""Training and judging one family: what may have a say in a model, and what must not."""

import functools

import numpy as np
import pandas as pd
import pytest

from ml_assets.evaluation.records import MonthUse, TrainingSet
from ml_assets.pipeline.background_sample import get_background_sample
from ml_assets.pipeline.conformal_intervals import calibrate, get_intervals, interval_bounds
from ml_assets.training.families import FAMILIES
from ml_assets.training.train_and_evaluate import (
    Splits,
    TuningOptions,
    evaluate_baselines,
    train_and_evaluate,
)
from ml_assets.training.tune import TuningBudget
from ml_assets_tests.training.sample_trips import train_trips, trips_of, tune_trips


def training_set(**roles: str) -> TrainingSet:
    uses = [
        MonthUse(month=month, role=role, rows=1, raw_sha256="0", source="s", code_version="1")
        for role, month in roles.items()
    ]
    return TrainingSet(
        dataset="green", taxi="green", synthetic=False, months=uses, caveat=None, gaps=[],
        code_version="1",
    )  # fmt: skip


THREE = training_set(train="2023-01", tune="2023-02", judge="2023-03")
TWO = training_set(train="2023-01", tune="2023-02", judge="2023-02")


@functools.cache
def months() -> Splits:
    train, tune = train_trips(), tune_trips()
    both = pd.concat([train, tune], ignore_index=True)
    return Splits(both, both.iloc[: len(train)], both.iloc[len(train) :], trips_of(4))


def with_other_judge_minutes() -> Splits:
    """The same requests to judge, but with durations that no longer belong to them."""
    known = months()
    judge = known.judge.assign(duration_minutes=known.judge["duration_minutes"].to_numpy()[::-1])
    return Splits(known.train_and_tune, known.train, known.tune, judge)


@pytest.mark.parametrize("name", ["linear_svr", "xgboost", "gradient_boosting"])
def test_what_happened_in_the_judged_month_has_no_say_in_the_model(name: str) -> None:
    options = TuningOptions(TuningBudget(trials=2))
    one = train_and_evaluate(FAMILIES[name], THREE, months(), options)
    other = train_and_evaluate(FAMILIES[name], THREE, with_other_judge_minutes(), options)
    np.testing.assert_array_equal(one.predicted, other.predicted)
    assert one.record.test.rmse != other.record.test.rmse


def test_the_model_that_is_judged_is_fitted_on_what_the_option_says() -> None:
    family, budget = FAMILIES["linear_svr"], TuningBudget(trials=0)
    both = train_and_evaluate(family, THREE, months(), TuningOptions(budget))
    train = train_and_evaluate(family, THREE, months(), TuningOptions(budget, fit_on="train"))
    assert both.record.fitted_on == ["2023-01", "2023-02"]
    assert train.record.fitted_on == ["2023-01"]
    assert train.record.tuned_on == both.record.tuned_on == ["2023-02"]
    for judged, fitted_on in ((both, months().train_and_tune), (train, months().train)):
        again = family.make_pipeline().fit(fitted_on, fitted_on["duration_minutes"])
        np.testing.assert_allclose(judged.predicted, again.predict(months().judge), rtol=1e-9)


def test_with_two_months_only_the_first_is_fitted_on() -> None:
    train, judge = train_trips(), trips_of(4)
    two = Splits(train, train, judge, judge)
    judged = train_and_evaluate(FAMILIES["lasso"], TWO, two, TuningOptions(TuningBudget(trials=0)))
    assert judged.record.fitted_on == ["2023-01"]
    assert judged.record.validation == judged.record.test


def test_baselines_may_learn_from_the_same_months_as_models() -> None:
    mean = next(row for row in evaluate_baselines(THREE, months()) if row.model == "global_mean")
    assert mean.fitted_on == ["2023-01", "2023-02"]
    error = months().judge["duration_minutes"] - months().train_and_tune["duration_minutes"].mean()
    assert mean.test.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    tuned = months().tune["duration_minutes"] - months().train["duration_minutes"].mean()
    assert mean.validation.rmse == pytest.approx(np.sqrt(np.mean(tuned**2)))


def test_a_pair_that_the_tuning_month_taught_is_no_unseen_pair() -> None:
    family, budget = FAMILIES["linear_svr"], TuningBudget(trials=0)
    rows = {}
    for fit_on in ("train", "train_and_tune"):
        judged = train_and_evaluate(family, THREE, months(), TuningOptions(budget, fit_on=fit_on))
        rows[fit_on] = {part.slice: part.metrics.rows for part in judged.record.slices}
    assert rows["train"]["pair/unseen"] > rows["train_and_tune"]["pair/unseen"]


def test_the_error_on_rows_it_was_fitted_on_is_told_beside_the_others() -> None:
    options = TuningOptions(TuningBudget(trials=0))
    record = train_and_evaluate(FAMILIES["extra_trees"], THREE, months(), options).record
    assert record.train is not None
    assert record.train.rmse < record.test.rmse


@pytest.mark.parametrize(
    ("judge", "seen"), [("2023-01", True), ("2023-02", True), ("2023-03", False)]
)
def test_a_record_knows_which_months_had_a_say_in_it(judge: str, seen: bool) -> None:
    from ml_assets.trips.month import Month

    options = TuningOptions(TuningBudget(trials=0), fit_on="train")
    record = train_and_evaluate(FAMILIES["lasso"], THREE, months(), options).record
    assert record.has_seen(Month.parse(judge)) is seen
    unknown = record.model_copy(update={"tuned_on": []})  # as records were written before
    assert unknown.has_seen(Month.parse("2023-03"))


def test_intervals_are_calibrated_on_the_fit_that_had_not_seen_the_tuning_month() -> None:
    family, budget = FAMILIES["linear_svr"], TuningBudget(trials=0)
    judged = train_and_evaluate(family, THREE, months(), TuningOptions(budget))
    trained = family.make_pipeline().fit(months().train, months().train["duration_minutes"])
    predicted = trained.predict(months().tune)
    expected = calibrate(predicted, months().tune["duration_minutes"])
    kept = get_intervals(judged.pipeline)
    assert kept is not None and judged.record.fitted_on == ["2023-01", "2023-02"]
    np.testing.assert_allclose(kept.bounds(predicted), expected.bounds(predicted))


def test_the_record_says_how_many_judged_trips_the_intervals_hold_and_how_wide_they_are() -> None:
    judged = train_and_evaluate(
        FAMILIES["lasso"], THREE, months(), TuningOptions(TuningBudget(trials=0), fit_on="train")
    )
    bounds = interval_bounds(judged.pipeline, judged.predicted)
    assert bounds is not None and judged.record.interval is not None
    measured, (lower, upper) = judged.record.interval, bounds
    actual = judged.judged["duration_minutes"]
    assert measured.coverage == pytest.approx(actual.between(lower, upper).mean())
    assert measured.mean_width == pytest.approx(np.mean(upper - lower))
    # Golden, on the synthetic sample.
    assert measured.coverage == pytest.approx(0.829, abs=0.005)
    assert measured.mean_width == pytest.approx(12.33, abs=0.05)
    sizes = {part.slice: part.metrics.rows for part in judged.record.slices}
    assert {part.slice: part.rows for part in measured.slices} == sizes


def test_a_baseline_has_no_intervals() -> None:
    assert {row.interval for row in evaluate_baselines(THREE, months())} == {None}


@pytest.mark.parametrize("fit_on", ["train", "train_and_tune"])
def test_typical_requests_are_of_the_months_that_the_model_was_fitted_on(fit_on: str) -> None:
    options = TuningOptions(TuningBudget(trials=0), fit_on=fit_on)  # type: ignore[arg-type]
    judged = train_and_evaluate(FAMILIES["lasso"], THREE, months(), options)
    kept = get_background_sample(judged.pipeline)
    assert kept is not None
    chosen = set(kept.pickup_datetime.astype("datetime64[M]").astype(str))
    both = {"2023-01", "2023-02"}  # train_trips() are of two months, tune_trips() of a third
    assert chosen == (both if fit_on == "train" else {*both, "2023-03"})
