"""Train one family on a training set and judge it: the whole step, without an orchestrator."""

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ml_assets.modeling.records import MetricsRecord, ModelRecord, SliceRecord, TrainingSet
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.rules import REQUEST_COLUMNS, TARGET

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from ml_assets.modeling.families import ModelFamily
    from ml_assets.modeling.training import TrialRecord
    from ml_assets.modeling.tuning import TuningBudget

FitOn = Literal["train", "train_and_tune"]


@dataclass(frozen=True)
class TrainingMonths:
    """The trips of a training set by role; request columns and ``duration_minutes``."""

    train: "pd.DataFrame"
    tune: "pd.DataFrame"
    judge: "pd.DataFrame"


@dataclass(frozen=True)
class JudgedModel:
    """A fitted pipeline, its record, and what it predicted for the judged month (minutes)."""

    pipeline: "Pipeline"
    record: ModelRecord
    judged: "pd.DataFrame"
    predicted: "npt.NDArray[np.float64]"
    trials: "list[TrialRecord]"


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

    budget: "TuningBudget"
    fit_on: FitOn = "train_and_tune"
    warm_start: Mapping[str, Any] | None = None
    storage: str | None = None
    study_name: str | None = None


def load_months(store: TripStore, training_set: TrainingSet) -> TrainingMonths:
    """Load the trips of each role; see :func:`ml_assets.modeling.training_set.load_trips`."""
    from ml_assets.modeling.training_set import load_trips

    return TrainingMonths(
        train=load_trips(store, training_set, "train"),
        tune=load_trips(store, training_set, "tune"),
        judge=load_trips(store, training_set, "judge"),
    )


def train_and_judge(
    family: "ModelFamily",
    training_set: TrainingSet,
    months: TrainingMonths,
    options: TuningOptions,
    on_trial: "Callable[[TrialRecord], None] | None" = None,
) -> JudgedModel:
    """Tune on the tuning month, fit, and judge on the judged month, which neither has seen.

    Args:
        family: The model family.
        training_set: Names the months; its fingerprint goes into the record.
        months: Their trips.
        options: Budget and choices.
        on_trial: Told of each finished trial.
    """
    import pandas as pd

    from ml_assets.modeling.training import refit
    from ml_assets.modeling.tuning import tune_and_fit

    begun = time.perf_counter()
    fitted = tune_and_fit(
        family,
        months.train,
        months.tune,
        budget=options.budget,
        warm_start=options.warm_start,
        storage=options.storage,
        study_name=options.study_name,
        on_trial=on_trial,
    )
    tuning_seconds = time.perf_counter() - begun - fitted.fit_seconds
    validation = _figures(fitted.pipeline, months.tune)
    roles = ["train"]
    if options.fit_on == "train_and_tune" and not training_set.tunes_on_the_judged_month:
        roles.append("tune")
        fitted = refit(fitted, pd.concat([months.train, months.tune], ignore_index=True))
    record, predicted = judge(
        fitted.pipeline,
        fitted.family,
        "model",
        training_set,
        months,
        validation,
        fitted.fit_seconds,
    )
    record = record.model_copy(
        update={
            "fitted_on": [str(month) for month in training_set.months_of(*roles)],  # type: ignore[arg-type]
            "parameters": dict(fitted.parameters),
            "trials": len(fitted.trials),
            "tuning_seconds": tuning_seconds,
        }
    )
    return JudgedModel(fitted.pipeline, record, months.judge, predicted, fitted.trials)


def judge(
    pipeline: Any,
    name: str,
    kind: Literal["model", "baseline"],
    training_set: TrainingSet,
    months: TrainingMonths,
    validation: MetricsRecord,
    fit_seconds: float,
) -> "tuple[ModelRecord, npt.NDArray[np.float64]]":
    """Measure a fitted pipeline or baseline on the judged month, overall and by slice."""
    from ml_assets.modeling.evaluation import measure, measure_slices, pair_codes
    from ml_assets.modeling.model_quality import predictions_digest

    begun = time.perf_counter()
    predicted = pipeline.predict(months.judge[list(REQUEST_COLUMNS)])
    predict_seconds = time.perf_counter() - begun
    slices = measure_slices(months.judge, predicted, pair_codes(months.train))
    record = ModelRecord(
        model=name,
        kind=kind,
        training_set=training_set.fingerprint,
        fitted_on=[str(month) for month in training_set.months_of("train")],
        parameters={},
        trials=0,
        validation=validation,
        test=_record(measure(months.judge[TARGET], predicted)),
        slices=[SliceRecord(slice=s.slice, metrics=_record(s.metrics)) for s in slices],
        fit_seconds=fit_seconds,
        tuning_seconds=0.0,
        predict_seconds=predict_seconds,
        size_bytes=_size(pipeline),
        predictions_sha256=predictions_digest(predicted),
    )
    return record, predicted


def judge_baselines(training_set: TrainingSet, months: TrainingMonths) -> list[ModelRecord]:
    """Fit and judge every baseline, on the same months as the models."""
    from ml_assets.modeling.baselines import BASELINES

    records = []
    for name, make in BASELINES.items():
        begun = time.perf_counter()
        baseline = make().fit(months.train[list(REQUEST_COLUMNS)], months.train[TARGET])
        seconds = time.perf_counter() - begun
        validation = _figures(baseline, months.tune)
        record, _ = judge(baseline, name, "baseline", training_set, months, validation, seconds)
        records.append(record)
    return records


def _figures(pipeline: Any, trips: "pd.DataFrame") -> MetricsRecord:
    from ml_assets.modeling.evaluation import measure

    return _record(measure(trips[TARGET], pipeline.predict(trips[list(REQUEST_COLUMNS)])))


def _record(metrics: Any) -> MetricsRecord:
    return MetricsRecord(**metrics.as_dict())


def _size(pipeline: Any) -> int:
    import joblib

    buffer = io.BytesIO()
    joblib.dump(pipeline, buffer)
    return buffer.tell()
