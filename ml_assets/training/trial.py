"""Fitting one trial: how each kind of estimator is grown, stopped early and pruned."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from xgboost.callback import TrainingCallback

from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.training.families import ModelFamily
from ml_assets.training.fit import EncodedTrips
from ml_assets.trips.rules import LONGEST_MINUTES, SHORTEST_MINUTES

MAX_ROUNDS = 3000
PATIENCE = 40
"""XGBoost stops when so many rounds in a row brought nothing on the tune month."""

STAGE = 20
MAX_STAGES = 8
STAGES_OF_PATIENCE = 2
"""Gradient boosting grows by so many trees at a time, up to 160: it has one core and no bins."""

_REPORT_EVERY = 10


class PruningCallback:
    """Tells a trial when to give up: it is hopeless, or the time of the study is over.

    Args:
        trial: the running trial.
        deadline: ``time.monotonic()`` at which the study ends; None without a limit.
    """

    def __init__(self, trial: optuna.Trial, deadline: float | None) -> None:
        self._trial = trial
        self._deadline = deadline

    def report(self, rmse: float, step: int) -> None:
        """Record progress.

        Raises:
            optuna.TrialPruned: when the trial is worth no more time. The first trial of a study
                is never given up: a study must have something to choose.
        """
        self._trial.report(rmse, step)
        late = self._deadline is not None and time.monotonic() > self._deadline
        if self._trial.should_prune() or (late and self._others_completed()):
            raise optuna.TrialPruned

    def _others_completed(self) -> bool:
        completed = (optuna.trial.TrialState.COMPLETE,)
        return bool(self._trial.study.get_trials(deepcopy=False, states=completed))


class _ReportRounds(TrainingCallback):
    """Reports XGBoost's error on the tune month to the watch."""

    def __init__(self, watch: PruningCallback) -> None:
        super().__init__()
        self._watch = watch

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        if epoch % _REPORT_EVERY == 0:
            (metrics,) = evals_log.values()
            self._watch.report(float(metrics["rmse"][-1]), epoch)
        return False


def run_trial(
    family: ModelFamily,
    encoded: EncodedTrips,
    parameters: dict[str, Any],
    watch: PruningCallback,
    seed: int,
    n_jobs: int,
) -> tuple[float, dict[str, Any]]:
    """Fit one set of parameters and measure it on the tune month.

    Returns:
        The RMSE in minutes, and the parameters with the number of rounds that was best.

    Raises:
        optuna.TrialPruned: see :meth:`PruningCallback.report`.
    """
    features, minutes = encoded.sample(family.tuning_rows, seed)
    if family.rounds == "evaluation_set":
        return _with_evaluation_set(
            family, encoded, features, minutes, parameters, watch, seed, n_jobs
        )
    if family.rounds == "staged":
        return _in_stages(family, encoded, features, minutes, parameters, watch, seed, n_jobs)
    estimator = family.make_estimator(parameters, seed, n_jobs).fit(features, minutes)
    return _tune_rmse(encoded, estimator), parameters


def _tune_rmse(encoded: EncodedTrips, estimator: Any) -> float:
    predicted = np.clip(estimator.predict(encoded.tune), SHORTEST_MINUTES, LONGEST_MINUTES)
    return root_mean_squared_error(encoded.tune_minutes, predicted)


def _with_evaluation_set(
    family: ModelFamily,
    encoded: EncodedTrips,
    features: Any,
    minutes: npt.NDArray[np.float64],
    parameters: dict[str, Any],
    watch: PruningCallback,
    seed: int,
    n_jobs: int,
) -> tuple[float, dict[str, Any]]:
    estimator = family.make_estimator({**parameters, "n_estimators": MAX_ROUNDS}, seed, n_jobs)
    estimator.set_params(early_stopping_rounds=PATIENCE, callbacks=[_ReportRounds(watch)])
    tune = [(encoded.tune, encoded.tune_minutes)]
    estimator.fit(features, minutes, eval_set=tune, verbose=False)
    rounds = int(estimator.best_iteration) + 1
    return _tune_rmse(encoded, estimator), {**parameters, "n_estimators": rounds}


def _in_stages(
    family: ModelFamily,
    encoded: EncodedTrips,
    features: Any,
    minutes: npt.NDArray[np.float64],
    parameters: dict[str, Any],
    watch: PruningCallback,
    seed: int,
    n_jobs: int,
) -> tuple[float, dict[str, Any]]:
    estimator = family.make_estimator(parameters, seed, n_jobs).set_params(warm_start=True)
    best_rmse, best_trees, stages_since = np.inf, 0, 0
    for trees in range(STAGE, STAGE * MAX_STAGES + 1, STAGE):
        estimator.set_params(n_estimators=trees).fit(features, minutes)
        rmse = _tune_rmse(encoded, estimator)
        watch.report(rmse, trees)
        if rmse < best_rmse:
            best_rmse, best_trees, stages_since = rmse, trees, 0
        else:
            stages_since += 1
        if stages_since == STAGES_OF_PATIENCE:
            break
    return best_rmse, {**parameters, "n_estimators": best_trees}
