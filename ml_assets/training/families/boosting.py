"""Gradient-boosted trees on encodings learned from past trips."""

from typing import TYPE_CHECKING, Any

from ml_assets.training.families.base import (
    EARLY_STOPPING_ROUNDS,
    EarlyStopping,
    Estimator,
    ModelFamily,
    TrialRows,
    Tuned,
    stop_in_stages,
    trip_history,
    tunable,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

GRADIENT_BOOSTING = ModelFamily(
    name="gradient_boosting",
    title="Gradient boosting",
    description="scikit-learn's exact gradient boosting: accurate, but single-core and slow on "
    "many rows.",
    kinds=("scikitlearn", "trees"),
    make_encoder=trip_history,
    make_estimator=Estimator("sklearn.ensemble:GradientBoostingRegressor"),
    **tunable(
        n_estimators=100,
        learning_rate=Tuned(0.1, 0.06, 0.2, log=True),
        max_depth=Tuned(7, 4, 7),
        min_samples_leaf=Tuned(30, 10, 60),
        max_features=Tuned(0.2, 0.1, 0.25),
        subsample=0.5,
    ),
    early_stopping=EarlyStopping(stop_in_stages),
    tuning_rows=20_000,
)


def _stop_xgboost(estimator: Any, rows: TrialRows) -> "tuple[int, npt.NDArray[np.float64]]":
    from xgboost.callback import TrainingCallback

    class Report(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            (metrics,) = evals_log.values()
            rows.report(float(metrics["rmse"][-1]), epoch)
            return False

    estimator.set_params(early_stopping_rounds=EARLY_STOPPING_ROUNDS, callbacks=[Report()])
    validation = [(rows.validation, rows.validation_target)]
    estimator.fit(rows.train, rows.train_target, eval_set=validation, verbose=False)
    return int(estimator.best_iteration) + 1, estimator.predict(rows.validation)


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
    early_stopping=EarlyStopping(_stop_xgboost),
)
