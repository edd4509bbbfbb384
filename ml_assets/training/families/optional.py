"""Families that are trained only where ``ML_ASSETS_EXTRA_FAMILIES`` names them.

Each is an example of a whole entry: parameters, early stopping on the validation month, and the
package that its stored form needs.
"""

from itertools import islice
from typing import TYPE_CHECKING, Any

from ml_assets.training.families.base import (
    EARLY_STOPPING_ROUNDS,
    EarlyStopping,
    Estimator,
    ModelFamily,
    TrialRows,
    Tuned,
    trip_history,
    tunable,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Stopped = tuple[int, npt.NDArray[np.float64]]

_LIGHTGBM = {"metric": "rmse", "force_row_wise": True, "verbose": -1, "deterministic": True}
"""Deterministic: the trees do not depend on the number of threads."""
_CATBOOST = {"verbose": 0, "allow_writing_files": False}
_HIST = {"early_stopping": False}


def _stop_lightgbm(estimator: Any, rows: TrialRows) -> "Stopped":
    from lightgbm import early_stopping

    stop = early_stopping(EARLY_STOPPING_ROUNDS, verbose=False)
    callbacks = [lambda now: rows.report(now.evaluation_result_list[0][2], now.iteration), stop]
    validation = {"eval_X": rows.validation, "eval_y": rows.validation_target}
    estimator.fit(rows.train, rows.train_target, callbacks=callbacks, **validation)
    return estimator.best_iteration_, estimator.predict(rows.validation)


LIGHTGBM = ModelFamily(
    name="lightgbm",
    title="LightGBM",
    description="Gradient boosting that grows trees by leaf: close to XGBoost, and faster to fit.",
    kinds=("lightgbm", "trees"),
    packages=("lightgbm",),
    make_encoder=trip_history,
    make_estimator=Estimator("lightgbm:LGBMRegressor", threads="n_jobs", fixed=_LIGHTGBM),
    **tunable(
        n_estimators=200,
        learning_rate=Tuned(0.05, 0.03, 0.15, log=True),
        num_leaves=Tuned(63, 15, 127, log=True),
        min_child_samples=Tuned(20, 10, 80, log=True),
        colsample_bytree=0.4,
    ),
    early_stopping=EarlyStopping(_stop_lightgbm),
)


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
    make_estimator=Estimator(
        "catboost:CatBoostRegressor", "random_seed", "thread_count", _CATBOOST
    ),
    **tunable(
        iterations=300,
        learning_rate=Tuned(0.08, 0.04, 0.2, log=True),
        depth=Tuned(7, 5, 9),
        l2_leaf_reg=Tuned(3.0, 1.0, 20.0, log=True),
    ),
    early_stopping=EarlyStopping(_stop_catboost, "iterations"),
)


def _stop_hist(estimator: Any, rows: TrialRows) -> "Stopped":
    rounds = EARLY_STOPPING_ROUNDS
    estimator.set_params(early_stopping=True, n_iter_no_change=rounds, scoring="loss")
    validation = {"X_val": rows.validation, "y_val": rows.validation_target}
    estimator.fit(rows.train, rows.train_target, **validation)
    best = max(1, int(estimator.validation_score_.argmax()))  # the first score is of no tree
    return best, next(islice(estimator.staged_predict(rows.validation), best - 1, None))


HIST_GRADIENT_BOOSTING = ModelFamily(
    name="hist_gradient_boosting",
    title="Histogram gradient boosting",
    description="scikit-learn's boosting on histograms, after LightGBM: fast, without a package.",
    kinds=("scikitlearn", "trees"),
    make_encoder=trip_history,
    make_estimator=Estimator("sklearn.ensemble:HistGradientBoostingRegressor", fixed=_HIST),
    **tunable(
        max_iter=200,
        learning_rate=Tuned(0.06, 0.03, 0.15, log=True),
        max_leaf_nodes=Tuned(63, 15, 127, log=True),
        min_samples_leaf=Tuned(20, 10, 80, log=True),
        max_features=0.4,
    ),
    early_stopping=EarlyStopping(_stop_hist, "max_iter"),
)
