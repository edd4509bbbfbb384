"""Feature importance of a fitted pipeline, by name."""

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from ml_assets.pipeline.encoders import TripIndicators


def feature_importance(pipeline: Pipeline) -> dict[str, float]:
    """Compute the importance of each feature as a share.

    Tree models report their own measure: the share of the error reduction by splits on a feature.
    For a linear model it is the absolute coefficient times the standard deviation of the column in
    training, summed by group, since thousands of single zone pairs are not readable:
    ``zone_pair=20104`` counts towards ``zone_pair``.

    Args:
        pipeline: Fitted pipeline with the last steps ``encoder`` and ``model``, as made by a
            ``ModelFamily``.

    Returns:
        Shares by feature, largest first, with a sum of 1, or all 0 when the model uses no feature.
        Empty for an estimator without importances and coefficients, such as nearest neighbours.
    """
    encoder, estimator = pipeline["encoder"], pipeline["model"].regressor_
    sizes = _sizes(encoder, estimator)
    if sizes is None:
        return {}
    groups: defaultdict[str, float] = defaultdict(float)
    for name, size in zip(encoder.get_feature_names_out(), sizes, strict=True):
        groups[str(name).partition("=")[0]] += float(size)
    total = sum(groups.values()) or 1.0
    shares = {name: size / total for name, size in groups.items()}
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def _sizes(encoder: Any, estimator: Any) -> npt.NDArray[np.float64] | None:
    # Importances come first, since XGBoost also has a coef_, which raises for trees.
    if hasattr(estimator, "feature_importances_"):
        return np.asarray(estimator.feature_importances_, dtype=np.float64)
    if hasattr(estimator, "coef_"):
        coefficients = np.abs(np.ravel(estimator.coef_)).astype(np.float64)
        spread = encoder.spread_ if isinstance(encoder, TripIndicators) else 1.0
        return np.asarray(coefficients * spread, dtype=np.float64)
    return None
