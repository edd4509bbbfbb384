"""Tuning a family's parameters on the validation month with Optuna, and the final fit."""

import contextlib
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
import pandas as pd
from sqlalchemy.exc import DBAPIError, IntegrityError

from ml_assets.config.cores import thread_count
from ml_assets.config.sqlite_url import resolve_url, sqlite_path, sqlite_url
from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.pipeline.bounded_regressor import check_share
from ml_assets.storage.atomic import locked
from ml_assets.storage.sqlite import new_database, tables
from ml_assets.training.families import ModelFamily
from ml_assets.training.families.base import MAX_ROUNDS, SHARE_WITHOUT_DISTANCE, TrialRows
from ml_assets.training.fit import (
    EncodedTrips,
    FittedModel,
    Minutes,
    TrialRecord,
    encode_trips,
    fit_encoded,
    model_of_trials,
)
from ml_assets.training.training_set import ReadTrips
from ml_assets.trips.target import TARGET

_LOG = logging.getLogger(__name__)
_PARAMETERS = "parameters"
_DATA = "trips"
_OPEN_ATTEMPTS = 5

_quiet_lock = threading.Lock()
_verbosities: list[int] = []  # of Optuna when each study in progress began
_REPORT_EVERY = 10
"""Rounds between two reports to the pruner."""


@dataclass(frozen=True)
class TuningBudget:
    """Budget of a study.

    Attributes:
        trials: Maximum number of trials; 0 uses the warm-start parameters or the defaults.
        seconds: Time after which no trial starts and a running one that reports progress is
            pruned; None without a limit. The final fit comes on top.
        seed: Seed of the sampler, of the rows sampled for trials, and of the estimators.

    Raises:
        ValueError: ``trials`` is negative, or ``seconds`` is not above 0.
    """

    trials: int = 10
    seconds: float | None = None
    seed: int = 42

    def __post_init__(self) -> None:
        if self.trials < 0:
            raise ValueError(
                f"the tuning budget is {self.trials} trials: must be 0 (no tuning) or more"
            )
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(
                f"the tuning budget is {self.seconds} seconds: must be above 0, or none for no "
                "limit"
            )


@dataclass(frozen=True)
class TrialFit:
    """A fit of one set of parameters, measured on the validation month.

    Attributes:
        rmse: RMSE on the validation month, minutes.
        parameters: The parameters, with the best number of rounds.
        predicted: What it predicts for the validation rows, minutes, not yet bounded.
        repeatable: Whether the final fit of these parameters predicts the same, to the last bit: it
            was fitted on all rows, and not in another way because of early stopping.
    """

    rmse: float
    parameters: dict[str, Any]
    predicted: Minutes
    repeatable: bool


def tune_and_fit(
    family: ModelFamily,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    *,
    budget: TuningBudget,
    warm_start: Mapping[str, Any] | None = None,
    share_without_distance: float | None = None,
    storage: str | None = None,
    study_name: str | None = None,
    n_jobs: int = -1,
    on_trial: Callable[[TrialRecord], None] | None = None,
    to_be_refitted: bool = False,
    past: ReadTrips | None = None,
) -> FittedModel:
    """Tune the parameters on ``validation`` with fits on ``train``, then fit with the best ones.

    The first trials are the warm start and the family's defaults, so the tuned parameters are never
    worse than these on the validation month; a seeded TPE chooses the others.

    Args:
        train: Request fields and ``duration_minutes``.
        validation: The same of a later month; it selects parameters and rounds and is not fitted
            on.
        warm_start: Parameters of an earlier model of the family; unknown ones are dropped.
        share_without_distance: Share of the rows that the estimator for requests without a distance
            is fitted on, above 0 and at most 1, recorded as a parameter; None means the family's.
        storage: URL for Optuna's RDB storage: several processes share the study, and each adds
            ``budget.trials``; None keeps it in memory.
        study_name: Required with ``storage``; a name belongs to one pair of frames.
        n_jobs: Threads of the estimator; -1 for every core.
        to_be_refitted: Leave the model unfitted if its trials have predicted the validation month
            as the final fit would; for a caller that needs no more than these predictions.
        past: Reads all the trips that ``train`` is a sample of, see ``fit.fit_steps``.

    Raises:
        ValueError: A frame lacks a column, rows or a usable target; ``storage`` comes without
            ``study_name``; the study was made on other trips; or every trial failed, with the error
            of the first one.
    """
    threads = thread_count(n_jobs)
    if storage is not None and study_name is None:
        raise ValueError("a tuning storage needs a study_name to share the study by")
    share = {}
    if share_without_distance is not None:
        share[SHARE_WITHOUT_DISTANCE] = check_share(share_without_distance)
    encoded = encode_trips(family, train, validation, past=past)
    parameters = {**family.defaults, **_known(family, warm_start or {})}
    parameters.pop(SHARE_WITHOUT_DISTANCE, None)  # a choice of each training
    trials: list[TrialRecord] = []
    predicted: tuple[Minutes, Minutes] | None = None
    if budget.trials > 0:
        of_trials = encoded.with_distance()
        with _quiet_optuna():
            study = _open_study(family, of_trials, budget, storage, study_name)
            # The warm start, if there is one, and the defaults, unless tried already.
            for first in (parameters, family.defaults):
                known = {name: first[name] for name in family.defaults}
                study.enqueue_trial(known, skip_if_exists=True)
            fits = _optimize(study, family, of_trials, budget, threads, on_trial)
        trials = [
            _record(trial) for trial in study.get_trials(deepcopy=False) if trial.datetime_complete
        ]
        best = _best_trial(study)
        if best is not None:
            parameters = dict(best.user_attrs[_PARAMETERS])
        stopping, rounds = family.early_stopping, family.usual_rounds
        if stopping is not None and rounds is not None and encoded.distance_columns:
            usual = _stop_without_distance(
                family, encoded, parameters | share, budget.seed, threads
            )
            parameters[rounds] = usual.parameters[stopping.parameter]
            of_best = fits.get(best.number) if best is not None else None
            if of_best is not None and of_best.repeatable and usual.repeatable:
                predicted = of_best.predicted, usual.predicted
    parameters |= share
    if to_be_refitted and predicted is not None:
        fitted = model_of_trials(family, encoded, parameters, budget.seed, threads, predicted)
    else:
        fitted = fit_encoded(family, encoded, parameters, budget.seed, threads)
    return replace(fitted, trials=trials)


def _stop_without_distance(
    family: ModelFamily,
    encoded: EncodedTrips,
    parameters: dict[str, Any],
    seed: int,
    n_jobs: int,
) -> TrialFit:
    """Find the rounds of the estimator for requests without a distance, with tuned parameters.

    It stops far earlier: without the distance, more rounds only fit noise.
    """
    share = parameters.get(SHARE_WITHOUT_DISTANCE, family.share_without_distance)
    rows = encoded.without_distance(share)
    parameters = {**parameters, **family.without_distance}
    return run_trial(family, rows, parameters, lambda *_: None, seed, n_jobs)


def _known(family: ModelFamily, warm_start: Mapping[str, Any]) -> dict[str, Any]:
    """Return the warm start without parameters that the family does not have."""
    known = family.parameter_names
    unknown = sorted(set(warm_start) - known)
    if unknown:
        _LOG.warning(
            "%s has no parameter %s: dropped from the warm start", family.name, ", ".join(unknown)
        )
    return {name: value for name, value in warm_start.items() if name in known}


@contextlib.contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Let Optuna log warnings only: trials are reported to ``on_trial``.

    The last of the studies that run side by side restores its verbosity.
    """
    with _quiet_lock:
        _verbosities.append(optuna.logging.get_verbosity())
        optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        with _quiet_lock:
            before = _verbosities[0]
            _verbosities.pop()
            if not _verbosities:
                optuna.logging.set_verbosity(before)


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Open a database of studies and create its tables if it is new.

    An SQLite database is created atomically. In other databases, Optuna checks for a table or its
    version row before creating it, so workers that open a new database at once race: all but one
    may fail ("already exists", "UNIQUE constraint failed", "database is locked", depending on the
    database) and succeed on the next attempt.

    Args:
        url: SQLAlchemy URL; a relative SQLite path is relative to the working directory.

    Raises:
        DBAPIError: SQLAlchemy cannot open the database.
    """
    url = resolve_url(url)
    if (database := sqlite_path(url)) is not None:
        with locked(database.with_name(f".{database.name}.lock")):
            _create_if_missing(database)
    for attempt in range(_OPEN_ATTEMPTS):
        try:
            return optuna.storages.RDBStorage(url)
        except DBAPIError as error:
            if attempt == _OPEN_ATTEMPTS - 1 or not _lost_a_race(error):
                raise
            time.sleep(0.2 * (attempt + 1))
    raise AssertionError("the last attempt returns or raises")


def _create_if_missing(database: Path) -> None:
    if tables(database):
        return
    with new_database(database) as temporary:
        storage = optuna.storages.RDBStorage(sqlite_url(temporary))
        storage.remove_session()
        storage.engine.dispose()


def _lost_a_race(error: DBAPIError) -> bool:
    message = str(error.orig)
    return isinstance(error, IntegrityError) or "already exists" in message or "locked" in message


def _open_study(
    family: ModelFamily,
    encoded: EncodedTrips,
    budget: TuningBudget,
    storage: str | None,
    study_name: str | None,
) -> optuna.Study:
    study = optuna.create_study(
        storage=None if storage is None else open_storage(storage),
        study_name=study_name,
        direction="minimize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=40),
    )
    # Two workers with the same seed would try the same points; a new study uses the seed as it is.
    offset = len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.TPESampler(
        seed=budget.seed + offset, n_startup_trials=max(4, min(10, budget.trials // 3))
    )
    trips = {
        "family": family.name,
        "train_rows": len(encoded.train_minutes),
        "train_minutes": round(float(encoded.train_minutes.sum()), 3),
        "tune_rows": len(encoded.validation_minutes),
        "tune_minutes": round(float(encoded.validation_minutes.sum()), 3),
    }
    known = study.user_attrs.get(_DATA)
    if known is None:
        study.set_user_attr(_DATA, trips)
    elif known != trips:
        raise ValueError(
            f"the study {study_name!r} was made on other trips ({known}) than these ({trips}), so "
            "its trials are not comparable: choose another study_name"
        )
    return study


def _optimize(
    study: optuna.Study,
    family: ModelFamily,
    encoded: EncodedTrips,
    budget: TuningBudget,
    threads: int,
    on_trial: Callable[[TrialRecord], None] | None,
) -> dict[int, TrialFit]:
    """Run the trials of the budget; return the best fit of this process by its number, if any."""
    deadline = None if budget.seconds is None else time.monotonic() + budget.seconds
    failed: list[Exception] = []
    best: dict[int, TrialFit] = {}

    def objective(trial: optuna.Trial) -> float:
        parameters = {**family.defaults, **family.search_space(trial)}
        report = partial(_report_or_prune, trial, deadline)
        try:
            fit = run_trial(family, encoded, parameters, report, budget.seed, threads)
        except (ValueError, ArithmeticError) as error:
            _LOG.warning("%s failed with %s: %s", family.name, parameters, error)
            failed.append(error)
            raise
        trial.set_user_attr(_PARAMETERS, fit.parameters)
        if all(fit.rmse < other.rmse for other in best.values()):
            best.clear()
            best[trial.number] = fit
        return fit.rmse

    def report(_: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if on_trial is not None:
            on_trial(_record(trial))
        if trial.state != optuna.trial.TrialState.COMPLETE:
            # Its exception refers to its frames, and so to its rows and matrices, in a cycle.
            gc.collect()

    # Parameters that an estimator rejects end the trial, not the study.
    study.optimize(
        objective,
        n_trials=budget.trials,
        timeout=budget.seconds,
        callbacks=[report],
        catch=(ValueError, ArithmeticError),
    )
    trials = study.get_trials(deepcopy=False)
    if failed and len(failed) == len(trials):
        raise failed[0]
    return best


def run_trial(
    family: ModelFamily,
    encoded: EncodedTrips,
    parameters: dict[str, Any],
    report: Callable[[float, int], None],
    seed: int,
    n_jobs: int,
) -> TrialFit:
    """Fit one set of parameters and measure it on the validation month.

    Raises:
        optuna.TrialPruned: ``report`` raised it.
    """

    def rmse(predicted: npt.NDArray[np.float64]) -> float:
        bounded = np.clip(predicted, TARGET.lower, TARGET.upper)
        return root_mean_squared_error(encoded.validation_minutes, bounded)

    all_rows = not encoded.has_more_than(family.tuning_rows)
    parameters = {name: parameters[name] for name in family.defaults}
    train, target = encoded.sample(family.tuning_rows, seed)
    stopping = family.early_stopping
    if stopping is None:
        estimator = family.make_estimator(parameters, seed, n_jobs).fit(train, target)
        predicted = estimator.predict(encoded.validation)
        return TrialFit(rmse(predicted), parameters, predicted, all_rows)
    rows = TrialRows(train, target, encoded.validation, encoded.validation_minutes, rmse, report)
    estimator = family.make_estimator({**parameters, stopping.parameter: MAX_ROUNDS}, seed, n_jobs)
    rounds, predicted = stopping.fit(estimator, rows)
    parameters |= {stopping.parameter: rounds}
    return TrialFit(rmse(predicted), parameters, predicted, all_rows and stopping.repeatable)


def _report_or_prune(trial: optuna.Trial, deadline: float | None, rmse: float, rounds: int) -> None:
    """Report the validation RMSE, minutes, and stop an unpromising trial or one past the deadline.

    The deadline stops no trial before another one has completed, so that the study has a result.
    """
    if rounds % _REPORT_EVERY:
        return
    trial.report(rmse, rounds)
    late = deadline is not None and time.monotonic() > deadline
    if trial.should_prune() or (late and _completed(trial.study)):
        raise optuna.TrialPruned


def _completed(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def _best_trial(study: optuna.Study) -> optuna.trial.FrozenTrial | None:
    """Return the best completed trial, the first of several; None without one."""
    return min(_completed(study), key=lambda trial: (trial.values[0], trial.number), default=None)


def _record(trial: optuna.trial.FrozenTrial) -> TrialRecord:
    complete = trial.state == optuna.trial.TrialState.COMPLETE
    duration = trial.duration
    return TrialRecord(
        number=trial.number,
        parameters=dict(trial.user_attrs.get(_PARAMETERS, trial.params)),
        validation_rmse=float(trial.values[0]) if complete and trial.values else None,
        state=trial.state.name,
        seconds=0.0 if duration is None else duration.total_seconds(),
    )
