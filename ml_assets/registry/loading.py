"""The registered version that is to predict, loaded and held to what it was."""

from ast import literal_eval
from typing import Any

from mlflow import MlflowClient
from sklearn.pipeline import Pipeline

from ml_assets.evaluation.records import TrainingSet
from ml_assets.pipeline.fingerprint import known_minutes, predictions_match
from ml_assets.pipeline.predict import Model
from ml_assets.registry.artifacts import CHAMPION, load_pipeline
from ml_assets.registry.registry import (
    champion_version,
    explain_missing_champion,
    find_version,
    list_versions,
)
from ml_assets.secrets import ShownError, error_text
from ml_assets.storage.model_version import ModelVersion


class PredictionsChanged(ShownError, RuntimeError):
    """A registered model that, run by the code of today, is not what it was any more."""


class ModelNotFound(ShownError, LookupError):
    """No registered version by that name, or one that cannot be used; says what to do."""


def load_verified(name: str, version: ModelVersion) -> Pipeline:
    """Load a registered version, and make sure that today's code answers as it did then.

    Args:
        name: Registered model.
        version: Its version; without ``known_minutes`` there is nothing to compare with.

    Raises:
        PredictionsChanged: when a feature, say, means another thing by now.
        UntrustedModel: when it asks for types that are not trusted.
    """
    uri = f"models:/{name}/{version.version}"
    pipeline = load_pipeline(uri)
    if version.known_minutes is not None:
        before, now = [*version.known_minutes], known_minutes(pipeline)
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
        pipeline = load_verified(name, version)
    except Exception as error:  # whatever keeps it from predicting is the reason
        raise ModelNotFound(
            f"version {version.version} of {name} cannot be used "
            f"({error_text(error)}): name another version, or train again with "
            "`ml-assets run`"
        ) from error
    return Model(pipeline, version.version)


def _find(client: MlflowClient, name: str, which: str) -> ModelVersion:
    version = find_version(client, name, which)
    if version is None and which == CHAMPION:
        raise ModelNotFound(explain_missing_champion(client, name))
    if version is None:
        raise ModelNotFound(
            f"{name} has no version or alias {which!r}: there are {list_versions(client, name)}; "
            "`champion` is the one that serves, and `ml-assets decisions` shows who served before"
        )
    return version


def _rounded(minutes: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in minutes)


def warm_start_parameters(
    client: MlflowClient, name: str, model: str, training_set: TrainingSet
) -> dict[str, Any] | None:
    """The parameters of the champion, to start tuning from; None when they are of no use.

    Args:
        client: Of the registry.
        name: Registered model.
        model: The family that is about to be tuned.
        training_set: Of that tuning: its test month must have had no say in them.

    Returns:
        Name to value. None when nothing serves, when it is of another family or of other trips,
        and when it was fitted or tuned on the test month or a later one.
    """
    champion = champion_version(client, name)
    if champion is None or not champion.run_id:
        return None
    if (champion.model, champion.dataset) != (model, training_set.dataset):
        return None
    newest = champion.newest_month
    if newest is None or newest >= training_set.months_in("test")[0]:
        return None
    logged = client.get_run(champion.run_id).data.params
    return {parameter: parameter_value(text) for parameter, text in logged.items()}


def parameter_value(text: str) -> Any:
    """What a logged parameter was: MLflow keeps its text, which tells every digit of a float."""
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text
