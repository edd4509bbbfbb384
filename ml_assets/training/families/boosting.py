"""Gradient-boosted trees on encodings learned from past trips."""

from typing import TYPE_CHECKING, Any

from ml_assets.training.families.base import ModelFamily, Parameters, trip_history

if TYPE_CHECKING:
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
    rounds="staged",
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
    rounds="evaluation_set",
)
