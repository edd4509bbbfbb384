"""Which features a fitted pipeline leans on, by name."""

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from ml_assets.pipeline.encoders import TripIndicators


def feature_importance(pipeline: Pipeline) -> dict[str, float]:
    """The share of each feature in what the model does.

    Trees give their own measure: the share of the error that splits on a feature take away. For a
    linear model it is the size of the coefficient times how much the column varies in training,
    summed over the columns of one group, since thousands of single zone pairs say nothing to a
    reader: ``zone_pair=20104`` counts towards ``zone_pair``.

    Args:
        pipeline: fitted; its last steps are ``encoder`` and ``model``, as a ``ModelFamily`` makes
            them.

    Returns:
        Feature to share, largest first, summing to 1; all 0 when the model uses none. Empty when
        the estimator tells neither importances nor coefficients, as nearest neighbours do not.
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
    # XGBoost has a coef_ as well, which raises for trees: importances are asked for first.
    if hasattr(estimator, "feature_importances_"):
        return np.asarray(estimator.feature_importances_, dtype=np.float64)
    if hasattr(estimator, "coef_"):
        coefficients = np.abs(np.ravel(estimator.coef_)).astype(np.float64)
        spread = encoder.spread_ if isinstance(encoder, TripIndicators) else 1.0
        return np.asarray(coefficients * spread, dtype=np.float64)
    return None
