"""Forests of independent trees on encodings learned from past trips."""

from typing import TYPE_CHECKING, Any

from ml_assets.training.families.base import ModelFamily, Parameters, trip_history

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

_TUNING_ROWS = 20_000
_MAX_LEAVES = 5_000
"""Bounds the size of a forest, which otherwise grows with the rows: extremely randomized trees of
three green months (2023-05 to 07) take 306 MB without it and 38 MB with it, for 0.1 % more error
on 2023-08."""


def _forest_space(trial: "BaseTrial") -> dict[str, Any]:
    return {
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 2, 12),
        "max_features": trial.suggest_float("max_features", 0.15, 0.5),
    }


def _random_forest(parameters: Parameters, seed: int, n_jobs: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(random_state=seed, n_jobs=n_jobs, **parameters)


RANDOM_FOREST = ModelFamily(
    name="random_forest",
    title="Random forest",
    description="Averages deep trees grown on bootstrap samples; robust without tuning.",
    kinds=("scikitlearn", "trees"),
    make_encoder=trip_history,
    make_estimator=_random_forest,
    search_space=_forest_space,
    defaults={
        "n_estimators": 50,
        "min_samples_leaf": 4,
        "max_features": 0.25,
        "max_samples": 0.4,
        "max_leaf_nodes": _MAX_LEAVES,
    },
    tuning_rows=_TUNING_ROWS,
)


def _extra_trees(parameters: Parameters, seed: int, n_jobs: int) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(random_state=seed, n_jobs=n_jobs, **parameters)


EXTRA_TREES = ModelFamily(
    name="extra_trees",
    title="Extremely randomized trees",
    description="A forest with random split thresholds: smoother than a random forest.",
    kinds=("scikitlearn", "trees"),
    make_encoder=trip_history,
    make_estimator=_extra_trees,
    search_space=_forest_space,
    defaults={
        "n_estimators": 50,
        "min_samples_leaf": 4,
        "max_features": 0.4,
        "max_leaf_nodes": _MAX_LEAVES,
    },
    tuning_rows=_TUNING_ROWS,
)
