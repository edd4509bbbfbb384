"""The registered version that is to predict, loaded and held to what it was."""

import json
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.pipeline import Pipeline

from ml_assets.monitoring.champion import ServedChampion
from ml_assets.pipeline.fingerprint import known_minutes, predictions_match
from ml_assets.pipeline.predict import Model
from ml_assets.registry.artifacts import CHAMPION, load_pipeline, version_with_alias
from ml_assets.registry.registry import explain_missing_champion, list_versions
from ml_assets.secrets import ShownError, error_text

KNOWN_MINUTES = "known_minutes"
"""Tag of a version: what it answered to ``pipeline.fingerprint`` when it was registered."""

INTERVAL_TAGS = ("interval_nominal", "interval_coverage", "interval_mean_width")
"""Tags of a version: share of trips that its intervals are to hold, the share of the judged trips
that they held, and their mean width there in minutes."""

HOLD = "hold"
"""Tag of a version that a person chose: the fields of ``ManualOverride`` as JSON."""


class PredictionsChanged(ShownError, RuntimeError):
    """A registered model that, run by the code of today, is not what it was any more."""


class ModelNotFound(ShownError, LookupError):
    """No registered version by that name, or one that cannot be used; says what to do."""


def load_verified(uri: str, tags: dict[str, str]) -> Any:
    """Load a registered version, and make sure that today's code answers as it did then.

    Args:
        uri: Of the version.
        tags: Its tags; without ``known_minutes`` there is nothing to compare with.

    Raises:
        PredictionsChanged: when a feature, say, means another thing by now.
    """
    pipeline = load_pipeline(uri)
    if KNOWN_MINUTES in tags:
        before, now = json.loads(tags[KNOWN_MINUTES]), known_minutes(pipeline)
        if not predictions_match(before, now):
            raise PredictionsChanged(
                f"the code has changed since {uri} was registered: to the same requests it "
                f"answered {_rounded(before)} minutes then and {_rounded(now)} now"
            )
    return pipeline


def load_model(client: MlflowClient, name: str, which: str = CHAMPION) -> Model:
    """Load a version to predict with.

    Args:
        client: Of the registry.
        name: Registered model.
        which: A version's number, or an alias.

    Raises:
        ModelNotFound: when there is none, or it cannot be loaded, or today's code predicts
            otherwise.
    """
    version = _find(client, name, which)
    try:
        pipeline = load_verified(f"models:/{name}/{version.version}", dict(version.tags))
    except Exception as error:  # whatever keeps it from predicting is the reason
        raise ModelNotFound(
            f"version {version.version} of {name} cannot be used "
            f"({error_text(error)}): name another version, or train again with "
            "`ml-assets run`"
        ) from error
    return Model(pipeline, str(version.version))


def _find(client: MlflowClient, name: str, which: str) -> Any:
    """MLflow's own record of the version."""
    if not which.isdigit():
        version = version_with_alias(client, name, which)
        if version is None and which == CHAMPION:
            raise ModelNotFound(explain_missing_champion(client, name))
    else:
        try:
            version = client.get_model_version(name, which)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            version = None
    if version is None:
        raise ModelNotFound(
            f"{name} has no version or alias {which!r}: there are {list_versions(client, name)}; "
            "`champion` is the one that serves, and `ml-assets decisions` shows who served before"
        )
    return version


def _rounded(minutes: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in minutes)


def served_champion(client: MlflowClient, name: str) -> ServedChampion | None:
    """The champion's facts, from the tags of its version; None when nothing serves.

    Args:
        client: Of the registry.
        name: Registered model.
    """
    version = version_with_alias(client, name, CHAMPION)
    if version is None:
        return None
    tags = version.tags
    return ServedChampion(
        version=str(version.version),
        model=tags.get("model", "unknown"),
        dataset=tags.get("dataset", ""),
        fitted_on=_months(tags.get("fitted_on", "")),
        tuned_on=_months(tags.get("tuned_on", "")),
        judged_month=tags.get("judged_month", ""),
        test_rmse=_number(tags.get("test_rmse", "")),
        run_id=version.run_id or "",
    )


def load_served(client: MlflowClient, name: str, champion: ServedChampion) -> Pipeline:
    """The pipeline of a version, held to what it answered when it was registered.

    Raises:
        PredictionsChanged: when today's code makes another model of it.
        UntrustedModel: when it asks for types that are not trusted.
    """

    tags = client.get_model_version(name, champion.version).tags
    pipeline: Pipeline = load_verified(f"models:/{name}/{champion.version}", dict(tags))
    return pipeline


def _months(text: str) -> tuple[str, ...]:
    return tuple(sorted(month for month in text.split(",") if month))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
