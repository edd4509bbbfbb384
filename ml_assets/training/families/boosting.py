"""Gradient-boosted trees on encodings learned from past trips."""

from typing import TYPE_CHECKING, Any

from ml_assets.training.families.base import (
    EARLY_STOPPING_ROUNDS,
    EarlyStopping,
    ModelFamily,
    Parameters,
    TrialRows,
    stop_in_stages,
    trip_history,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from optuna.trial import BaseTrial


def _gradient_boosting(parameters: Parameters, seed: int, n_jobs: int) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(random_state=seed, **parameters)


def _gradient_boosting_space(trial: "BaseTrial") -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.06, 0.2, log=True),
        "max_depth": trial.suggest_int("max_depth", 4, 7),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 10, 60),
        "max_features": trial.suggest_float("max_features", 0.1, 0.25),
    }


GRADIENT_BOOSTING = ModelFamily(
    name="gradient_boosting",
    title="Gradient boosting",
    description="scikit-learn's exact gradient boosting: accurate, but single-core and slow on "
    "many rows.",
    kinds=("scikitlearn", "trees"),
    make_encoder=trip_history,
    make_estimator=_gradient_boosting,
    search_space=_gradient_boosting_space,
    defaults={
        "n_estimators": 100,
        "learning_rate": 0.1,
        "max_depth": 7,
        "min_samples_leaf": 30,
        "max_features": 0.2,
        "subsample": 0.5,
    },
    early_stopping=EarlyStopping(stop_in_stages),
    tuning_rows=20_000,
)


def _xgboost(parameters: Parameters, seed: int, n_jobs: int) -> Any:
    from xgboost import XGBRegressor

    return XGBRegressor(
        objective="reg:squarederror",
        tree_method="hist",
        random_state=seed,
        n_jobs=n_jobs,
        **parameters,
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


def _xgboost_space(trial: "BaseTrial") -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.03, 0.1, log=True),
        "max_depth": trial.suggest_int("max_depth", 7, 11),
        "min_child_weight": trial.suggest_float("min_child_weight", 2.0, 60.0, log=True),
        "subsample": trial.suggest_float("subsample", 0.7, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.25, 0.7),
        "reg_lambda": trial.suggest_float("reg_lambda", 2.0, 40.0, log=True),
    }


XGBOOST = ModelFamily(
    name="xgboost",
    title="XGBoost",
    description="Regularised gradient boosting on histograms: the most accurate, and fast.",
    kinds=("xgboost", "trees"),
    make_encoder=trip_history,
    make_estimator=_xgboost,
    search_space=_xgboost_space,
    defaults={
        "n_estimators": 400,
        "learning_rate": 0.045,
        "max_depth": 9,
        "min_child_weight": 10.0,
        "subsample": 0.8,
        "colsample_bytree": 0.4,
        "reg_lambda": 10.0,
    },
    packages=("xgboost",),
    early_stopping=EarlyStopping(_stop_xgboost),
)
