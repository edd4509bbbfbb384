"""The model families; importing this package imports no estimator.

To add a family, write a :class:`ModelFamily` in a module of this package and list it in
``DEFAULT_FAMILIES``: its asset, checks, leaderboard row and charts follow from the entry. One that
not everybody wants, or that needs a package of its own, is listed in ``OPTIONAL_FAMILIES``.
"""

from ml_assets.config.environment import SettingsError
from ml_assets.config.settings import FAMILIES_VARIABLE, read_extra_families
from ml_assets.training.families.base import MissingPackage, ModelFamily
from ml_assets.training.families.default import (
    EXTRA_TREES,
    GRADIENT_BOOSTING,
    LASSO,
    LINEAR_REGRESSION,
    LINEAR_SVR,
    RANDOM_FOREST,
    XGBOOST,
)
from ml_assets.training.families.optional import CATBOOST, HIST_GRADIENT_BOOSTING, LIGHTGBM

__all__ = ["FAMILIES", "OPTIONAL_FAMILIES", "MissingPackage", "ModelFamily", "family_named"]

DEFAULT_FAMILIES = (
    LINEAR_REGRESSION,
    LASSO,
    LINEAR_SVR,
    RANDOM_FOREST,
    GRADIENT_BOOSTING,
    EXTRA_TREES,
    XGBOOST,
)
"""Families that are always trained."""

OPTIONAL_FAMILIES = {family.name: family for family in (HIST_GRADIENT_BOOSTING, LIGHTGBM, CATBOOST)}
"""Families that are trained where ``ML_ASSETS_EXTRA_FAMILIES`` names them."""


def _enabled() -> dict[str, ModelFamily]:
    enabled = {family.name: family for family in DEFAULT_FAMILIES}
    for name in read_extra_families():
        if name not in OPTIONAL_FAMILIES:
            raise SettingsError(
                FAMILIES_VARIABLE, name, f"use names among {', '.join(OPTIONAL_FAMILIES)}"
            )
        enabled[name] = OPTIONAL_FAMILIES[name]
    return enabled


FAMILIES: dict[str, ModelFamily] = _enabled()
"""The families that have an asset, by name."""


def family_named(name: str) -> ModelFamily:
    """Return the family with this name, enabled or not: a registered model may be of any.

    Raises:
        ValueError: There is none; the message lists the known names.
    """
    known = {**FAMILIES, **OPTIONAL_FAMILIES}
    if name not in known:
        raise ValueError(f"there is no model family {name!r}: choose from {', '.join(known)}")
    return known[name]
