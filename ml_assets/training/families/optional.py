"""Families that are trained only where ``ML_ASSETS_EXTRA_FAMILIES`` names them.

Each is an example of a whole entry: parameters, early stopping on the validation month, and the
package that its stored form needs.
"""

from itertools import islice
from typing import TYPE_CHECKING, Any

from ml_assets.training.families.base import (
    EARLY_STOPPING_ROUNDS,
    EarlyStopping,
    ModelFamily,
    Parameters,
    TrialRows,
    log_ranges,
    trip_history,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Stopped = tuple[int, npt.NDArray[np.float64]]


def _lightgbm(parameters: Parameters, seed: int, n_jobs: int) -> Any:
    from lightgbm import LGBMRegressor

    # Deterministic: the trees do not depend on the number of threads.
    fixed: dict[str, Any] = {"deterministic": True, "force_row_wise": True, "verbose": -1}
    return LGBMRegressor(random_state=seed, n_jobs=n_jobs, metric="rmse", **fixed, **parameters)


def _stop_lightgbm(estimator: Any, rows: TrialRows) -> "Stopped":
    from lightgbm import early_stopping

    def report(state: Any) -> None:
        rows.report(state.evaluation_result_list[0][2], state.iteration)

    stop = early_stopping(EARLY_STOPPING_ROUNDS, verbose=False)
    validation = {"eval_X": rows.validation, "eval_y": rows.validation_target}
    estimator.fit(rows.train, rows.train_target, callbacks=[report, stop], **validation)
    return estimator.best_iteration_, estimator.predict(rows.validation)


LIGHTGBM = ModelFamily(
    name="lightgbm",
    title="LightGBM",
    description="Gradient boosting that grows trees by leaf: close to XGBoost, and faster to fit.",
    kinds=("lightgbm", "trees"),
    packages=("lightgbm",),
    make_encoder=trip_history,
    make_estimator=_lightgbm,
    search_space=log_ranges(learning_rate=(0.03, 0.15), num_leaves=(15, 127)),
    defaults={"n_estimators": 200, "learning_rate": 0.05, "num_leaves": 63, "reg_lambda": 1.0},
    early_stopping=EarlyStopping(_stop_lightgbm),
)


def _catboost(parameters: Parameters, seed: int, n_jobs: int) -> Any:
    from catboost import CatBoostRegressor

    fixed: dict[str, Any] = {"verbose": 0, "allow_writing_files": False}
    return CatBoostRegressor(random_seed=seed, thread_count=n_jobs, **fixed, **parameters)


def _stop_catboost(estimator: Any, rows: TrialRows) -> "Stopped":
    validation = (rows.validation, rows.validation_target)
    estimator.set_params(early_stopping_rounds=EARLY_STOPPING_ROUNDS, use_best_model=True)
    estimator.fit(rows.train, rows.train_target, eval_set=validation)
    return estimator.tree_count_, estimator.predict(rows.validation)


CATBOOST = ModelFamily(
    name="catboost",
    title="CatBoost",
    description="Ordered boosting of symmetric trees: accurate with little tuning, slow to fit.",
    kinds=("catboost", "trees"),
    packages=("catboost",),
    make_encoder=trip_history,
    make_estimator=_catboost,
    search_space=log_ranges(learning_rate=(0.04, 0.2), depth=(5, 9), l2_leaf_reg=(1.0, 20.0)),
    defaults={"iterations": 300, "learning_rate": 0.08, "depth": 7, "l2_leaf_reg": 3.0},
    early_stopping=EarlyStopping(_stop_catboost, "iterations"),
)


def _hist(parameters: Parameters, seed: int, n_jobs: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(early_stopping=False, random_state=seed, **parameters)


def _stop_hist(estimator: Any, rows: TrialRows) -> "Stopped":
    validation = {"X_val": rows.validation, "y_val": rows.validation_target}
    estimator.set_params(early_stopping=True, n_iter_no_change=EARLY_STOPPING_ROUNDS)
    estimator.fit(rows.train, rows.train_target, **validation)
    rounds = max(1, int(estimator.validation_score_.argmax()))  # the first score is of no tree
    return rounds, next(islice(estimator.staged_predict(rows.validation), rounds - 1, None))


HIST_GRADIENT_BOOSTING = ModelFamily(
    name="hist_gradient_boosting",
    title="Histogram gradient boosting",
    description="scikit-learn's boosting on histograms, after LightGBM: fast, without a package.",
    kinds=("scikitlearn", "trees"),
    make_encoder=trip_history,
    make_estimator=_hist,
    search_space=log_ranges(learning_rate=(0.03, 0.15), max_leaf_nodes=(15, 127)),
    defaults={"max_iter": 200, "learning_rate": 0.06, "max_leaf_nodes": 63, "max_features": 0.4},
    early_stopping=EarlyStopping(_stop_hist, "max_iter"),
)
