"""Forests of independent trees on encodings learned from past trips."""

from ml_assets.training.families.base import Estimator, ModelFamily, Tuned, trip_history, tunable

_TUNING_ROWS = 20_000
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
    tuning_rows=_TUNING_ROWS,
)
