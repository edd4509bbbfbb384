"""Feature importance of a fitted pipeline, by name, with the sentence of each feature."""

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from sklearn.pipeline import Pipeline

from ml_assets.evaluation.metrics import root_mean_squared_error
from ml_assets.pipeline.encoders import DISTANCE_STATED, TripIndicators, group_of
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

PERMUTED_ROWS: Final = 2000
PERMUTATIONS: Final = 3
MAX_SECONDS: Final = 5.0
"""Bounds of permutation importance: trips, repetitions, and seconds. A model that predicts
slowly gets fewer trips, at least 50."""

_MIN_ROWS = 50
_SEED = 0


def feature_importance(
    pipeline: Pipeline, trips: pd.DataFrame, max_seconds: float = MAX_SECONDS
) -> dict[str, float]:
    """Compute the importance of each feature as a share.

    Tree models report their own measure: the share of the error reduction by splits on a feature.
    For a linear model it is the absolute coefficient times the standard deviation of the column in
    training, summed by group, since thousands of single zone pairs are not readable:
    ``zone_pair=20104`` counts towards ``zone_pair``. For an estimator with neither, it is the
    permutation importance (Breiman 2001): how much the RMSE grows when the feature's values are
    exchanged between trips.

    Args:
        pipeline: Fitted pipeline with the last steps ``encoder`` and ``model``, as made by a
            ``ModelFamily``.
        trips: Trips that it was not fitted on, for permutation importance: request columns and the
            target.

    Returns:
        Shares by feature, largest first, with a sum of 1, or all 0 when the model uses no feature.
        Empty for an estimator that predicts too slowly to permute even 50 trips in time.
    """
    encoder, estimator = pipeline["encoder"], pipeline["model"].regressor_
    sizes = _sizes(encoder, estimator)
    groups: defaultdict[str, float] = defaultdict(float)
    if sizes is not None:
        for name, size in zip(_groups(encoder, len(sizes)), sizes, strict=True):
            groups[name] += float(size)
    else:
        groups.update(_permutation_importance(pipeline, trips, max_seconds))
    total = sum(groups.values()) or 1.0
    shares = {name: size / total for name, size in groups.items()}
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def feature_descriptions(pipeline: Pipeline) -> dict[str, str]:
    """Return the sentence of each feature of a pipeline by its name.

    Steps of other projects have no sentences.
    """
    sentences: dict[str, str] = {}
    for _, step in pipeline.steps:
        describe = getattr(step, "describe", None)
        sentences |= describe() if describe is not None else {}
    return sentences


def importance_table(
    importance: Mapping[str, float], sentences: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return one row per feature, most important first: name, share, and what it is."""
    return [
        {"feature": name, "share": share, "description": sentences.get(name, "")}
        for name, share in importance.items()
    ]


def _groups(encoder: Any, columns: int) -> list[str]:
    """Return the group of each column; ``column_0`` and so on for an encoder without names."""
    names_of = getattr(encoder, "get_feature_names_out", None)
    if names_of is None:
        return [f"column_{at}" for at in range(columns)]
    return [group_of(str(name)) for name in names_of()[:columns]]


def _sizes(encoder: Any, estimator: Any) -> npt.NDArray[np.float64] | None:
    # Importances come first, since XGBoost also has a coef_, which raises for trees.
    if hasattr(estimator, "feature_importances_"):
        return np.asarray(estimator.feature_importances_, dtype=np.float64)
    if hasattr(estimator, "coef_"):
        coefficients = np.abs(np.ravel(estimator.coef_)).astype(np.float64)
        spread = (
            encoder.spread_[: len(coefficients)] if isinstance(encoder, TripIndicators) else 1.0
        )
        return np.asarray(coefficients * spread, dtype=np.float64)
    return None


def _permutation_importance(
    pipeline: Pipeline, trips: pd.DataFrame, max_seconds: float
) -> dict[str, float]:
    """Return the growth of the RMSE by group of columns, at least 0; empty if it takes too long."""
    random = np.random.default_rng(_SEED)
    trips = trips.sample(min(len(trips), PERMUTED_ROWS), random_state=_SEED)
    model, actual = pipeline[-1], trips[TARGET.name].to_numpy()
    encoded = pipeline[:-1].transform(trips[list(REQUEST_COLUMNS)])
    names = np.array(_groups(pipeline[-2], encoded.shape[1]))
    groups = {name: names == name for name in dict.fromkeys(names.tolist())}
    groups.pop(DISTANCE_STATED, None)  # it selects the estimator
    model.predict(encoded[:1])  # the first prediction of some libraries starts their threads
    while True:
        started = time.perf_counter()
        error = root_mean_squared_error(actual, model.predict(encoded))
        if (time.perf_counter() - started) * len(groups) * PERMUTATIONS <= max_seconds:
            break
        if len(actual) // 2 < _MIN_ROWS:
            return {}
        encoded, actual = encoded[: len(actual) // 2], actual[: len(actual) // 2]
    growth = dict.fromkeys(groups, 0.0)
    for _ in range(PERMUTATIONS):
        order = random.permutation(len(actual))
        for name, inside in groups.items():
            shuffled = _exchanged(encoded, order, inside)
            growth[name] += root_mean_squared_error(actual, model.predict(shuffled)) - error
    return {name: max(0.0, value) for name, value in growth.items()}


def _exchanged(encoded: Any, order: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_]) -> Any:
    """Return the matrix with the columns ``inside`` in another order of rows."""
    if sparse.issparse(encoded):
        kept, taken = (sparse.diags(mask.astype(np.float64)) for mask in (~inside, inside))
        return sparse.csr_matrix(encoded @ kept + encoded[order] @ taken)
    shuffled = encoded.copy()
    shuffled[:, inside] = encoded[order][:, inside]
    return shuffled
