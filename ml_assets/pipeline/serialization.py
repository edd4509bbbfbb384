"""Storing and loading pipelines as skops, with the allowlist of their types and their fingerprint.

skops restores only types on an allowlist, whereas pickle runs any code in the file. The list
applies to writing and to loading. The fingerprint is a pipeline's predictions for a few fixed
requests, by which later code verifies that it still predicts the same.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import skops.io
from sklearn.pipeline import Pipeline

from ml_assets.secrets import ShownError
from ml_assets.storage.model_version import PREDICTION_TOLERANCE
from ml_assets.trips.request_columns import REQUEST_COLUMNS

TRUSTED_PACKAGES = ("ml_assets.pipeline.", "sklearn.", "xgboost.")
"""Packages whose types a stored pipeline may contain, besides those that skops trusts. All are
dependencies of this project; NumPy is not on the list, since it has functions that run any code."""

TRUSTED_TYPES = frozenset(
    {
        "catboost.core.CatBoostRegressor",
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMRegressor",
    }
)
"""Further types, of optional families. To store a family of another package, add the types that the
error message names; each holds data only, and restoring it calls nothing that the file chooses."""

_PACKAGE = "ml_assets."


class UntrustedModel(ShownError, ValueError):
    """A stored model with types outside the allowlist, which could run other code when loaded."""


class OutdatedModel(ValueError):
    """A stored model of an incompatible version of this package."""


def foreign_types(types: Iterable[str]) -> list[str]:
    """Return the types (full names) that neither allowlist has."""
    return [
        name
        for name in types
        if not name.startswith(TRUSTED_PACKAGES) and name not in TRUSTED_TYPES
    ]


def is_trusted_package(package: str) -> bool:
    """Whether types of a package, such as ``xgboost``, may be stored and loaded."""
    return any(name.startswith(f"{package}.") for name in (*TRUSTED_PACKAGES, *TRUSTED_TYPES))


def trusted_types(pipeline: Pipeline) -> list[str]:
    """Return the types that skops must trust to load this pipeline.

    Raises:
        TypeError: One of them is on neither allowlist.
    """
    untrusted: list[str] = skops.io.get_untrusted_types(data=skops.io.dumps(pipeline))
    foreign = foreign_types(untrusted)
    if foreign:
        raise TypeError(
            f"the pipeline has types that are not trusted: {', '.join(foreign)}. To allow them, "
            "add them to TRUSTED_TYPES in ml_assets/pipeline/serialization.py"
        )
    return untrusted


def load_stored(file: Path) -> Pipeline:
    """Load a fitted pipeline from a skops file, after checking the types in the file.

    Raises:
        UntrustedModel: The file needs types of other packages.
        OutdatedModel: It was stored by an incompatible version of this package.
        UnknownFeature: It was fitted with a feature that this code does not define.
    """
    types = skops.io.get_untrusted_types(file=file)
    require_trusted_types(types, str(file))
    with outdated_if_unreadable(str(file)):
        pipeline: Pipeline = skops.io.load(file, trusted=types)
    require_definitions(pipeline, str(file))
    return pipeline


def require_trusted_types(types: Iterable[str], source: str) -> None:
    """Check the types that a stored model needs against the allowlist.

    Args:
        source: File or URI of the model for error messages.

    Raises:
        OutdatedModel: They are of a module of this package that no longer stores models.
        UntrustedModel: They are of other packages.
    """
    foreign = foreign_types(types)
    moved = [name for name in foreign if name.startswith(_PACKAGE)]
    if foreign and foreign == moved:
        raise OutdatedModel(_outdated(source, f"it names {moved[0]}"))
    if foreign:
        raise UntrustedModel(
            f"{source} needs types of other packages: {', '.join(foreign)}. It was modified or is "
            "not of this project: materialize the model again"
        )


@contextlib.contextmanager
def outdated_if_unreadable(source: str) -> Iterator[None]:
    """Convert import errors of a stored model's types to OutdatedModel with one line.

    Args:
        source: File or URI of the model for error messages.

    Raises:
        OutdatedModel: The model names a type that this code does not have, or of a package that is
            not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == _PACKAGE.rstrip("."):
            raise OutdatedModel(_outdated(source, str(error))) from error
        raise OutdatedModel(
            f"{source} needs the package {package}, which is not installed: `pip install {package}`"
        ) from error
    except (ImportError, AttributeError) as error:
        raise OutdatedModel(_outdated(source, str(error).partition("\n")[0])) from error


def require_definitions(pipeline: Pipeline, source: str) -> None:
    """Check that this code defines every feature that a pipeline was fitted with.

    Args:
        pipeline: Fitted pipeline; steps of other packages are not checked.

    Raises:
        OutdatedModel: It does not record its features.
        UnknownFeature: One of them is not defined; the message names it.
    """
    for _, step in pipeline.steps:
        check = getattr(step, "require_definitions", None)
        if check is None:
            continue
        try:
            check()
        except AttributeError as error:
            raise OutdatedModel(
                _outdated(source, "it does not record the features that it was fitted with")
            ) from error


def _outdated(source: str, reason: str) -> str:
    return (
        f"{source} was stored by another version of ml-assets ({reason}): train again with "
        "`ml-assets run`, or use the version that stored it"
    )


_REQUESTS = (
    # pick-up zone, drop-off zone, miles, when, passengers
    (74, 75, 1.2, "2023-03-06 08:30:00", 1.0),
    (75, 138, 7.9, "2023-03-10 17:45:00", 2.0),
    (41, 42, 0.9, "2023-03-12 02:15:00", None),
    (97, 132, 14.6, "2023-07-04 12:00:00", 4.0),
    (166, 264, 0.0, "2023-11-23 23:59:00", 1.0),
    (244, 116, 2.3, "2024-02-29 06:05:00", 1.0),
)


def probe_requests() -> pd.DataFrame:
    """Return the requests: weekdays, a holiday, an airport, an unknown zone, missing values."""
    frame = pd.DataFrame(list(_REQUESTS), columns=list(REQUEST_COLUMNS))
    frame["pickup_datetime"] = pd.to_datetime(frame["pickup_datetime"]).astype("datetime64[us]")
    return frame


def probe_predictions(pipeline: Pipeline) -> list[float]:
    """Return a pipeline's predictions for the probe requests, minutes."""
    return [float(minutes) for minutes in pipeline.predict(probe_requests())]


def predictions_match(before: list[float], now: list[float]) -> bool:
    """Whether both are predictions of the same model and code."""
    return len(before) == len(now) and all(
        abs(one - other) <= PREDICTION_TOLERANCE for one, other in zip(before, now, strict=True)
    )
