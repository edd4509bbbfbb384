"""A run that is killed at a named point of the training."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import mlflow.sklearn

from ml_assets.registry.mlflow_runs import TrackedRun
from ml_assets.training import all_rows, tune
from ml_assets.training.families import FAMILIES
from ml_assets.training.tune import run_trial
from ml_assets_tests.graph.killing import die, die_when, run_command, then_die

FAMILY = "lasso"
TRAIN = ["run", "--first", "2023-01", "--last", "2023-04", "--models", FAMILY, "--trials", "2",
         "--json"]  # fmt: skip


def before_the_record_is_in_place(asset: str) -> Callable[[], None]:
    """Die when an asset's record is written but not yet renamed."""

    def arrange() -> None:
        Path.replace = die_when(  # type: ignore[method-assign]
            lambda temporary, final: Path(final).parent.name == asset, Path.replace
        )

    return arrange


def in_the_second_trial() -> None:
    tried: list[Any] = []

    def second(*arguments: Any) -> bool:
        tried.append(arguments)
        return len(tried) == 2

    tune.run_trial = die_when(second, run_trial)  # type: ignore[attr-defined]


def while_logging_a_trial() -> None:
    def log_child(run: TrackedRun, *arguments: Any, **named: Any) -> None:
        TrackedRun.log = die  # type: ignore[method-assign]
        logged(run, *arguments, **named)

    logged = TrackedRun.log_child
    TrackedRun.log_child = log_child  # type: ignore[method-assign,assignment]


def with_the_model_saved() -> None:
    mlflow.sklearn.save_model = then_die(mlflow.sklearn.save_model)  # type: ignore[attr-defined]


MOMENTS: dict[str, Callable[[], None]] = {
    "choosing months": before_the_record_is_in_place("training_set"),
    "tuning": in_the_second_trial,
    "logging a trial": while_logging_a_trial,
    "logging the model": with_the_model_saved,
    "recording the model": before_the_record_is_in_place(f"{FAMILY}_model"),
    "ranking": before_the_record_is_in_place("model_leaderboard"),
}
RUNNING = {
    "choosing months": 0,
    "tuning": 1,
    "logging a trial": 2,
    "logging the model": 1,
    "recording the model": 1,
    "ranking": 0,
}
"""Number of MLflow runs that are open then: that of the model, and perhaps that of a trial."""


TRAIN_ON_ALL_ROWS = ["run", "--first", "2023-01", "--last", "2023-04", "--models", "xgboost",
                     "--trials", "0", "--max-rows", "all", "--json"]  # fmt: skip
ROUNDS_BEFORE_THE_KILL = 3


def work_on_disk(environment: Mapping[str, str]) -> None:
    """Die in the middle of a fit of XGBoost whose rows are in a folder of the home."""
    import xgboost
    from xgboost.callback import TrainingCallback

    class Kill(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            if epoch == ROUNDS_BEFORE_THE_KILL:
                die()
            return False

    all_rows.MAX_ROWS_CACHED_IN_MEMORY = 0  # type: ignore[attr-defined]
    all_rows.BATCH_ROWS = 200  # type: ignore[misc]
    FAMILIES["xgboost"] = replace(FAMILIES["xgboost"], max_rows=300)
    xgboost.train = partial(xgboost.train, callbacks=[Kill()])
    run_command(TRAIN_ON_ALL_ROWS, environment)


def work(moment: str, environment: Mapping[str, str]) -> None:
    MOMENTS[moment]()
    run_command(TRAIN, environment)
