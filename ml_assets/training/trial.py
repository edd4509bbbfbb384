"""Fitting one trial: training rounds, early stopping and pruning of each kind of estimator."""

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
EARLY_STOPPING_ROUNDS = 40
"""XGBoost stops after this many rounds without improvement on the validation month."""

STAGE = 20
"""Trees that gradient boosting adds at a time. Exact gradient boosting uses one core and no
histograms, hence at most 160 trees."""

MAX_STAGES = 8
EARLY_STOPPING_STAGES = 2

_REPORT_EVERY = 10


class PruningCallback:
    """Prunes a trial that is unpromising or runs past the study's deadline.

    Args:
        trial: The running trial.
        deadline: ``time.monotonic()`` at which the study ends; None without a limit.
    """

    def __init__(self, trial: optuna.Trial, deadline: float | None) -> None:
        self._trial = trial
        self._deadline = deadline

    def report(self, rmse: float, step: int) -> None:
        """Report the validation RMSE in minutes after ``step`` rounds.

        Raises:
            optuna.TrialPruned: The trial should stop. The deadline does not stop a trial before
                another one has completed, so that the study has a result.
        """
        self._trial.report(rmse, step)
        late = self._deadline is not None and time.monotonic() > self._deadline
        if self._trial.should_prune() or (late and self._others_completed()):
            raise optuna.TrialPruned

    def _others_completed(self) -> bool:
        completed = (optuna.trial.TrialState.COMPLETE,)
        return bool(self._trial.study.get_trials(deepcopy=False, states=completed))


class _ReportRounds(TrainingCallback):
    """Reports XGBoost's error on the validation month to the pruning callback."""

    def __init__(self, pruning: PruningCallback) -> None:
        super().__init__()
        self._pruning = pruning

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        if epoch % _REPORT_EVERY == 0:
            (metrics,) = evals_log.values()
            self._pruning.report(float(metrics["rmse"][-1]), epoch)
        return False


def run_trial(
    family: ModelFamily,
    encoded: EncodedTrips,
    parameters: dict[str, Any],
    pruning: PruningCallback,
    seed: int,
    n_jobs: int,
) -> tuple[float, dict[str, Any]]:
    """Fit one set of parameters and measure it on the validation month.

    Returns:
        The RMSE in minutes, and the parameters with the best number of rounds.

    Raises:
        optuna.TrialPruned: See :meth:`PruningCallback.report`.
    """
    features, minutes = encoded.sample(family.tuning_rows, seed)
    if family.rounds == "evaluation_set":
        return _with_evaluation_set(
            family, encoded, features, minutes, parameters, pruning, seed, n_jobs
        )
    if family.rounds == "staged":
        return _in_stages(family, encoded, features, minutes, parameters, pruning, seed, n_jobs)
    estimator = family.make_estimator(parameters, seed, n_jobs).fit(features, minutes)
    return _validation_rmse(encoded, estimator), parameters


def _validation_rmse(encoded: EncodedTrips, estimator: Any) -> float:
    predicted = np.clip(estimator.predict(encoded.validation), SHORTEST_MINUTES, LONGEST_MINUTES)
    return root_mean_squared_error(encoded.validation_minutes, predicted)


def _with_evaluation_set(
    family: ModelFamily,
    encoded: EncodedTrips,
    features: Any,
    minutes: npt.NDArray[np.float64],
    parameters: dict[str, Any],
    pruning: PruningCallback,
    seed: int,
    n_jobs: int,
) -> tuple[float, dict[str, Any]]:
    estimator = family.make_estimator({**parameters, "n_estimators": MAX_ROUNDS}, seed, n_jobs)
    estimator.set_params(
        early_stopping_rounds=EARLY_STOPPING_ROUNDS, callbacks=[_ReportRounds(pruning)]
    )
    validation = [(encoded.validation, encoded.validation_minutes)]
    estimator.fit(features, minutes, eval_set=validation, verbose=False)
    rounds = int(estimator.best_iteration) + 1
    return _validation_rmse(encoded, estimator), {**parameters, "n_estimators": rounds}


def _in_stages(
    family: ModelFamily,
    encoded: EncodedTrips,
    features: Any,
    minutes: npt.NDArray[np.float64],
    parameters: dict[str, Any],
    pruning: PruningCallback,
    seed: int,
    n_jobs: int,
) -> tuple[float, dict[str, Any]]:
    estimator = family.make_estimator(parameters, seed, n_jobs).set_params(warm_start=True)
    best_rmse, best_trees, stages_since = np.inf, 0, 0
    for trees in range(STAGE, STAGE * MAX_STAGES + 1, STAGE):
        estimator.set_params(n_estimators=trees).fit(features, minutes)
        rmse = _validation_rmse(encoded, estimator)
        pruning.report(rmse, trees)
        if rmse < best_rmse:
            best_rmse, best_trees, stages_since = rmse, trees, 0
        else:
            stages_since += 1
        if stages_since == EARLY_STOPPING_STAGES:
            break
    return best_rmse, {**parameters, "n_estimators": best_trees}
