"""Fitting one trial: early stopping on the validation month, and pruning."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna

from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.training.families import ModelFamily
from ml_assets.training.families.base import MAX_ROUNDS, TrialRows
from ml_assets.training.fit import EncodedTrips
from ml_assets.trips.target import TARGET

_REPORT_EVERY = 10
"""Rounds between two reports to the pruner."""


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

    def rmse(predicted: npt.NDArray[np.float64]) -> float:
        bounded = np.clip(predicted, TARGET.lower, TARGET.upper)
        return root_mean_squared_error(encoded.validation_minutes, bounded)

    def report(value: float, rounds: int) -> None:
        if rounds % _REPORT_EVERY == 0:
            pruning.report(value, rounds)

    train, target = encoded.sample(family.tuning_rows, seed)
    stopping = family.early_stopping
    if stopping is None:
        estimator = family.make_estimator(parameters, seed, n_jobs).fit(train, target)
        return rmse(estimator.predict(encoded.validation)), parameters
    rows = TrialRows(train, target, encoded.validation, encoded.validation_minutes, rmse, report)
    estimator = family.make_estimator({**parameters, stopping.parameter: MAX_ROUNDS}, seed, n_jobs)
    rounds, predicted = stopping.fit(estimator, rows)
    return rmse(predicted), {**parameters, stopping.parameter: rounds}
