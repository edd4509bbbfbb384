"""Fitting a family with given parameters: encode once, fit, measure on the validation month."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ml_assets.config.cores import processor_seconds
from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.pipeline.background_sample import attach_background_sample
from ml_assets.pipeline.bounded_regressor import rows_with_distance, rows_without_distance
from ml_assets.pipeline.conformal_intervals import copy_intervals
from ml_assets.training.families import ModelFamily
from ml_assets.training.training_set import ReadTrips
from ml_assets.trips.target import TARGET

Minutes = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a study.

    Attributes:
        number: Number in the study, from 0.
        parameters: Parameters of the trial; with early stopping, ``n_estimators`` is the number of
            rounds at which it stopped.
        validation_rmse: RMSE on the validation month, minutes; None unless the trial completed.
        state: ``COMPLETE``, ``PRUNED`` or ``FAIL``.
    """

    number: int
    parameters: dict[str, Any]
    validation_rmse: float | None
    state: str
    seconds: float


@dataclass
class FittedModel:
    """A fitted pipeline with its parameters, validation error, costs and trials.

    Attributes:
        pipeline: Pipeline from a frame of requests to minutes; its last step is unfitted in a model
            of :func:`model_of_trials`.
        parameters: All parameters of its estimator, including the tuned number of rounds.
        validation_rmse: RMSE of this pipeline on the validation month, minutes.
        fit_seconds: Time of encoding and fitting this pipeline, without tuning.
        fit_cpu_seconds: Processor time of the same, over all threads.
        trials: Trials of the study by number; empty without tuning.
        validation_predicted: Its predictions for the validation month, minutes, with the trips' own
            distances and without distances; None after a refit, and for one regressor for both.
    """

    family: str
    pipeline: Pipeline
    parameters: dict[str, Any]
    validation_rmse: float
    fit_seconds: float
    fit_cpu_seconds: float = 0.0
    trials: list[TrialRecord] = field(default_factory=list)
    validation_predicted: tuple[Minutes, Minutes] | None = None


@dataclass(frozen=True)
class EncodedTrips:
    """Training and validation trips after the first two steps of a pipeline, for all its trials.

    Attributes:
        steps: The fitted steps before the model.
        train: Encoded training rows, shape (n, m), dense or CSR.
        train_minutes: Target of the training rows, shape (n,).
        validation: Encoded validation rows, shape (k, m).
        validation_minutes: Target of the validation rows, shape (k,).
        seconds: Time to fit the steps and encode the training rows.
        cpu_seconds: Processor time of the same.
    """

    steps: Pipeline
    train: Any
    train_minutes: npt.NDArray[np.float64]
    validation: Any
    validation_minutes: npt.NDArray[np.float64]
    seconds: float
    cpu_seconds: float

    @property
    def distance_columns(self) -> int:
        """Number of last columns that depend on the stated distance; 0 for other encoders."""
        return int(getattr(self.steps[-1], "distance_columns", 0))

    def with_distance(self) -> "EncodedTrips":
        """Return the rows that the estimator for stated distances is fitted and measured on."""
        if not self.distance_columns:
            return self
        train, train_minutes = rows_with_distance(self.train, self.train_minutes)
        validation, minutes = rows_with_distance(self.validation, self.validation_minutes)
        return replace(
            self,
            train=train,
            train_minutes=train_minutes,
            validation=validation,
            validation_minutes=minutes,
        )

    def without_distance(self, share: float = 1.0) -> "EncodedTrips":
        """Return the rows of the estimator for requests without a distance, a share in training."""
        columns = self.distance_columns
        train, train_minutes = rows_without_distance(self.train, self.train_minutes, columns, share)
        validation, _ = rows_without_distance(self.validation, self.validation_minutes, columns)
        return replace(self, train=train, train_minutes=train_minutes, validation=validation)

    def has_more_than(self, rows: int | None) -> bool:
        """Return whether :meth:`sample` leaves out training rows."""
        return rows is not None and rows < len(self.train_minutes)

    def sample(self, rows: int | None, seed: int) -> tuple[Any, npt.NDArray[np.float64]]:
        """Draw at most ``rows`` training rows without replacement; None returns all."""
        if rows is None or not self.has_more_than(rows):
            return self.train, self.train_minutes
        chosen = np.random.default_rng(seed).choice(len(self.train_minutes), rows, replace=False)
        chosen.sort()
        return self.train[chosen], self.train_minutes[chosen]


def target_minutes(trips: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """Return the target of trips; raise ValueError if it is missing, or not positive and finite."""
    if TARGET.name not in trips.columns:
        raise ValueError(f"the {name} trips have no column {TARGET.name}")
    minutes = trips[TARGET.name].to_numpy(dtype=np.float64)
    if len(minutes) == 0:
        raise ValueError(f"there are no {name} trips: ingest more months or widen the window")
    if not np.all(np.isfinite(minutes) & (minutes > 0)):
        raise ValueError(
            f"{TARGET.name} of the {name} trips has values that are missing, infinite or not above "
            "0: clean them first (trip_features does)"
        )
    return minutes


def encode_trips(
    family: ModelFamily,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    steps: Pipeline | None = None,
    past: ReadTrips | None = None,
) -> EncodedTrips:
    """Fit the steps before the model on ``train`` and encode both frames, once for all trials.

    Args:
        steps: Unfitted steps to use instead, with the features of an earlier fit.
        past: See :func:`fit_steps`.

    Raises:
        MissingPackage: The family needs a package that is not installed.
        ValueError: A frame lacks the target or rows.
    """
    family.require_packages()
    train_minutes = target_minutes(train, "training")
    validation_minutes = target_minutes(validation, "validation")
    clock = _Clock()
    steps = family.make_pipeline()[:-1] if steps is None else steps
    encoded = fit_steps(steps, train, train_minutes, past)
    elapsed = clock.elapsed()
    return EncodedTrips(
        steps, encoded, train_minutes, steps.transform(validation), validation_minutes, *elapsed
    )


def fit_encoded(
    family: ModelFamily, encoded: EncodedTrips, parameters: dict[str, Any], seed: int, n_jobs: int
) -> FittedModel:
    """Fit the model on all encoded training rows, as :func:`fit_pipeline` does."""
    clock = _Clock()
    model = family.make_model(encoded.steps[-1], parameters, seed, n_jobs)
    model.fit(encoded.train, encoded.train_minutes)
    seconds, cpu_seconds = clock.elapsed()
    modes = model.predict_modes(encoded.validation) if model.has_two_regressors else None
    predicted = modes[0] if modes else model.predict(encoded.validation)
    return FittedModel(
        family=family.name,
        pipeline=Pipeline([*encoded.steps.steps, ("model", model)]),
        parameters=dict(parameters),
        validation_rmse=root_mean_squared_error(encoded.validation_minutes, predicted),
        fit_seconds=encoded.seconds + seconds,
        fit_cpu_seconds=encoded.cpu_seconds + cpu_seconds,
        validation_predicted=modes,
    )


def model_of_trials(
    family: ModelFamily,
    encoded: EncodedTrips,
    parameters: dict[str, Any],
    seed: int,
    n_jobs: int,
    predicted: tuple[Minutes, Minutes],
) -> FittedModel:
    """Make what :func:`fit_encoded` makes, with its model unfitted: for a model to be refitted.

    Args:
        predicted: What trials of the same parameters, rows and seed predicted for the validation
            rows: for those with a stated distance, and for all as if none were stated.
    """
    model = family.make_model(encoded.steps[-1], parameters, seed, n_jobs)
    modes = model.join_modes(encoded.validation, *predicted)
    return FittedModel(
        family=family.name,
        pipeline=Pipeline([*encoded.steps.steps, ("model", model)]),
        parameters=dict(parameters),
        validation_rmse=root_mean_squared_error(encoded.validation_minutes, modes[0]),
        fit_seconds=encoded.seconds,
        fit_cpu_seconds=encoded.cpu_seconds,
        validation_predicted=modes,
    )


def fit_steps(
    steps: Pipeline,
    trips: pd.DataFrame,
    minutes: npt.NDArray[np.float64],
    past: ReadTrips | None = None,
) -> Any:
    """Fit the steps before the model on trips, and return these encoded.

    Args:
        minutes: Target of the trips, shape (n,).
        past: Reads all the trips that these are a sample of: an encoder with tables of past trips
            learns from all of them. None means that they are all.

    Returns:
        Encoded rows, shape (n, m), dense or CSR; those with tables of past trips out of fold.
    """
    if past is None or not has_tables(steps):
        return steps.fit_transform(trips, minutes)
    matrix = steps[:-1].fit_transform(trips)
    return steps[-1].encode_fitted(matrix, fit_tables(steps, past))


def has_tables(steps: Pipeline) -> bool:
    """Return whether the last of these steps learns tables from trips that are read in parts."""
    return hasattr(steps[-1], "fit_parts")


def fit_tables(steps: Pipeline, past: ReadTrips) -> Any:
    """Learn the tables of the last of these steps; return those of the other folds.

    Args:
        steps: Steps of which all but the last are fitted.

    Returns:
        What the ``encode_fitted`` of that step takes.
    """

    def features_and_minutes() -> Iterator[tuple[Any, npt.NDArray[np.float64]]]:
        for trips in past():
            yield steps[:-1].transform(trips), target_minutes(trips, "past")

    return steps[-1].fit_parts(features_and_minutes)


def fit_pipeline(
    unfitted: Pipeline, trips: pd.DataFrame, past: ReadTrips | None = None
) -> Pipeline:
    """Fit a clone of a pipeline on trips, with a background sample and without intervals.

    Args:
        trips: Request columns and ``duration_minutes``.
        past: See :func:`fit_steps`.

    Raises:
        ValueError: The trips lack a column or a usable target.
    """
    minutes = target_minutes(trips, "refit")
    pipeline = clone(unfitted)
    pipeline[-1].fit(fit_steps(pipeline[:-1], trips, minutes, past), minutes)
    attach_background_sample(pipeline, trips)
    return pipeline


def refit(fitted: FittedModel, trips: pd.DataFrame, past: ReadTrips | None = None) -> FittedModel:
    """Fit the same pipeline on other trips, with the same parameters and number of rounds.

    Used to refit an evaluated model on all months for serving. ``validation_rmse``, ``trials`` and
    the prediction intervals stay those of the earlier fit, since no unseen month is left to measure
    on; the background sample is drawn from the new trips.

    Raises:
        ValueError: The trips lack a column or a usable target.
    """
    clock = _Clock()
    pipeline = fit_pipeline(fitted.pipeline, trips, past)
    seconds, cpu_seconds = clock.elapsed()
    copy_intervals(fitted.pipeline, pipeline)
    return replace(
        fitted,
        pipeline=pipeline,
        fit_seconds=seconds,
        fit_cpu_seconds=cpu_seconds,
        validation_predicted=None,
    )


class _Clock:
    """Wall and processor time since construction, in seconds."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), processor_seconds()

    def elapsed(self) -> tuple[float, float]:
        return time.perf_counter() - self._wall, processor_seconds() - self._cpu
