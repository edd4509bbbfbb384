"""Checks of a fitted model, used by the asset checks and by the promotion.

:func:`run_model_checks` loads a stored model, predicts the test month with and without distances,
once each, and applies every check to the result. The checks themselves are pure functions.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from ml_assets.evaluation.interval_coverage import interval_coverage, measure_intervals
from ml_assets.evaluation.leaderboard import MODES
from ml_assets.evaluation.leakage import check_leakage, check_memorization
from ml_assets.evaluation.metrics import measure
from ml_assets.evaluation.records import (
    IntervalRecord,
    MetricsRecord,
    ModelRecord,
    TrainingSet,
    comparable_share,
)
from ml_assets.pipeline.predict import predict_modes, without_distance
from ml_assets.secrets import error_text
from ml_assets.trips.quality.finding import Finding, Verdict, worst
from ml_assets.trips.target import TARGET

MODEL_CHECKS: Final = (
    "better_than_baselines",
    "predictions_in_range",
    "serialization_round_trip",
    "no_test_leakage",
    "fit_time_within_budget",
    "interval_coverage",
)
"""Names of the checks of :func:`run_model_checks`, which are those of the asset checks."""

NO_INTERVALS: Final = Finding(Verdict.SKIP, "the model cannot be loaded and used")

MAX_PREDICTION = 3.0 * TARGET.upper
"""A prediction of more than three times the largest value of a kept trip is an error."""

MIN_FIT_CPU_SECONDS = 120.0
FIT_CPU_SECONDS_PER_MILLION_TRIPS = 600.0
"""Processor time over all threads, which does not depend on the load of the machine. Seven families
on a year of green trips (0.8 M) then take at most half an hour on two cores."""

METRICS_TOLERANCE = 1e-9
"""Relative difference up to which metrics count as equal: threads that sum trees in another order
change the last bits of a forest's predictions."""


@dataclass(frozen=True)
class TestSet:
    """The trips that models are tested on.

    Attributes:
        training_set: The training set, with the test month.
        trips: Trips of the test month: request columns and ``duration_minutes``.
    """

    __test__: ClassVar[bool] = False  # not a test for pytest

    training_set: TrainingSet
    trips: pd.DataFrame


@dataclass(frozen=True)
class ModelChecks:
    """Results of the checks of a stored model.

    Attributes:
        findings: Findings by the name of the check.
        pipeline: The loaded model; None when it could not be loaded and used.
        predicted: Its predictions for the test month, minutes; None when it could not be used.
        predicted_usual: The same without distances.
        intervals: Coverage of its prediction intervals; None without intervals or if not measured.
        usual_intervals: The same without distances.
        fault: Why it could not be loaded and used; empty when it was.
    """

    findings: Mapping[str, Finding]
    pipeline: Pipeline | None = None
    predicted: npt.NDArray[np.float64] | None = None
    predicted_usual: npt.NDArray[np.float64] | None = None
    intervals: IntervalRecord | None = None
    usual_intervals: IntervalRecord | None = None
    fault: str = ""


class UnusableModel(RuntimeError):
    """A stored model cannot be loaded or does not predict; the message says why."""


def load_and_predict(
    load: Callable[[], Pipeline], trips: pd.DataFrame
) -> tuple[Pipeline, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Load a stored model, once, and predict trips with and without their distances.

    Returns:
        The pipeline, and the minutes with and without distances.

    Raises:
        UnusableModel: It cannot be loaded or does not predict.
    """
    try:
        pipeline = load()
        return pipeline, *predict_modes(pipeline, trips)
    except Exception as error:
        raise UnusableModel(error_text(error)) from error


def run_model_checks(
    load: Callable[[], Pipeline],
    record: ModelRecord,
    test_set: TestSet,
    baselines: Sequence[ModelRecord],
    names: Collection[str] = MODEL_CHECKS,
) -> ModelChecks:
    """Load a stored model, predict the test month and apply the checks.

    Args:
        load: Returns the stored pipeline; called once.

    Returns:
        A finding for each name. A model that cannot be loaded and used fails the checks that need
        its predictions; the other checks use its record only.
    """
    training_set, trips = test_set.training_set, test_set.trips
    checks: dict[str, Callable[[], Finding]] = {
        "better_than_baselines": lambda: better_than_baselines(record, baselines),
        "fit_time_within_budget": lambda: fit_time_within_budget(
            record, _fitted_trips(training_set, record)
        ),
        "no_test_leakage": lambda: check_leakage(training_set, record, baselines),
    }
    try:
        pipeline, predicted, predicted_usual = load_and_predict(load, trips)
    except UnusableModel as error:
        fault = str(error)
        unusable = Finding(
            Verdict.FAIL,
            f"{record.model_uri or 'a model without URI'} cannot be loaded and used ({fault}): "
            "materialize the model again",
        )
        checks |= {
            "predictions_in_range": lambda: unusable,
            "serialization_round_trip": lambda: unusable,
            "interval_coverage": lambda: NO_INTERVALS,
        }
        return ModelChecks({name: checks[name]() for name in names}, fault=fault)
    intervals = usual_intervals = None
    if "interval_coverage" in names:
        intervals = measure_intervals(pipeline, trips, predicted)
        usual_intervals = measure_intervals(pipeline, without_distance(trips), predicted_usual)
    leakage = checks["no_test_leakage"]
    checks |= {
        "predictions_in_range": lambda: worst(
            [predictions_in_range(predicted), predictions_in_range(predicted_usual, MODES["usual"])]
        ),
        "serialization_round_trip": lambda: same_predictions(
            record, predicted, trips[TARGET.name], predicted_usual
        ),
        "no_test_leakage": lambda: worst(
            [leakage(), check_memorization(pipeline, trips, predicted)]
        ),
        "interval_coverage": lambda: interval_coverage(
            intervals, usual_intervals, training_set.validation_is_test
        ),
    }
    findings = {name: checks[name]() for name in names}
    return ModelChecks(findings, pipeline, predicted, predicted_usual, intervals, usual_intervals)


def _fitted_trips(training_set: TrainingSet, record: ModelRecord) -> int:
    if record.rows is not None:
        return record.rows.fitted
    rows = {use.month: use.rows for use in training_set.months}
    return sum(rows.get(month, 0) for month in record.training_months)


def predictions_digest(predicted: npt.ArrayLike) -> str:
    """Return the SHA-256 of predictions as little-endian doubles, in order."""
    return hashlib.sha256(np.ascontiguousarray(predicted, dtype="<f8").tobytes()).hexdigest()


def better_than_baselines(record: ModelRecord, baselines: Sequence[ModelRecord]) -> Finding:
    """Check that the model's RMSE is below that of every baseline on the same test month.

    Requests with and without a distance are weighted as in the leaderboard, where all rows have
    both errors; older ones are compared with the metered distance.

    Raises:
        ValueError: There is no baseline, or one was evaluated on other trips.
    """
    if not baselines:
        raise ValueError("no baseline to compare with: evaluate at least one")
    for baseline in baselines:
        if baseline.test.rows != record.test.rows:
            raise ValueError(
                f"baseline {baseline.model} was evaluated on {baseline.test.rows} trips, "
                f"{record.model} on {record.test.rows}: evaluate both on the same month"
            )
    share = comparable_share([record, *baselines])
    rmse = record.request_rmse(share)
    of_baselines = {row.model: row.request_rmse(share) for row in baselines}
    # Negated, so that a NaN never counts as beaten.
    unbeaten = [f"{name} ({error:.3f})" for name, error in of_baselines.items() if not rmse < error]
    best, lowest = min(of_baselines.items(), key=lambda item: item[1])
    requests = "" if share == 1 else f" on requests of which {share:.0%} state their distance"
    if unbeaten:
        sentence = (
            f"RMSE {rmse:.3f} {TARGET.symbol}{requests} is not below {', '.join(unbeaten)}, so it "
            "is not promoted: try more tuning trials or months"
        )
        return Finding(Verdict.WARN, sentence, rmse, 0.0, lowest)
    sentence = (
        f"RMSE {rmse:.3f} {TARGET.symbol}{requests} is below every baseline, the best being {best} "
        f"({lowest:.3f})"
    )
    return Finding(Verdict.PASS, sentence, rmse, 0.0, lowest)


def predictions_in_range(predicted: npt.ArrayLike, mode: str = "") -> Finding:
    """Check that every prediction is finite, above 0 and at most ``MAX_PREDICTION``.

    Args:
        mode: Words for the mode of the requests, such as "without a distance".
    """
    minutes = np.asarray(predicted, dtype=np.float64).ravel()
    if not len(minutes):
        return Finding(Verdict.FAIL, "there are no predictions")
    finite = minutes[np.isfinite(minutes)]
    not_finite = len(minutes) - len(finite)
    not_positive = int(np.count_nonzero(finite <= 0))
    too_long = int(np.count_nonzero(finite > MAX_PREDICTION))
    longest = float(finite.max()) if len(finite) else None
    predictions = f"predictions {mode}".rstrip()
    allowed = f"finite, above 0 and at most {MAX_PREDICTION:.0f} {TARGET.unit}"
    if not_finite or not_positive or too_long:
        sentence = (
            f"of {len(minutes):,} {predictions} {not_finite:,} are not finite, {not_positive:,} "
            f"are not above 0 and {too_long:,} exceed {MAX_PREDICTION:.0f} {TARGET.unit}; allowed: "
            f"{allowed}"
        )
        return Finding(Verdict.FAIL, sentence, longest, 0.0, MAX_PREDICTION)
    sentence = f"all {len(minutes):,} {predictions} are {allowed}"
    return Finding(Verdict.PASS, sentence, longest, 0.0, MAX_PREDICTION)


def same_predictions(
    record: ModelRecord,
    predicted: npt.ArrayLike,
    actual: npt.ArrayLike,
    predicted_usual: npt.ArrayLike | None = None,
) -> Finding:
    """Check that the loaded model predicts what it predicted when it was fitted.

    Equal digests mean equal bits. Otherwise the metrics on the test month have to agree within
    ``METRICS_TOLERANCE``.

    Args:
        predicted: Predictions of the loaded model for the same test month, minutes.
        actual: Durations of that month, minutes.
        predicted_usual: Its predictions without distances, if these are to be compared as well.
            They are not where the record is of a version that did not evaluate them.
    """
    stated = _same(record.test, record.predictions_sha256, predicted, actual)
    if predicted_usual is None or record.usual is None:
        return stated
    known = record.usual
    usual = _same(known.test, known.predictions_sha256, predicted_usual, actual, MODES["usual"])
    return worst([stated, usual])


def _same(
    known: MetricsRecord,
    sha256: str | None,
    predicted: npt.ArrayLike,
    actual: npt.ArrayLike,
    mode: str = "",
) -> Finding:
    minutes = np.asarray(predicted, dtype=np.float64)
    predictions = f"predictions {mode}".rstrip()
    if sha256 == predictions_digest(minutes):
        sentence = f"all {len(minutes):,} {predictions} are equal, bit for bit"
        return Finding(Verdict.PASS, sentence, 0.0, 0.0, METRICS_TOLERANCE)
    remedy = "materialize the model again, with the library versions that load it"
    if not np.isfinite(minutes).all():
        sentence = f"after loading, not all {predictions} are finite: {remedy}"
        return Finding(Verdict.FAIL, sentence)
    before, after = known.model_dump(), measure(actual, minutes).model_dump()
    names = ("rmse", "mae", "mape", "share_within_5_minutes", "rows")
    difference = max(
        abs(after[name] - before[name]) / max(abs(before[name]), 1e-12) for name in names
    )
    if difference <= METRICS_TOLERANCE:
        sentence = (
            f"all {len(minutes):,} {predictions} are equal but for the last bits (metrics differ "
            f"by {difference:.0e}), since threads sum in another order"
        )
        return Finding(Verdict.PASS, sentence, difference, 0.0, METRICS_TOLERANCE)
    sentence = (
        f"after loading, the {predictions} differ: RMSE {after['rmse']:.6f} instead of "
        f"{before['rmse']:.6f}; {remedy}"
    )
    return Finding(Verdict.FAIL, sentence, difference, 0.0, METRICS_TOLERANCE)


def fit_time_within_budget(record: ModelRecord, trips: int) -> Finding:
    """Check that the fit took no more processor time than the budget for its number of trips.

    Args:
        record: The model's record; old ones have the wall time only, which is used instead.
    """
    budget = max(MIN_FIT_CPU_SECONDS, FIT_CPU_SECONDS_PER_MILLION_TRIPS * trips / 1e6)
    measured = record.fit_cpu_seconds is not None
    spent = record.fit_seconds if record.fit_cpu_seconds is None else record.fit_cpu_seconds
    sentence = (
        f"fitted on {trips:,} trips in {spent:.1f} s{' of processor time' if measured else ''}, "
        f"budget {budget:.0f} s"
    )
    if spent <= budget:
        return Finding(Verdict.PASS, sentence, spent, 0.0, budget)
    return Finding(Verdict.WARN, f"{sentence}: use fewer trees or months", spent, 0.0, budget)
