"""Train one family on a training set and evaluate it on the test month."""

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

from ml_assets.config.cores import processor_seconds
from ml_assets.evaluation.error_profile import profile_errors
from ml_assets.evaluation.feature_importance import feature_importance
from ml_assets.evaluation.interval_coverage import measure_intervals
from ml_assets.evaluation.metrics import measure, measure_slices, pair_codes, zones_of_codes
from ml_assets.evaluation.model_checks import predictions_digest
from ml_assets.evaluation.records import (
    ErrorProfile,
    FittedRows,
    MetricsRecord,
    ModelRecord,
    Role,
    TrainingSet,
    UsualRecord,
)
from ml_assets.evaluation.wrong_distance import measure_wrong_distances
from ml_assets.pipeline.background_sample import attach_background_sample
from ml_assets.pipeline.conformal_intervals import (
    PredictionIntervals,
    attach_intervals,
    attach_seen_pairs,
    calibrate_pairs,
    drift_margin,
)
from ml_assets.pipeline.predict import predict_modes, without_distance
from ml_assets.requests.parse import states_distance
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.all_rows import refit_on_all_rows
from ml_assets.training.baselines import BASELINES
from ml_assets.training.families import ModelFamily
from ml_assets.training.fit import FittedModel, TrialRecord, has_tables, refit
from ml_assets.training.training_set import ReadTrips, load_trips, past_trips, read_months
from ml_assets.training.tune import TuningBudget, tune_and_fit
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

MAX_FITTED_ROWS_MEASURED = 20_000
"""Maximum rows for the training error: it is only compared with the error on unseen months, and
forests predict slowly."""

MAX_VALIDATION_ROWS = 300_000
"""Maximum rows of the validation month, a stratified sample beyond: every trial predicts them, and
the error of an RMSE over so many is below 0.3 %, the same for all trials and families."""

MAX_BASELINE_ROWS = 1_000_000
"""Maximum rows that a baseline is fitted on: a mean, medians and a line need no more."""

_VALIDATION_SEED = 0
"""Seed of the sampled validation month: the same trips for all families, whatever their seed."""


@dataclass(frozen=True)
class Sampled:
    """What sampled splits were drawn from.

    Attributes:
        training_set: The months.
        seed: Seed of the sample.
        rows: Rows of the training months, and of training and validation months together.
        pairs: ``pair_codes`` of all their trips, each once.
    """

    store: TripStore
    training_set: TrainingSet
    seed: int
    rows: Mapping[tuple[Role, ...], int]
    pairs: Mapping[tuple[Role, ...], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Splits:
    """The trips of a training set by role; request columns and ``duration_minutes``.

    ``train`` and ``validation`` are views of ``train_and_validation``, to hold the trips once,
    unless one of them is a sample.

    Attributes:
        sampled: What the frames were drawn from; None if they have all trips.
        max_rows: Bound of the training rows, also if they are fewer; None without one.
        fit_all: Whether the final fit reads all rows, in parts, and not a sample only.
    """

    train_and_validation: pd.DataFrame
    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    sampled: Sampled | None = None
    max_rows: int | None = None
    fit_all: bool = False

    def of(self, *roles: Role) -> pd.DataFrame:
        """Return the trips of the roles ``train``, or ``train`` and ``validation``."""
        return self.train_and_validation if "validation" in roles else self.train

    def pair_codes(self, *roles: Role) -> npt.NDArray[np.int64]:
        """Return the codes of the zone pairs of all trips of these roles, sampled or not."""
        return pair_codes(self.of(*roles)) if self.sampled is None else self.sampled.pairs[roles]

    def past(self, *roles: Role) -> ReadTrips | None:
        """Return what reads all trips of these roles; None if the frame has them."""
        if self.sampled is None:
            return None
        store, training_set = self.sampled.store, self.sampled.training_set
        return past_trips(store, training_set, *roles, fitted=len(self.of(*roles)))

    def fitted_rows(self, *roles: Role, tables: bool = False) -> FittedRows:
        """Return how many of the trips of these roles a model is fitted on, and the bound.

        Args:
            tables: Whether its encoder has tables, which come from all trips.
        """
        fitted = len(self.of(*roles))
        available = fitted if self.sampled is None else self.sampled.rows[roles]
        if self.fit_all:
            sample = self.max_rows if fitted < available else None
            return FittedRows(fitted=available, available=available, sample_rows=sample)
        return FittedRows(
            fitted=fitted,
            available=available,
            max_rows=self.max_rows,
            tables_of_all=tables and fitted < available,
        )


@dataclass(frozen=True)
class EvaluatedModel:
    """A fitted pipeline and its evaluation.

    Attributes:
        record: Parameters, metrics and costs.
        test_trips: The trips of the test month, request columns and ``duration_minutes``.
        predicted: Predicted minutes of these trips, shape (n,).
        importance: Share of each feature, see ``feature_importance``.
        errors: Its errors on the test month in fixed bins, without its MLflow run.
    """

    pipeline: Pipeline
    record: ModelRecord
    test_trips: pd.DataFrame
    predicted: npt.NDArray[np.float64]
    trials: list[TrialRecord]
    importance: dict[str, float]
    errors: ErrorProfile


@dataclass(frozen=True)
class TuningOptions:
    """Options of tuning and fitting.

    Attributes:
        refit_on_validation: Whether the tuned model is refitted on the training and validation
            months before the test, or on the training months only.
        warm_start: Parameters to try first, such as those of the last champion.
        share_without_distance: Share of the rows that the estimator for requests without a distance
            is fitted on, above 0 and at most 1; None means the family's.
        storage: Optuna RDB URL of a study shared by several workers; None keeps it in memory.
    """

    budget: TuningBudget
    refit_on_validation: bool = True
    warm_start: Mapping[str, Any] | None = None
    share_without_distance: float | None = None
    storage: str | None = None
    study_name: str | None = None


def load_splits(
    store: TripStore,
    training_set: TrainingSet,
    max_rows: int | None = None,
    seed: int = 42,
    *,
    fit_all: bool = False,
) -> Splits:
    """Load the trips of each role; see :func:`ml_assets.training.training_set.load_trips`.

    Args:
        max_rows: Maximum training rows, also with the validation month: a sample beyond. None
            loads all.
        seed: Seed of that sample.
        fit_all: Whether the final fit reads all rows, in parts, if they are more; for a family with
            ``fit_batches``.

    Returns:
        The splits. The validation month has at most ``MAX_VALIDATION_ROWS``, the test month all.
    """
    test = load_trips(store, training_set, "test")
    shared = training_set.validation_is_test
    every: tuple[Role, ...] = ("train",) if shared else ("train", "validation")
    rows, rows_to_validate = training_set.rows_in(*every), training_set.rows_in("validation")
    bound = rows if max_rows is None else max_rows
    if rows <= bound and rows_to_validate <= MAX_VALIDATION_ROWS:
        both = load_trips(store, training_set, *every)
        if shared:
            return Splits(both, both, test, test, None, max_rows, fit_all)
        rows = training_set.rows_in("train")  # months are in order, the validation month last
        return Splits(both, both.iloc[:rows], both.iloc[rows:], test, None, max_rows, fit_all)
    validation = load_trips(
        store, training_set, "validation", max_rows=MAX_VALIDATION_ROWS, seed=_VALIDATION_SEED
    )
    both = load_trips(store, training_set, *every, max_rows=bound, seed=seed)
    if shared:
        train = both
    elif rows <= bound:
        train = both.iloc[: training_set.rows_in("train")]
    else:
        train = load_trips(store, training_set, "train", max_rows=bound, seed=seed)
    sampled = Sampled(
        store,
        training_set,
        seed,
        rows={("train",): training_set.rows_in("train"), every: rows},
        pairs={
            roles: load_pair_codes(store, training_set, *roles)
            for roles in dict.fromkeys([("train",), every])
        },
    )
    return Splits(both, train, validation, test, sampled, max_rows, fit_all)


def baseline_splits(store: TripStore, training_set: TrainingSet) -> Splits:
    """Load the trips for :func:`evaluate_baselines`: at most ``MAX_BASELINE_ROWS`` to fit."""
    return load_splits(store, training_set, MAX_BASELINE_ROWS)


def load_pair_codes(
    store: TripStore, training_set: TrainingSet, *roles: Role
) -> npt.NDArray[np.int64]:
    """Return the codes of the zone pairs of all trips with these roles, each once.

    One month is in memory at a time.

    Raises:
        TrainingSetError: See :func:`ml_assets.training.training_set.load_trips`.
        MonthNotFound: A month was removed.
    """
    zones = ["PULocationID", "DOLocationID"]
    months = read_months(store, training_set, *roles, columns=zones)
    return np.unique(np.concatenate([pair_codes(pairs.unique()) for _, pairs in months]))


def fit_roles(training_set: TrainingSet, refit_on_validation: bool) -> tuple[Role, ...]:
    """Return the roles of the months that the final fit uses; never the test month."""
    if refit_on_validation and not training_set.validation_is_test:
        return ("train", "validation")
    return ("train",)


def train_and_evaluate(
    family: ModelFamily,
    training_set: TrainingSet,
    splits: Splits,
    options: TuningOptions,
    on_trial: Callable[[TrialRecord], None] | None = None,
) -> EvaluatedModel:
    """Tune on the validation month, fit, and evaluate on the unseen test month.

    The errors of the tuned fit on the validation month calibrate the prediction intervals, which a
    refit on both keeps. A fit on all rows in parts is such a refit: the sample is tuned on. With
    two months, the validation month is the test month, and the training set's caveat applies to the
    intervals, too.

    Args:
        on_trial: Called with each finished trial.
    """
    started, cpu_started = time.perf_counter(), processor_seconds()
    roles = fit_roles(training_set, options.refit_on_validation)
    rows = splits.fitted_rows(*roles)
    to_be_refitted = "validation" in roles or rows.sample_rows is not None
    fitted = _tune(family, splits, options, to_be_refitted, on_trial)
    tuning_seconds = time.perf_counter() - started - fitted.fit_seconds
    validation = _calibrate(fitted, splits)
    if splits.sampled is not None and rows.sample_rows is not None:
        fitted = refit_on_all_rows(
            fitted,
            family,
            splits.sampled.store,
            training_set,
            *roles,
            seed=splits.sampled.seed,
        )
    elif to_be_refitted:
        fitted = refit(fitted, splits.of(*roles), splits.past(*roles))
    else:
        attach_background_sample(fitted.pipeline, splits.train)
    attach_seen_pairs(fitted.pipeline, *zones_of_codes(splits.pair_codes(*roles)))
    measured, predicted, usual = _evaluate(fitted.pipeline, training_set, splits, roles)
    record = ModelRecord(
        model=family.name,
        kind="model",
        validation=validation,
        fit_seconds=fitted.fit_seconds,
        fit_cpu_seconds=fitted.fit_cpu_seconds,
        tuning_seconds=tuning_seconds,
        parameters=dict(fitted.parameters),
        trials=len(fitted.trials),
        validation_months=[str(month) for month in training_set.months_in("validation")],
        seed=options.budget.seed,
        refit_on_validation=options.refit_on_validation,
        seconds=time.perf_counter() - started,
        cpu_seconds=processor_seconds() - cpu_started,
        interval=measure_intervals(
            fitted.pipeline, splits.test, predicted, splits.pair_codes(*roles)
        ),
        **measured,
    )
    importance = feature_importance(fitted.pipeline, splits.test)
    (tested,) = (split for split in training_set.months if split.role == "test")
    errors = profile_errors(
        splits.test,
        predicted,
        usual,
        model=family.name,
        month=tested.month,
        raw_sha256=tested.raw_sha256,
    )
    return EvaluatedModel(
        fitted.pipeline, record, splits.test, predicted, fitted.trials, importance, errors
    )


def evaluate_baselines(training_set: TrainingSet, splits: Splits) -> list[ModelRecord]:
    """Fit and evaluate every baseline on the same months as the models."""
    roles = fit_roles(training_set, refit_on_validation=True)
    records = []
    for name, make in BASELINES.items():
        validation = _metrics(_fit(make(), splits.train), splits.validation)
        started = time.perf_counter()
        baseline = _fit(make(), splits.of(*roles))
        seconds = time.perf_counter() - started
        measured, *_ = _evaluate(baseline, training_set, splits, roles)
        record = ModelRecord(
            model=name, kind="baseline", validation=validation, fit_seconds=seconds, **measured
        )
        records.append(record)
    return records


def _calibrate(fitted: FittedModel, splits: Splits) -> MetricsRecord:
    """Calibrate a pipeline's intervals on trips it was not fitted on; return its metrics there.

    Predictions with and without a stated distance are calibrated apart, each with the margin of its
    coverage between the weeks of the validation month, and so are zone pairs without training
    trips.
    """
    validation = splits.validation
    pipeline, actual = fitted.pipeline, validation[TARGET.name].to_numpy()
    predicted, as_usual = fitted.validation_predicted or predict_modes(pipeline, validation)
    weeks = (validation["pickup_datetime"].dt.day.to_numpy() - 1) // 7
    weeks = np.minimum(weeks, 3)  # the last days belong to the fourth week

    seen = np.isin(pair_codes(validation), splits.pair_codes("train"))

    def of(minutes: npt.NDArray[np.float64], rows: npt.NDArray[np.bool_]) -> PredictionIntervals:
        trips = minutes[rows], actual[rows]
        return calibrate_pairs(*trips, seen[rows], margin=drift_margin(*trips, weeks[rows]))

    usual = of(as_usual, np.ones(len(actual), dtype=bool))
    stated = states_distance(validation["trip_distance"])
    of_stated = of(predicted, stated) if stated.any() else usual
    attach_intervals(pipeline, of_stated, usual)
    return measure(actual, predicted)


def _tune(
    family: ModelFamily,
    splits: Splits,
    options: TuningOptions,
    to_be_refitted: bool,
    on_trial: Callable[[TrialRecord], None] | None,
) -> FittedModel:
    return tune_and_fit(
        family,
        splits.train,
        splits.validation,
        budget=options.budget,
        warm_start=options.warm_start,
        share_without_distance=options.share_without_distance,
        storage=options.storage,
        study_name=options.study_name,
        on_trial=on_trial,
        to_be_refitted=to_be_refitted,
        past=splits.past("train"),
    )


def _fit(baseline: Any, trips: pd.DataFrame) -> Any:
    return baseline.fit(trips[list(REQUEST_COLUMNS)], trips[TARGET.name])


def _evaluate(
    pipeline: Any, training_set: TrainingSet, splits: Splits, roles: tuple[Role, ...]
) -> tuple[dict[str, Any], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Evaluate a pipeline fitted on these roles on the test month, overall and by slice.

    Returns:
        Fields of a ``ModelRecord``, and the predicted minutes with the metered distances and
        without a distance.
    """
    pairs, test = splits.pair_codes(*roles), splits.test
    started = time.perf_counter()
    predicted, predicted_usual = predict_modes(pipeline, test)
    predict_seconds = (time.perf_counter() - started) / 2
    requests = without_distance(test)
    is_model = isinstance(pipeline, Pipeline)  # a baseline has no intervals
    measured = {
        "training_set": training_set.fingerprint,
        "training_months": [str(month) for month in training_set.months_in(*roles)],
        "rows": splits.fitted_rows(*roles, tables=is_model and has_tables(pipeline[:-1])),
        "train": _metrics(pipeline, _every_nth_row(splits.of(*roles))),
        "test": measure(test[TARGET.name], predicted),
        "slices": measure_slices(test, predicted, pairs),
        "usual": UsualRecord(
            test=measure(test[TARGET.name], predicted_usual),
            slices=measure_slices(requests, predicted_usual, pairs),
            interval=measure_intervals(pipeline, requests, predicted_usual, pairs)
            if is_model
            else None,
            predictions_sha256=predictions_digest(predicted_usual),
        ),
        "distance_errors": measure_wrong_distances(pipeline, test, predicted, predicted_usual)
        if is_model
        else [],
        "predict_seconds": predict_seconds,
        "size_bytes": _size(pipeline),
        "predictions_sha256": predictions_digest(predicted),
    }
    return measured, predicted, predicted_usual


def _every_nth_row(trips: pd.DataFrame) -> pd.DataFrame:
    """Thin the trips out to the maximum, evenly over all months."""
    return trips.iloc[:: -(-len(trips) // MAX_FITTED_ROWS_MEASURED)]


def _metrics(pipeline: Any, trips: pd.DataFrame) -> MetricsRecord:
    return measure(trips[TARGET.name], pipeline.predict(trips[list(REQUEST_COLUMNS)]))


def _size(pipeline: Any) -> int:
    buffer = io.BytesIO()
    joblib.dump(pipeline, buffer)
    return buffer.tell()
