"""Whether a model is fit to serve: what is refused, what is merely odd, and the words for it."""

import math
from typing import Any, ClassVar

import numpy as np
import pytest

from ml_assets.evaluation.leakage import check_leakage
from ml_assets.evaluation.metrics import measure
from ml_assets.evaluation.model_checks import (
    MIN_FIT_CPU_SECONDS,
    TestSet,
    better_than_baselines,
    fit_time_within_budget,
    predictions_digest,
    predictions_in_range,
    run_model_checks,
    same_predictions,
)
from ml_assets.evaluation.records import (
    MetricsRecord,
    ModelRecord,
    MonthSplit,
    Role,
    TrainingSet,
    UsualRecord,
)
from ml_assets.pipeline.conformal_intervals import attach_intervals, calibrate
from ml_assets.pipeline.features import RequestFeatures
from ml_assets.pipeline.predict import without_distance
from ml_assets.training.families import FAMILIES
from ml_assets.trips.quality.finding import Verdict
from ml_assets_tests.training.sample_trips import train_trips, trips_of


def record(model: str, rmse: float, rows: int = 100, **fields) -> ModelRecord:
    figures = MetricsRecord(
        rmse=rmse, mae=2.0, mape=0.2, r2=0.8, share_within_5_minutes=0.8, rows=rows
    )
    known = {
        "kind": "model",
        "training_set": "0" * 16,
        "training_months": ["2023-01"],
        "validation": figures,
        "test": figures,
        "slices": [],
        "predict_seconds": 0.1,
        "size_bytes": 1,
    }
    return ModelRecord(model=model, **{**known, **fields})


def baseline(model: str, rmse: float, rows: int = 100) -> ModelRecord:
    return record(model, rmse, rows, kind="baseline")


def test_a_model_must_beat_every_baseline_not_just_some():
    mean, line = baseline("global_mean", 9.0), baseline("distance_line", 6.0)
    found = better_than_baselines(record("lasso", 4.0), [mean, line])
    assert (found.verdict, found.value, found.upper) == (Verdict.PASS, 4.0, 6.0)
    assert "distance_line (6.000)" in found.sentence
    found = better_than_baselines(record("lasso", 6.0), [mean, line])
    assert found.verdict == Verdict.WARN, "as good as a baseline is not better"
    assert "distance_line (6.000)" in found.sentence and "global_mean" not in found.sentence
    assert better_than_baselines(record("lasso", math.nan), [mean]).verdict == Verdict.WARN


def test_a_comparison_without_a_fair_baseline_is_refused():
    with pytest.raises(ValueError, match="no baseline"):
        better_than_baselines(record("lasso", 4.0), [])
    with pytest.raises(ValueError, match="global_mean was evaluated on 7 trips"):
        better_than_baselines(record("lasso", 4.0), [baseline("global_mean", 9.0, rows=7)])


@pytest.mark.parametrize(
    ("predicted", "verdict", "words"),
    [
        ([0.1, 12.0, 180.0], Verdict.PASS, "all 3 predictions"),
        ([12.0, math.nan], Verdict.FAIL, "1 are not finite"),
        ([12.0, -math.inf, math.inf], Verdict.FAIL, "2 are not finite"),
        ([12.0, 0.0, -3.0], Verdict.FAIL, "2 are not above 0"),
        ([12.0, 180.1], Verdict.FAIL, "1 exceed 180"),
        ([math.nan], Verdict.FAIL, "1 are not finite"),
        ([], Verdict.FAIL, "no prediction"),
    ],
)
def test_sane_predictions_are_finite_positive_and_of_believable_length(predicted, verdict, words):
    found = predictions_in_range(predicted)
    assert found.verdict == verdict
    assert words in found.sentence


def test_the_same_predictions_are_the_same_to_the_last_bit_or_nearly_so():
    actual = np.array([10.0, 20.0, 30.0])
    predicted = np.array([11.0, 19.0, 33.0])
    known = record(
        "forest",
        4.0,
        test=measure(actual, predicted),
        predictions_sha256=predictions_digest(predicted),
    )
    assert "bit for bit" in same_predictions(known, predicted, actual).sentence
    nearly = np.nextafter(predicted, 100.0)
    found = same_predictions(known, nearly, actual)
    assert found.verdict == Verdict.PASS and "last bits" in found.sentence
    assert same_predictions(known, predicted + 0.01, actual).verdict == Verdict.FAIL
    assert same_predictions(known, predicted * np.nan, actual).verdict == Verdict.FAIL


def in_both_modes(row: ModelRecord, usual: float) -> ModelRecord:
    test = row.test.model_copy(update={"rmse": usual})
    return row.model_copy(update={"usual": UsualRecord(test=test, slices=[])})


def test_baselines_are_compared_on_requests_with_and_without_a_distance():
    model = in_both_modes(record("lasso", 4.0), 6.0)
    better_without = in_both_modes(baseline("zone_pair_mean", 5.0), 4.5)
    found = better_than_baselines(model, [better_without])
    assert found.verdict == Verdict.WARN and "50% state their distance" in found.sentence
    only_metered = better_than_baselines(model, [baseline("zone_pair_mean", 5.0)])
    assert only_metered.verdict == Verdict.PASS and only_metered.value == 4.0


def test_a_round_trip_compares_the_predictions_without_a_distance_too():
    actual, predicted = np.array([5.0, 10.0, 20.0]), np.array([6.0, 9.0, 18.0])
    test, sha256 = measure(actual, predicted), predictions_digest(predicted)
    usual = UsualRecord(test=test, predictions_sha256=sha256, slices=[])
    known = record("lasso", 4.0, test=test, predictions_sha256=sha256, usual=usual)
    assert same_predictions(known, predicted, actual, predicted).verdict == Verdict.PASS
    found = same_predictions(known, predicted, actual, predicted + 0.01)
    assert (
        found.verdict == Verdict.FAIL and "predictions without a distance differ" in found.sentence
    )
    old = known.model_copy(update={"usual": None})
    assert same_predictions(old, predicted, actual, predicted + 0.01).verdict == Verdict.PASS


class CountingFeatures(RequestFeatures):
    """Counts how often a whole month is encoded."""

    pickups: ClassVar[Any] = None
    months: ClassVar[int] = 0

    def transform(self, requests):
        # The check for memorization changes the times.
        CountingFeatures.months += requests["pickup_datetime"].equals(self.pickups)
        return super().transform(requests)


def test_the_month_is_encoded_once_for_both_modes():
    trips = trips_of(4)
    pipeline = FAMILIES["lasso"].make_pipeline()
    pipeline.steps[0] = ("features", CountingFeatures())
    pipeline.fit(train_trips(), train_trips()["duration_minutes"])
    attach_intervals(pipeline, calibrate([10.0] * 60, [10.0] * 60))
    CountingFeatures.pickups = trips["pickup_datetime"]
    known = record("lasso", 4.0, predictions_sha256=predictions_digest(pipeline.predict(trips)))
    CountingFeatures.months = 0
    checks = run_model_checks(
        lambda: pipeline, known, TestSet(months(), trips), [baseline("global_mean", 9.0)]
    )
    assert CountingFeatures.months == 1
    assert checks.findings["serialization_round_trip"].verdict == Verdict.PASS
    assert checks.predicted_usual is not None and checks.intervals is not None
    assert np.array_equal(checks.predicted_usual, pipeline.predict(without_distance(trips)))
    assert checks.intervals.coverage < 0.1
    assert checks.findings["interval_coverage"].verdict == Verdict.WARN


def test_predictions_without_a_distance_must_be_in_range_as_well():
    trips = trips_of(4)
    pipeline = FAMILIES["lasso"].make_pipeline()
    pipeline.fit(train_trips(), train_trips()["duration_minutes"])
    pipeline[-1].without_distance_.intercept_ = np.nan
    known = record("lasso", 4.0)
    names = ["predictions_in_range"]
    with np.errstate(invalid="ignore"):
        checks = run_model_checks(lambda: pipeline, known, TestSet(months(), trips), [], names)
    found = checks.findings["predictions_in_range"]
    assert found.verdict == Verdict.FAIL
    assert "without a distance" in found.sentence


def test_a_fit_beyond_its_budget_of_processor_time_is_odd_however_long_a_busy_machine_took():
    quick = record("lasso", 4.0, fit_seconds=3600.0, fit_cpu_seconds=MIN_FIT_CPU_SECONDS)
    slow = record("lasso", 4.0, fit_seconds=1.0, fit_cpu_seconds=MIN_FIT_CPU_SECONDS + 1)
    assert fit_time_within_budget(quick, 1000).verdict == Verdict.PASS
    assert fit_time_within_budget(slow, 1000).verdict == Verdict.WARN
    assert fit_time_within_budget(slow, 1_000_000).verdict == Verdict.PASS
    older = record("lasso", 4.0, fit_seconds=MIN_FIT_CPU_SECONDS + 1)
    assert fit_time_within_budget(older, 1000).verdict == Verdict.WARN
    assert "processor" not in fit_time_within_budget(older, 1000).sentence


def months(train="2023-01", validation="2023-02", test="2023-03") -> TrainingSet:
    roles: dict[Role, str] = {"train": train, "validation": validation, "test": test}
    uses = [
        MonthSplit(month=month, role=role, rows=9, raw_sha256="a", source="s", code_version="1")
        for role, month in roles.items()
    ]
    return TrainingSet(
        dataset="green", taxi="green", synthetic=False, months=uses, caveat=None, gaps=[],
        code_version="1",
    )  # fmt: skip


def moved(model: str, before: float, after: float, rows: int = 60_000, **fields) -> ModelRecord:
    """A model whose RMSE went from the one on the validation month to the other on the test month."""
    return record(
        model, after, rows, validation=record("", before, rows).test,
        training_months=fields.pop("training_months", ["2023-01", "2023-02"]), validation_months=["2023-02"], **fields,
    )  # fmt: skip


HARDER_MONTH = [moved("global_mean", 9.0, 9.9), moved("distance_line", 6.0, 6.6)]


def test_a_model_that_was_fitted_on_the_test_month_is_refused():
    leaking = moved("xgboost", 4.0, 4.4, training_months=["2023-01", "2023-03"])
    found = check_leakage(months(), leaking, HARDER_MONTH)
    assert found.verdict == Verdict.FAIL
    assert "fitted or tuned on 2023-03" in found.sentence


@pytest.mark.parametrize(
    ("after", "verdict"),
    [(4.4, Verdict.PASS), (4.0, Verdict.PASS), (3.9, Verdict.FAIL), (0.1, Verdict.FAIL)],
)
def test_an_error_far_below_the_baselines_indicates_leakage(after, verdict):
    """In a month that is a tenth harder, an honest model errs about a tenth more."""
    found = check_leakage(months(), moved("xgboost", 4.0, after), HARDER_MONTH)
    assert found.verdict == verdict
    if verdict == Verdict.FAIL:
        assert "the model seems to have seen the test trips" in found.sentence


def test_a_few_test_trips_show_only_a_gross_leak():
    for after, verdict in ((3.0, Verdict.PASS), (1.0, Verdict.FAIL)):
        found = check_leakage(months(), moved("lasso", 4.0, after, rows=400), HARDER_MONTH)
        assert found.verdict == verdict


def test_with_two_months_validating_on_the_test_month_is_no_leak():
    two = months(validation="2023-02", test="2023-02")
    model = moved("xgboost", 4.0, 4.0, training_months=["2023-01"])
    assert check_leakage(two, model, HARDER_MONTH).verdict == Verdict.PASS
