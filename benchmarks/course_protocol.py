"""The peer: how the MLOps Zoomcamp 2024 reads trips and trains XGBoost.

Read and written again after the course's notebooks (``read_dataframe``) and the Mage project of its
orchestration module (github.com/mage-ai/mlops: ``utils/hyperparameters/shared.py`` has the search
space, ``utils/models/xgboost.py`` the training, the pipeline ``xgboost_training`` the variables:
``max_evaluations: 3``). Only the search's sampler is replaced: hyperopt's first 20 trials are draws
from the priors, so three seeded draws are what three of its trials are. Its own are not seeded.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from sklearn.feature_extraction import DictVectorizer

from ml_assets.trips.target import TARGET

TRIALS = 3
EARLY_STOPPING = 50
"""The default of its ``tune_hyperparameters``; the pipeline's variable, 3, would weaken it."""
SEED = 42


@dataclass(frozen=True)
class CourseResult:
    """The best trial: RMSE on the test month (minutes) and how it came; seconds of all trials."""

    rmse: float
    parameters: dict[str, Any]
    rounds: int
    trials: list[float]
    seconds: float


def read_dataframe(path: Path, *, vectorised: bool = False) -> pd.DataFrame:
    """The course's way from a raw green file to features.

    Args:
        path: a published green file.
        vectorised: work durations out with ``.dt``, which the course does not.
    """
    df = pd.read_parquet(path)
    df["duration"] = df.lpep_dropoff_datetime - df.lpep_pickup_datetime
    if vectorised:
        df["duration"] = df["duration"].dt.total_seconds() / 60
    else:
        df["duration"] = df["duration"].apply(lambda td: td.total_seconds() / 60)
    df = df.loc[(df["duration"] >= 1) & (df["duration"] <= 60)].copy()
    categorical = ["PULocationID", "DOLocationID"]
    df[categorical] = df[categorical].astype(str)
    df["PU_DO"] = df["PULocationID"] + "_" + df["DOLocationID"]
    return df


def train_course_xgboost(train: pd.DataFrame, test: pd.DataFrame, seed: int = SEED) -> CourseResult:
    """Search, train and evaluate as the course does: it stops early and chooses on the test month.

    That makes its figure better than an unseen month would show, which favours the peer; so does
    taking each booster at its best round, where the course predicts with the last.

    Args:
        train: kept trips with zones, ``trip_distance`` and ``duration_minutes``.
        test: the same of the test month.
        seed: of the three draws.
    """
    begun = time.perf_counter()
    vectorizer = DictVectorizer()
    train_matrix = vectorizer.fit_transform(_dictionaries(train))
    test_matrix = vectorizer.transform(_dictionaries(test))
    train_data = xgboost.DMatrix(train_matrix, label=train[TARGET.name].to_numpy())
    test_data = xgboost.DMatrix(test_matrix, label=test[TARGET.name].to_numpy())
    trials = []
    for max_rounds, parameters in _drawn_parameters(seed):
        booster = xgboost.train(
            parameters,
            train_data,
            num_boost_round=max_rounds,
            evals=[(test_data, "validation")],
            early_stopping_rounds=EARLY_STOPPING,
            verbose_eval=False,
        )
        trials.append((float(booster.best_score), booster.best_iteration + 1, parameters))
    rmse, rounds, parameters = min(trials, key=lambda trial: trial[0])
    seconds = time.perf_counter() - begun
    return CourseResult(rmse, parameters, rounds, [trial[0] for trial in trials], seconds)


def _dictionaries(trips: pd.DataFrame) -> list[dict[str, Any]]:
    pairs = trips["PULocationID"].astype(str) + "_" + trips["DOLocationID"].astype(str)
    distance = trips["trip_distance"]
    return [
        {"PU_DO": pair, "trip_distance": miles} for pair, miles in zip(pairs, distance, strict=True)
    ]


def _drawn_parameters(seed: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Draws from the course's search space: most rounds, and the booster's parameters.

    Its ``loguniform`` takes the logarithms' limits.
    """
    generator = np.random.default_rng(seed)

    def log_uniform(low: float, high: float) -> float:
        return math.exp(generator.uniform(low, high))

    for _ in range(TRIALS):
        rounds = round(generator.uniform(500, 1000), -1)
        yield (
            int(rounds),
            {
                "colsample_bytree": generator.uniform(0.5, 1.0),
                "gamma": generator.uniform(0.1, 1.0),
                "learning_rate": log_uniform(-3, 0),
                "max_depth": round(generator.uniform(4, 100)),
                "min_child_weight": log_uniform(-1, 3),
                "reg_alpha": log_uniform(-5, -1),
                "reg_lambda": log_uniform(-6, -1),
                "subsample": generator.uniform(0.1, 1.0),
                "objective": "reg:squarederror",
                "random_state": SEED,
            },
        )
