"""Fitting a family with given parameters: encode once, fit, measure on the tune month."""

import os
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.pipeline.background_sample import attach_background_sample
from ml_assets.pipeline.bounded_regressor import BoundedRegressor
from ml_assets.pipeline.conformal_intervals import attach_intervals, get_intervals
from ml_assets.training.families import ModelFamily
from ml_assets.trips.rules import TARGET


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a study.

    Attributes:
        number: its number in the study, from 0.
        parameters: what was tried; with early stopping, ``n_estimators`` is where it stopped.
        tune_rmse: minutes on the tune month; None when the trial did not get that far.
        state: ``COMPLETE``, ``PRUNED`` or ``FAIL``.
        seconds: how long it took.
    """

    number: int
    parameters: dict[str, Any]
    tune_rmse: float | None
    state: str
    seconds: float


@dataclass
class FittedModel:
    """A fitted pipeline and how it came about.

    Attributes:
        family: name of the family.
        pipeline: from a frame of requests to minutes.
        parameters: all parameters of its estimator, the tuned number of rounds included.
        tune_rmse: RMSE of this pipeline on the tune month, in minutes.
        fit_seconds: encoding and fitting of this pipeline, without the tuning.
        fit_cpu_seconds: processor time of the same, over all threads.
        trials: the study, in order of number; empty without tuning.
    """

    family: str
    pipeline: Pipeline
    parameters: dict[str, Any]
    tune_rmse: float
    fit_seconds: float
    fit_cpu_seconds: float = 0.0
    trials: list[TrialRecord] = field(default_factory=list)


@dataclass(frozen=True)
class EncodedTrips:
    """Train and tune month after the first two steps of a pipeline, shared by all its trials.

    Attributes:
        steps: the fitted steps before the model.
        train: encoded training rows, (n, m), dense or CSR.
        train_minutes: shape (n,).
        tune: encoded tune rows, (k, m).
        tune_minutes: shape (k,).
        seconds: how long the training rows took.
        cpu_seconds: processor time of the same.
    """

    steps: Pipeline
    train: Any
    train_minutes: npt.NDArray[np.float64]
    tune: Any
    tune_minutes: npt.NDArray[np.float64]
    seconds: float
    cpu_seconds: float

    def sample(self, rows: int | None, seed: int) -> tuple[Any, npt.NDArray[np.float64]]:
        """At most so many training rows, drawn without replacement; all when ``rows`` is None."""
        if rows is None or rows >= len(self.train_minutes):
            return self.train, self.train_minutes
        chosen = np.random.default_rng(seed).choice(len(self.train_minutes), rows, replace=False)
        chosen.sort()
        return self.train[chosen], self.train_minutes[chosen]


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(n_jobs: int) -> int:
    """``n_jobs`` as a number of threads: -1 means every core of this process.

    Raises:
        ValueError: when it is 0 or below -1.
    """
    if n_jobs == -1:
        return available_cores()
    if n_jobs < 1:
        raise ValueError(f"n_jobs is {n_jobs}: give 1 or more threads, or -1 for every core")
    return n_jobs


def minutes_of(trips: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """The target of a frame of trips, checked.

    Args:
        trips: with ``duration_minutes``.
        name: what the frame is, for the message.

    Raises:
        ValueError: when the column is absent, the frame is empty, or a value is not a positive
            finite number.
    """
    if TARGET not in trips.columns:
        raise ValueError(f"the {name} trips lack the column {TARGET}")
    minutes = trips[TARGET].to_numpy(dtype=np.float64)
    if len(minutes) == 0:
        raise ValueError(f"there are no {name} trips: ingest more months or widen the window")
    if not np.all(np.isfinite(minutes) & (minutes > 0)):
        raise ValueError(
            f"{TARGET} of the {name} trips holds values that are missing, infinite or not "
            "above 0: clean them first (trip_features does)"
        )
    return minutes


def encode_trips(
    family: ModelFamily,
    train: pd.DataFrame,
    tune: pd.DataFrame,
    steps: Pipeline | None = None,
) -> EncodedTrips:
    """Fit the steps before the model on ``train`` and encode both frames, once for all trials.

    Args:
        family: Makes the steps.
        train: Trips to fit on.
        tune: Trips to measure on.
        steps: Unfitted ones to take instead, with the features of an earlier fit.
    """
    train_minutes, tune_minutes = minutes_of(train, "train"), minutes_of(tune, "tune")
    clock = _Clock()
    steps = family.make_pipeline()[:-1] if steps is None else steps
    encoded = steps.fit_transform(train, train_minutes)
    spent = clock.spent()
    return EncodedTrips(steps, encoded, train_minutes, steps.transform(tune), tune_minutes, *spent)


def fit_encoded(
    family: ModelFamily, encoded: EncodedTrips, parameters: dict[str, Any], seed: int, n_jobs: int
) -> FittedModel:
    """Fit the model on all encoded training rows; the result equals ``pipeline.fit(train)``."""
    clock = _Clock()
    model = BoundedRegressor(family.make_estimator(parameters, seed, n_jobs))
    model.fit(encoded.train, encoded.train_minutes)
    seconds, cpu_seconds = clock.spent()
    rmse = root_mean_squared_error(encoded.tune_minutes, model.predict(encoded.tune))
    return FittedModel(
        family=family.name,
        pipeline=Pipeline([*encoded.steps.steps, ("model", model)]),
        parameters=dict(parameters),
        tune_rmse=rmse,
        fit_seconds=encoded.seconds + seconds,
        fit_cpu_seconds=encoded.cpu_seconds + cpu_seconds,
    )


def refit(fitted: FittedModel, trips: pd.DataFrame) -> FittedModel:
    """Fit the same pipeline, with the same parameters and rounds, on other trips.

    For serving: once judged, the model may learn from all months. ``tune_rmse``, ``trials`` and the
    prediction intervals stay those of the fit before, since no month is left to measure on; its
    typical requests are among the trips.

    Raises:
        ValueError: when the trips lack a column or a usable target.
    """
    minutes = minutes_of(trips, "refit")
    clock = _Clock()
    pipeline = clone(fitted.pipeline).fit(trips, minutes)
    seconds, cpu_seconds = clock.spent()
    attach_intervals(pipeline, get_intervals(fitted.pipeline))
    attach_background_sample(pipeline, trips)
    return replace(fitted, pipeline=pipeline, fit_seconds=seconds, fit_cpu_seconds=cpu_seconds)


class _Clock:
    """Wall and processor time since it was made, in seconds."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def spent(self) -> tuple[float, float]:
        return time.perf_counter() - self._wall, time.process_time() - self._cpu
