"""Pipelines stored as skops: which types they may hold, and how they are loaded.

skops rebuilds only types named in a closed list, where pickle runs whatever code the file holds.
The list is here, and holds for what is written and for what is loaded.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import skops.io
from sklearn.pipeline import Pipeline

from ml_assets.secrets import ShownError

TRUSTED_PACKAGES = ("ml_assets.pipeline.", "sklearn.", "xgboost.")
"""Packages whose types a saved pipeline may hold, beside those that skops itself trusts. All are
dependencies of this project; NumPy is not among them, since it has functions that run any code."""


_PACKAGE = "ml_assets."


class UntrustedModel(ShownError, ValueError):
    """A stored model that might run foreign code when it is loaded."""


class OutdatedModel(ValueError):
    """A stored model of another version of this package, which this code cannot use."""


def foreign_types(types: Iterable[str]) -> list[str]:
    """Of these types, by full name, those of packages outside ``TRUSTED_PACKAGES``."""
    return [name for name in types if not name.startswith(TRUSTED_PACKAGES)]


def trusted_types(pipeline: Pipeline) -> list[str]:
    """The types that skops has to be told to trust to load this pipeline again.

    Raises:
        TypeError: when one of them is of a package outside ``TRUSTED_PACKAGES``.
    """
    untrusted: list[str] = skops.io.get_untrusted_types(data=skops.io.dumps(pipeline))
    foreign = foreign_types(untrusted)
    if foreign:
        raise TypeError(
            f"the pipeline holds types that are not trusted: {', '.join(foreign)}. Add their "
            "package to TRUSTED_PACKAGES in ml_assets/pipeline/serialization.py if it may be "
            "loaded"
        )
    return untrusted


def load_stored(file: Path) -> Pipeline:
    """Load a pipeline from a file that skops has written.

    Args:
        file: The file itself is asked which types it needs, so that nobody has to be believed.

    Returns:
        The fitted pipeline.

    Raises:
        UntrustedModel: when the file asks for types of other packages.
        OutdatedModel: when it was stored by another version of this package.
        UnknownFeature: when it was fitted with a feature that this code does not define.
    """
    types = skops.io.get_untrusted_types(file=file)
    require_trusted_types(types, str(file))
    with outdated_if_unreadable(str(file)):
        pipeline: Pipeline = skops.io.load(file, trusted=types)
    require_definitions(pipeline, str(file))
    return pipeline


def require_trusted_types(types: Iterable[str], source: str) -> None:
    """Make sure that a stored model needs no type that may not be loaded.

    Args:
        types: Full names of the types that the model asks to trust.
        source: The file or URI of the model, for the message.

    Raises:
        OutdatedModel: when they are of a module of this package that stores no models any more.
        UntrustedModel: when they are of other packages.
    """
    foreign = foreign_types(types)
    moved = [name for name in foreign if name.startswith(_PACKAGE)]
    if foreign and foreign == moved:
        raise OutdatedModel(_outdated(source, f"it names {moved[0]}"))
    if foreign:
        raise UntrustedModel(
            f"{source} asks to trust types of other packages: {', '.join(foreign)}. Somebody has "
            "changed it, or it is not of this project: materialize the model again"
        )


@contextlib.contextmanager
def outdated_if_unreadable(source: str) -> Iterator[None]:
    """Say in one line that a stored model names types that this code does not have.

    Args:
        source: The file or URI of the model, for the message.

    Raises:
        OutdatedModel: in place of an error of the import.
    """
    try:
        yield
    except (ImportError, AttributeError) as error:
        raise OutdatedModel(_outdated(source, str(error).partition("\n")[0])) from error


def require_definitions(pipeline: Pipeline, source: str) -> None:
    """Make sure that this code can compute every feature that a pipeline was fitted with.

    Args:
        pipeline: Fitted; steps of other packages are left alone.
        source: The file or URI that it comes from, for the message.

    Raises:
        OutdatedModel: when it does not keep the list of its features.
        UnknownFeature: when one of them is not defined; the message names it.
    """
    for _, step in pipeline.steps:
        check = getattr(step, "require_definitions", None)
        if check is None:
            continue
        try:
            check()
        except AttributeError as error:
            raise OutdatedModel(
                _outdated(source, "it does not say which features it was fitted with")
            ) from error


def _outdated(source: str, reason: str) -> str:
    return (
        f"{source} was stored by another version of ml-assets ({reason}): train again with "
        "`ml-assets run`, or use the version that stored it"
    )
