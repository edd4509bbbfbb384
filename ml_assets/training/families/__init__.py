"""The model families; importing this package imports no estimator.

To add a family, write a :class:`ModelFamily` in a module of this package and list it in
``FAMILIES``: its asset, checks, leaderboard row and chart follow from the entry.
"""

from ml_assets.training.families.base import ModelFamily
from ml_assets.training.families.boosting import GRADIENT_BOOSTING, XGBOOST
from ml_assets.training.families.forests import EXTRA_TREES, RANDOM_FOREST
from ml_assets.training.families.linear import LASSO, LINEAR_REGRESSION, LINEAR_SVR

__all__ = ["FAMILIES", "ModelFamily", "family_named"]

FAMILIES: dict[str, ModelFamily] = {
    family.name: family
    for family in (
        LINEAR_REGRESSION,
        LASSO,
        LINEAR_SVR,
        RANDOM_FOREST,
        GRADIENT_BOOSTING,
        EXTRA_TREES,
        XGBOOST,
    )
}


def family_named(name: str) -> ModelFamily:
    """Return the family with this name.

    Raises:
        ValueError: There is none; the message lists the known names.
    """
    if name not in FAMILIES:
        raise ValueError(f"there is no model family {name!r}: choose from {', '.join(FAMILIES)}")
    return FAMILIES[name]
