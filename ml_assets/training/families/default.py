"""The families that are always trained: linear models, forests, and boosting.

Linear models fit sparse indicators of zones, pairs and hours; trees fit dense encodings learned
from past trips.
"""

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from ml_assets.config.cores import call_uninterrupted
from ml_assets.training.families.base import (
    EARLY_STOPPING_ROUNDS,
    EarlyStopping,
    Estimator,
    ModelFamily,
    RowBatches,
    TrialRows,
    Tuned,
    stop_in_stages,
    trip_history,
    trip_indicators,
    tunable,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from optuna.trial import BaseTrial


def _with_or_without_intercept(trial: "BaseTrial") -> dict[str, Any]:
    return {"fit_intercept": trial.suggest_categorical("fit_intercept", [True, False])}


_MAX_ROWS = 1_000_000
_BOOSTING_ROWS = 500_000
_XGBOOST_ROWS = 2_000_000
"""More than a year of green trips (0.8 M), within the time and memory that a year of yellow trips
may take (36 M): see ``docs/scale.md``. Exact boosting is the slowest for its gain."""

LINEAR_REGRESSION = ModelFamily(
    name="linear_regression",
    title="Linear regression",
    description="Ordinary least squares on indicators: nothing to tune, fast, easy to explain.",
    kinds=("scikitlearn", "linear"),
    single_core=True,
    # Without a penalty, an indicator of few trips overfits.
    make_encoder=partial(trip_indicators, min_rows=10),
    make_estimator=Estimator("sklearn.linear_model:LinearRegression", seed=None),
    search_space=_with_or_without_intercept,
    defaults={"fit_intercept": True, "tol": 1e-4},
    max_rows=_MAX_ROWS,
)

LASSO = ModelFamily(
    name="lasso",
    title="Lasso",
    description="Least squares with an L1 penalty, which drops uninformative indicators.",
    kinds=("scikitlearn", "linear"),
    single_core=True,
    make_encoder=trip_indicators,
    make_estimator=Estimator("sklearn.linear_model:Lasso", fixed={"selection": "random"}),
    **tunable(
        # Around 1, where the course searched, every coefficient is zero: it predicts the mean.
        alpha=Tuned(1e-3, 5e-4, 2e-2, log=True),
        max_iter=500,
        # The same error on later months as with a smaller one, in a tenth of the time.
        tol=0.1,
    ),
    max_rows=_MAX_ROWS,
    tuning_rows=30_000,
)

LINEAR_SVR = ModelFamily(
    name="linear_svr",
    title="Linear support vector regression",
    description="Ridge regression on indicators that ignores errors below epsilon; the best linear "
    "model.",
    kinds=("scikitlearn", "linear"),
    single_core=True,
    make_encoder=trip_indicators,
    # The squared loss matches RMSE, and its primal form is solved in a fraction of the time that
    # the dual of the default loss needs.
    make_estimator=Estimator(
        "sklearn.svm:LinearSVR", fixed={"loss": "squared_epsilon_insensitive", "dual": False}
    ),
    **tunable(
        C=Tuned(0.1, 0.02, 0.5, log=True),
        epsilon=Tuned(0.5, 0.0, 2.0),
        max_iter=2000,
    ),
    max_rows=_MAX_ROWS,
)


_TUNING_ROWS = 10_000
"""With 20,000, trials take twice as long. On 2023-04, 06 and 08, each with a third of the two
months before the validation month, the errors of random forests are then 0.05 % lower; those of
extremely randomized trees are the same on 2023-06 and 0.7 % lower on 08. Half of the trees instead
of half of the rows costs 0.4 %."""

_MAX_LEAVES = 5_000
"""Bounds the size of a forest, which otherwise grows with the rows: extremely randomized trees of
three green months (2023-05 to 07) take 306 MB without it and 38 MB with it, for 0.1 % more error
on 2023-08."""

RANDOM_FOREST = ModelFamily(
    name="random_forest",
    title="Random forest",
    description="Averages deep trees grown on bootstrap samples; robust without tuning.",
    kinds=("scikitlearn", "trees"),
    make_encoder=trip_history,
    make_estimator=Estimator("sklearn.ensemble:RandomForestRegressor", threads="n_jobs"),
    **tunable(
        n_estimators=50,
        min_samples_leaf=Tuned(4, 2, 12),
        max_features=Tuned(0.25, 0.15, 0.5),
        max_samples=0.4,
        max_leaf_nodes=_MAX_LEAVES,
    ),
    # Without the distance, durations vary more, so smaller trees predict as well: in 2023-06 and
    # 08 the error is the same, in 0.6 of the time.
    without_distance={"min_samples_leaf": 8, "max_samples": 0.25},
    max_rows=_MAX_ROWS,
    tuning_rows=_TUNING_ROWS,
)

EXTRA_TREES = ModelFamily(
    name="extra_trees",
    title="Extremely randomized trees",
    description="A forest with random split thresholds: smoother than a random forest.",
    kinds=("scikitlearn", "trees"),
    make_encoder=trip_history,
    make_estimator=Estimator("sklearn.ensemble:ExtraTreesRegressor", threads="n_jobs"),
    **tunable(
        n_estimators=50,
        min_samples_leaf=Tuned(4, 2, 12),
        max_features=Tuned(0.4, 0.15, 0.5),
        max_leaf_nodes=_MAX_LEAVES,
    ),
    without_distance={"min_samples_leaf": 16},  # 0.1 % less error, in 0.6 of the time
    max_rows=_MAX_ROWS,
    tuning_rows=_TUNING_ROWS,
)


GRADIENT_BOOSTING = ModelFamily(
    name="gradient_boosting",
    title="Gradient boosting",
    description="scikit-learn's exact gradient boosting: accurate, but single-core and slow on "
    "many rows.",
    kinds=("scikitlearn", "trees"),
    make_encoder=trip_history,
    make_estimator=Estimator("sklearn.ensemble:GradientBoostingRegressor"),
    single_core=True,
    **tunable(
        n_estimators=100,
        learning_rate=Tuned(0.1, 0.06, 0.2, log=True),
        max_depth=Tuned(7, 4, 7),
        min_samples_leaf=Tuned(30, 10, 60),
        max_features=Tuned(0.2, 0.1, 0.25),
        subsample=0.5,
    ),
    early_stopping=EarlyStopping(stop_in_stages),
    max_rows=_BOOSTING_ROWS,
    tuning_rows=20_000,
)


def _stop_xgboost(estimator: Any, rows: TrialRows) -> "tuple[int, npt.NDArray[np.float64]]":
    from xgboost.callback import TrainingCallback

    from ml_assets.pipeline.bounded_regressor import fit_regressor

    class Report(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            (metrics,) = evals_log.values()
            rows.report(float(metrics["rmse"][-1]), epoch)
            return False

    estimator.set_params(early_stopping_rounds=EARLY_STOPPING_ROUNDS, callbacks=[Report()])
    validation = [(rows.validation, rows.validation_target)]
    fit_regressor(estimator, rows.train, rows.train_target, eval_set=validation, verbose=False)
    return int(estimator.best_iteration) + 1, estimator.predict(rows.validation)


def _fit_xgboost_batches(estimator: Any, batches: RowBatches) -> None:
    from xgboost import DataIter, ExtMemQuantileDMatrix, QuantileDMatrix, train

    interrupted = threading.Event()

    class Batches(DataIter):
        def reset(self) -> None:
            self._parts = batches.read()

        def next(self, input_data: Any) -> bool:
            if interrupted.is_set():
                raise InterruptedError
            rows, target = next(self._parts, (None, None))
            if rows is None:
                return False
            input_data(data=rows, label=target)
            return True

    prefix = None if batches.folder is None else str(batches.folder / "rows")
    make = QuantileDMatrix if batches.folder is None else ExtMemQuantileDMatrix
    parameters = estimator.get_xgb_params()
    matrix = call_uninterrupted(
        lambda: make(
            Batches(cache_prefix=prefix),
            nthread=parameters.get("nthread") or parameters.get("n_jobs"),
            max_bin=estimator.max_bin,
        ),
        stop=interrupted.set,
    )
    # What XGBRegressor.fit does with a matrix of rows that it was given.
    estimator._Booster = train(parameters, matrix, estimator.get_num_boosting_rounds())


XGBOOST = ModelFamily(
    name="xgboost",
    title="XGBoost",
    description="Regularised gradient boosting on histograms: the most accurate, and fast.",
    kinds=("xgboost", "trees"),
    packages=("xgboost",),
    make_encoder=trip_history,
    make_estimator=Estimator(
        "xgboost:XGBRegressor",
        threads="n_jobs",
        fixed={"objective": "reg:squarederror", "tree_method": "hist"},
    ),
    **tunable(
        n_estimators=400,
        learning_rate=Tuned(0.045, 0.03, 0.1, log=True),
        max_depth=Tuned(9, 7, 11),
        min_child_weight=Tuned(10.0, 2.0, 60.0, log=True),
        subsample=Tuned(0.8, 0.7, 1.0),
        colsample_bytree=Tuned(0.4, 0.25, 0.7),
        reg_lambda=Tuned(10.0, 2.0, 40.0, log=True),
    ),
    early_stopping=EarlyStopping(_stop_xgboost, repeatable=True),
    max_rows=_XGBOOST_ROWS,
    tuning_rows=400_000,
    fit_batches=_fit_xgboost_batches,
)
