"""Is a fitted model fit to serve? The rules behind the asset checks on models and the promotion.

:func:`run_model_checks` loads a stored model once, predicts the test month once, and holds both to
every rule; the rules themselves are pure.
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
from ml_assets.evaluation.memorization import check_memorization
from ml_assets.evaluation.metrics import measure
from ml_assets.evaluation.records import IntervalRecord, ModelRecord, TrainingSet
from ml_assets.pipeline.predict import predict_trips
from ml_assets.secrets import error_text
from ml_assets.trips.quality import Finding, Verdict, worst
from ml_assets.trips.rules import TARGET

MODEL_CHECKS: Final = (
    "better_than_baselines",
    "predictions_in_range",
    "serialization_round_trip",
    "no_test_leakage",
    "fit_time_within_budget",
    "interval_coverage",
)
"""Names of the rules of :func:`run_model_checks`, as the asset checks are called."""

NO_INTERVALS: Final = Finding(Verdict.SKIP, "it cannot be loaded and used, so no interval is known")

LONGEST_SANE_MINUTES = 180.0
"""Kept trips last up to 60 minutes; three times that is no prediction any more but a fault."""

MIN_FIT_CPU_SECONDS = 120.0
FIT_CPU_SECONDS_PER_MILLION_TRIPS = 600.0
"""Processor time, over all threads: the same on a busy machine as on an idle one. Seven families on
a year of green trips (0.8 M) then end within half an hour on two cores."""

SAME_FIGURES = 1e-9
"""Relative difference up to which figures count as the same: threads that add up trees in another
order change the last bits of a forest's predictions."""

MIN_SHARE_OF_ERROR = 0.9
"""Measured with five families on green months 2023-03 to 2023-09: from the validation to the
test month an honest model's error moved by 0.98 to 1.08 of the baselines' move. With the test month
among three that were fitted, xgboost and the forests went down to 0.82 to 0.95; one that has
learned it by heart has hardly any error left."""

MIN_SHARE_ON_FEW_TRIPS = 0.5
FEW_TRIPS = 5_000
"""On so few test trips (the measured months have 60,000) the move is mostly chance."""


@dataclass(frozen=True)
class TestSet:
    """The trips that models are tested on.

    Attributes:
        training_set: Names the months and their roles.
        trips: Of the test month: request columns and ``duration_minutes``.
    """

    __test__: ClassVar[bool] = False  # no test of pytest

    training_set: TrainingSet
    trips: pd.DataFrame


@dataclass(frozen=True)
class ModelChecks:
    """What the rules say of a stored model.

    Attributes:
        findings: By the name of the rule.
        pipeline: The loaded model; None when it could not be loaded and used.
        predicted: Its minutes for the test month; None likewise.
        intervals: Coverage of its intervals on the test month; None without intervals, or when
            not measured.
        fault: Why it could not be loaded and used; empty when it could.
    """

    findings: Mapping[str, Finding]
    pipeline: Pipeline | None = None
    predicted: npt.NDArray[np.float64] | None = None
    intervals: IntervalRecord | None = None
    fault: str = ""


class UnusableModel(RuntimeError):
    """A stored model that cannot be loaded, or does not predict; says why."""


def load_and_predict(
    load: Callable[[], Pipeline], trips: pd.DataFrame
) -> tuple[Pipeline, npt.NDArray[np.float64]]:
    """A stored model, and its minutes for these trips.

    Args:
        load: Gives the stored pipeline; called once.
        trips: With the columns of requests.

    Raises:
        UnusableModel: whatever keeps it from being loaded or from predicting.
    """
    try:
        pipeline = load()
        return pipeline, predict_trips(pipeline, trips)
    except Exception as error:
        raise UnusableModel(error_text(error)) from error


def run_model_checks(
    load: Callable[[], Pipeline],
    record: ModelRecord,
    test_set: TestSet,
    baselines: Sequence[ModelRecord],
    names: Collection[str] = MODEL_CHECKS,
) -> ModelChecks:
    """Load a stored model, predict the test month with it, and hold it to its rules.

    Args:
        load: Gives the stored pipeline; called once.
        record: What the process that fitted the model recorded of it.
        test_set: Trips that the model is tested on.
        baselines: Measured on the same months.
        names: Of the rules to apply.

    Returns:
        A finding for each name. A model that cannot be loaded and used fails the rules that need
        its predictions; the others speak of its record.
    """
    training_set, trips = test_set.training_set, test_set.trips
    rules: dict[str, Callable[[], Finding]] = {
        "better_than_baselines": lambda: better_than_baselines(record, baselines),
        "fit_time_within_budget": lambda: fit_time_within_budget(
            record, _fitted_trips(training_set, record)
        ),
        "no_test_leakage": lambda: check_leakage(training_set, record, baselines),
    }
    try:
        pipeline, predicted = load_and_predict(load, trips)
    except UnusableModel as error:
        fault = str(error)
        unusable = Finding(
            Verdict.FAIL,
            f"{record.model_uri or 'a model without URI'} cannot be loaded and used ({fault}): "
            "materialize the model again",
        )
        rules |= {
            "predictions_in_range": lambda: unusable,
            "serialization_round_trip": lambda: unusable,
            "interval_coverage": lambda: NO_INTERVALS,
        }
        return ModelChecks({name: rules[name]() for name in names}, fault=fault)
    wanted = "interval_coverage" in names
    intervals = measure_intervals(pipeline, trips, predicted) if wanted else None
    leakage = rules["no_test_leakage"]
    rules |= {
        "predictions_in_range": lambda: predictions_in_range(predicted),
        "serialization_round_trip": lambda: same_predictions(record, predicted, trips[TARGET]),
        "no_test_leakage": lambda: worst(
            [leakage(), check_memorization(pipeline, trips, predicted)]
        ),
        "interval_coverage": lambda: interval_coverage(intervals, training_set.validation_is_test),
    }
    findings = {name: rules[name]() for name in names}
    return ModelChecks(findings, pipeline, predicted, intervals)


def _fitted_trips(training_set: TrainingSet, record: ModelRecord) -> int:
    rows = {use.month: use.rows for use in training_set.months}
    return sum(rows.get(month, 0) for month in record.training_months)


def predictions_digest(predicted: npt.ArrayLike) -> str:
    """SHA-256 over predictions as little-endian doubles, in order: equal means bit for bit."""
    return hashlib.sha256(np.ascontiguousarray(predicted, dtype="<f8").tobytes()).hexdigest()


def better_than_baselines(record: ModelRecord, baselines: Sequence[ModelRecord]) -> Finding:
    """The model's RMSE is below that of every baseline on the same test month.

    Raises:
        ValueError: when there is no baseline, or one was measured on other trips.
    """
    if not baselines:
        raise ValueError("no baseline to compare with: measure at least one")
    for baseline in baselines:
        if baseline.test.rows != record.test.rows:
            raise ValueError(
                f"baseline {baseline.model} was measured on {baseline.test.rows} trips, "
                f"{record.model} on {record.test.rows}: measure both on the same month"
            )
    rmse = record.test.rmse
    # Negated, so that a NaN never counts as beaten.
    unbeaten = [row for row in baselines if not rmse < row.test.rmse]
    best = min(baselines, key=lambda row: row.test.rmse)
    if unbeaten:
        named = ", ".join(f"{row.model} ({row.test.rmse:.3f})" for row in unbeaten)
        sentence = (
            f"RMSE {rmse:.3f} min is not below {named}: more trials or months may mend it; it is "
            "never served so"
        )
        return Finding(Verdict.WARN, sentence, rmse, 0.0, best.test.rmse)
    sentence = (
        f"RMSE {rmse:.3f} min is below every baseline, the best being {best.model} "
        f"({best.test.rmse:.3f})"
    )
    return Finding(Verdict.PASS, sentence, rmse, 0.0, best.test.rmse)


def predictions_in_range(predicted: npt.ArrayLike) -> Finding:
    """Every prediction is finite, above 0 and at most ``LONGEST_SANE_MINUTES``; none is no sign.

    Args:
        predicted: minutes, shape (n,).
    """
    minutes = np.asarray(predicted, dtype=np.float64).ravel()
    if not len(minutes):
        return Finding(Verdict.FAIL, "there is no prediction to check")
    finite = minutes[np.isfinite(minutes)]
    not_finite = len(minutes) - len(finite)
    not_positive = int(np.count_nonzero(finite <= 0))
    too_long = int(np.count_nonzero(finite > LONGEST_SANE_MINUTES))
    longest = float(finite.max()) if len(finite) else None
    allowed = f"finite, above 0 and at most {LONGEST_SANE_MINUTES:.0f} minutes"
    if not_finite or not_positive or too_long:
        sentence = (
            f"of {len(minutes):,} predictions {not_finite:,} are not finite, {not_positive:,} are "
            f"not above 0 and {too_long:,} exceed {LONGEST_SANE_MINUTES:.0f} minutes; allowed: "
            f"{allowed}"
        )
        return Finding(Verdict.FAIL, sentence, longest, 0.0, LONGEST_SANE_MINUTES)
    sentence = f"all {len(minutes):,} predictions are {allowed}"
    return Finding(Verdict.PASS, sentence, longest, 0.0, LONGEST_SANE_MINUTES)


def same_predictions(
    record: ModelRecord, predicted: npt.ArrayLike, actual: npt.ArrayLike
) -> Finding:
    """A model that was stored and loaded again predicts what it predicted before.

    Equal digests mean bit for bit. Without that, figures over the whole test month have to agree
    to ``SAME_FIGURES``, which no other model's would.

    Args:
        record: Of the process that fitted the model.
        predicted: Of the loaded model for the same test month, minutes.
        actual: Durations of that month, minutes.
    """
    minutes = np.asarray(predicted, dtype=np.float64)
    if record.predictions_sha256 == predictions_digest(minutes):
        sentence = f"bit for bit the same {len(minutes):,} predictions"
        return Finding(Verdict.PASS, sentence, 0.0, 0.0, SAME_FIGURES)
    way_out = "materialize the model again, with the library versions that load it"
    if not np.isfinite(minutes).all():
        sentence = f"stored and loaded again, its predictions are not all finite; {way_out}"
        return Finding(Verdict.FAIL, sentence)
    before, after = record.test.model_dump(), measure(actual, minutes).as_dict()
    names = ("rmse", "mae", "mape", "share_within_5_minutes", "rows")
    apart = max(abs(after[name] - before[name]) / max(abs(before[name]), 1e-12) for name in names)
    if apart <= SAME_FIGURES:
        return Finding(
            Verdict.PASS,
            f"the same {len(minutes):,} predictions but for their last bits (figures {apart:.0e} "
            "apart): threads add up in another order",
            apart,
            0.0,
            SAME_FIGURES,
        )
    return Finding(
        Verdict.FAIL,
        f"stored and loaded again it predicts otherwise: RMSE {after['rmse']:.6f} instead of "
        f"{before['rmse']:.6f}; {way_out}",
        apart,
        0.0,
        SAME_FIGURES,
    )


def check_leakage(
    training_set: TrainingSet, record: ModelRecord, baselines: Sequence[ModelRecord]
) -> Finding:
    """The model has not learned from the test month: neither by its record nor by its error.

    A month may be easier than the one before, but then it is so for the baselines, too: a model
    whose error falls far more than theirs has seen the answers.

    Args:
        training_set: Its months.
        record: Of the model.
        baselines: Measured on the same months.
    """
    tested = {str(month) for month in training_set.months_in("test")}
    learned = {*record.training_months}
    if not training_set.validation_is_test:
        learned |= {*record.validation_months}
    known = sorted(month for month in learned if month >= min(tested))
    if known:
        return Finding(
            Verdict.FAIL,
            f"it was fitted or tuned on {', '.join(known)}, and is tested on "
            f"{', '.join(sorted(tested))}: materialize it again on months before that",
        )
    moves = [row.test.rmse / row.validation.rmse for row in baselines if row.validation.rmse > 0]
    expected = record.validation.rmse * float(np.median(moves)) if moves else 0.0
    if training_set.validation_is_test or not expected:
        return Finding(Verdict.PASS, "it was fitted on earlier months only")
    share = record.test.rmse / expected
    few = min(record.test.rows, record.validation.rows) < FEW_TRIPS
    minimum = MIN_SHARE_ON_FEW_TRIPS if few else MIN_SHARE_OF_ERROR
    sentence = (
        f"RMSE went from {record.validation.rmse:.3f} on the validation month to "
        f"{record.test.rmse:.3f} on the test month, {share:.2f} of what the baselines' move allows"
    )
    if share >= minimum:
        return Finding(Verdict.PASS, sentence, share, minimum)
    sentence += (
        f" ({minimum} and more is believable): it seems to know the test trips. "
        "Look at what its features and its fit can read"
    )
    return Finding(Verdict.FAIL, sentence, share, minimum)


def fit_time_within_budget(record: ModelRecord, trips: int) -> Finding:
    """Check the processor time of the fit against the budget for its number of trips.

    A record without processor time, of an earlier version, is checked by its wall time.

    Args:
        record: Of the model.
        trips: Number of training trips.
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
    return Finding(Verdict.WARN, f"{sentence}: fewer trees or months need less", spent, 0.0, budget)
