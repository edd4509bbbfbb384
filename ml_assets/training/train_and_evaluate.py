"""Train one family on a training set and judge it: the whole step, without an orchestrator."""

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from ml_assets.evaluation.interval_coverage import measure_intervals
from ml_assets.evaluation.metrics import measure, measure_slices, pair_codes
from ml_assets.evaluation.model_checks import predictions_digest
from ml_assets.evaluation.records import (
    FitOn,
    MetricsRecord,
    ModelRecord,
    Role,
    SliceRecord,
    TrainingSet,
)
from ml_assets.pipeline.background_sample import attach_background_sample
from ml_assets.pipeline.conformal_intervals import attach_intervals, calibrate
from ml_assets.pipeline.predict import predict_trips
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.baselines import BASELINES
from ml_assets.training.families import ModelFamily
from ml_assets.training.fit import FittedModel, TrialRecord, refit
from ml_assets.training.training_set import load_trips
from ml_assets.training.tune import TuningBudget, tune_and_fit
from ml_assets.trips.rules import REQUEST_COLUMNS, TARGET

MAX_FITTED_ROWS_MEASURED = 50_000
"""The error on rows that a model was fitted on is measured on so many of them: it is only to be
compared with the error on months it has not seen, and forests predict slowly."""


@dataclass(frozen=True)
class Splits:
    """The trips of a training set by role; request columns and ``duration_minutes``.

    ``train`` and ``tune`` are views of ``train_and_tune``, so that nothing is held twice.
    """

    train_and_tune: pd.DataFrame
    train: pd.DataFrame
    tune: pd.DataFrame
    judge: pd.DataFrame

    def of(self, *roles: Role) -> pd.DataFrame:
        """The trips of the months with these roles, ``train`` or ``train`` and ``tune``."""
        return self.train_and_tune if "tune" in roles else self.train


@dataclass(frozen=True)
class EvaluatedModel:
    """A fitted pipeline, its record, and what it predicted for the judged month (minutes)."""

    pipeline: Pipeline
    record: ModelRecord
    judged: pd.DataFrame
    predicted: npt.NDArray[np.float64]
    trials: list[TrialRecord]


@dataclass(frozen=True)
class TuningOptions:
    """How to tune and fit.

    Attributes:
        budget: Trials, seconds and seed.
        fit_on: What the judged model is fitted on once tuned: the training months, or these and
            the tuning month, which is newer. Never the judged month.
        warm_start: Parameters to try first, the last champion's say.
        storage: Optuna RDB URL for a study that several workers share; None keeps it in memory.
        study_name: Name of the study in that storage.
    """

    budget: TuningBudget
    fit_on: FitOn = "train_and_tune"
    warm_start: Mapping[str, Any] | None = None
    storage: str | None = None
    study_name: str | None = None


def load_months(store: TripStore, training_set: TrainingSet) -> Splits:
    """Load the trips of each role; see :func:`ml_assets.training.training_set.load_trips`."""
    judge = load_trips(store, training_set, "judge")
    if training_set.tunes_on_the_judged_month:
        train = load_trips(store, training_set, "train")
        return Splits(train, train, judge, judge)
    both = load_trips(store, training_set, "train", "tune")
    rows = training_set.rows_of("train")  # months come in order, and tuning ones are the newest
    return Splits(both, both.iloc[:rows], both.iloc[rows:], judge)


def fit_roles(training_set: TrainingSet, fit_on: FitOn) -> tuple[Role, ...]:
    """The roles whose months a model is fitted on in the end; never the judged month."""
    if fit_on == "train_and_tune" and not training_set.tunes_on_the_judged_month:
        return ("train", "tune")
    return ("train",)


def train_and_evaluate(
    family: ModelFamily,
    training_set: TrainingSet,
    months: Splits,
    options: TuningOptions,
    on_trial: Callable[[TrialRecord], None] | None = None,
) -> EvaluatedModel:
    """Tune on the tuning month, fit, and judge on the judged month, which neither has seen.

    What the tuned fit errs on the tuning month calibrates the prediction intervals, which a refit
    on both keeps. With two months that is the judged month: the training set's caveat holds for
    their figures, too.

    Args:
        family: The model family.
        training_set: Names the months; its fingerprint goes into the record.
        months: Their trips.
        options: Budget and choices.
        on_trial: Told of each finished trial.
    """
    begun, processed = time.perf_counter(), time.process_time()
    fitted = _tune(family, months, options, on_trial)
    tuning_seconds = time.perf_counter() - begun - fitted.fit_seconds
    validation = _calibrated(fitted.pipeline, months.tune)
    attach_background_sample(fitted.pipeline, months.train)
    roles = fit_roles(training_set, options.fit_on)
    if "tune" in roles:
        fitted = refit(fitted, months.of(*roles))
    measured, predicted = _judge(fitted.pipeline, training_set, months, roles)
    record = ModelRecord(
        model=family.name,
        kind="model",
        validation=validation,
        fit_seconds=fitted.fit_seconds,
        fit_cpu_seconds=fitted.fit_cpu_seconds,
        tuning_seconds=tuning_seconds,
        parameters=dict(fitted.parameters),
        trials=len(fitted.trials),
        tuned_on=[str(month) for month in training_set.months_of("tune")],
        seed=options.budget.seed,
        fit_on=options.fit_on,
        seconds=time.perf_counter() - begun,
        cpu_seconds=time.process_time() - processed,
        interval=measure_intervals(
            fitted.pipeline, months.judge, predicted, fitted_on=months.of(*roles)
        ),
        **measured,
    )
    return EvaluatedModel(fitted.pipeline, record, months.judge, predicted, fitted.trials)


def evaluate_baselines(training_set: TrainingSet, months: Splits) -> list[ModelRecord]:
    """Fit and judge every baseline as models are: on the same months, and the same ones unseen."""
    roles = fit_roles(training_set, "train_and_tune")
    records = []
    for name, make in BASELINES.items():
        validation = _figures(_fitted(make(), months.train), months.tune)
        begun = time.perf_counter()
        baseline = _fitted(make(), months.of(*roles))
        seconds = time.perf_counter() - begun
        measured, _ = _judge(baseline, training_set, months, roles)
        record = ModelRecord(
            model=name, kind="baseline", validation=validation, fit_seconds=seconds, **measured
        )
        records.append(record)
    return records


def _calibrated(pipeline: Pipeline, tune: pd.DataFrame) -> MetricsRecord:
    """Give a pipeline its intervals, from trips that it was not fitted on, and measure it there."""
    predicted = predict_trips(pipeline, tune)
    attach_intervals(pipeline, calibrate(predicted, tune[TARGET]))
    return _record(measure(tune[TARGET], predicted))


def _tune(
    family: ModelFamily,
    months: Splits,
    options: TuningOptions,
    on_trial: Callable[[TrialRecord], None] | None,
) -> FittedModel:
    return tune_and_fit(
        family,
        months.train,
        months.tune,
        budget=options.budget,
        warm_start=options.warm_start,
        storage=options.storage,
        study_name=options.study_name,
        on_trial=on_trial,
    )


def _fitted(baseline: Any, trips: pd.DataFrame) -> Any:
    return baseline.fit(trips[list(REQUEST_COLUMNS)], trips[TARGET])


def _judge(
    pipeline: Any, training_set: TrainingSet, months: Splits, roles: tuple[Role, ...]
) -> tuple[dict[str, Any], npt.NDArray[np.float64]]:
    """Measure what is fitted on these roles on the judged month, overall and by slice.

    Returns:
        Fields of a ``ModelRecord``, and the predictions in minutes.
    """
    fitted_on = months.of(*roles)
    begun = time.perf_counter()
    predicted = predict_trips(pipeline, months.judge)
    predict_seconds = time.perf_counter() - begun
    slices = measure_slices(months.judge, predicted, pair_codes(fitted_on))
    measured = {
        "training_set": training_set.fingerprint,
        "fitted_on": [str(month) for month in training_set.months_of(*roles)],
        "train": _figures(pipeline, _some_rows(fitted_on)),
        "test": _record(measure(months.judge[TARGET], predicted)),
        "slices": [SliceRecord(slice=s.slice, metrics=_record(s.metrics)) for s in slices],
        "predict_seconds": predict_seconds,
        "size_bytes": _size(pipeline),
        "predictions_sha256": predictions_digest(predicted),
    }
    return measured, predicted


def _some_rows(trips: pd.DataFrame) -> pd.DataFrame:
    """Every n-th row, so that all months are among them."""
    return trips.iloc[:: -(-len(trips) // MAX_FITTED_ROWS_MEASURED)]


def _figures(pipeline: Any, trips: pd.DataFrame) -> MetricsRecord:
    return _record(measure(trips[TARGET], pipeline.predict(trips[list(REQUEST_COLUMNS)])))


def _record(metrics: Any) -> MetricsRecord:
    return MetricsRecord(**metrics.as_dict())


def _size(pipeline: Any) -> int:
    buffer = io.BytesIO()
    joblib.dump(pipeline, buffer)
    return buffer.tell()
