"""Pipelines stored as skops: which types they may hold, and how they are loaded.

skops rebuilds only types named in a closed list, where pickle runs whatever code the file holds.
The list is here, and holds for what is written and for what is loaded.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ml_assets.secrets import ShownError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

TRUSTED_PACKAGES = ("ml_assets.modeling.", "sklearn.", "xgboost.")
"""Packages whose types a saved pipeline may hold, beside those that skops itself trusts. All are
dependencies of this project; NumPy is not among them, since it has functions that run any code."""


class UntrustedModel(ShownError, ValueError):
    """A stored model that might run foreign code when it is loaded."""


def foreign_types(types: Iterable[str]) -> list[str]:
    """Of these types, by full name, those of packages outside ``TRUSTED_PACKAGES``."""
    return [name for name in types if not name.startswith(TRUSTED_PACKAGES)]


def load_stored(file: Path) -> "Pipeline":
    """Load a pipeline from a file that skops has written.

    Args:
        file: The file itself is asked which types it needs, so that nobody has to be believed.

    Returns:
        The fitted pipeline.

    Raises:
        UntrustedModel: when the file asks for types of other packages.
    """
    import skops.io

    types = skops.io.get_untrusted_types(file=file)
    foreign = foreign_types(types)
    if foreign:
        raise UntrustedModel(
            f"{file} asks to trust types of other packages: {', '.join(foreign)}. Somebody has "
            "changed it, or it is not of this project: materialize the model again"
        )
    pipeline: Pipeline = skops.io.load(file, trusted=types)
    return pipeline
