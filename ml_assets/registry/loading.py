"""Load a registered version and verify that it still predicts as when it was registered."""

from ast import literal_eval
from typing import Any

from sklearn.pipeline import Pipeline

from ml_assets.evaluation.records import TrainingSet
from ml_assets.pipeline.predict import Model
from ml_assets.pipeline.serialization import predictions_match, probe_predictions
from ml_assets.registry import ModelNotFound
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.registry.registry import CHAMPION, Registry
from ml_assets.secrets import ShownError, error_text
from ml_assets.storage.model_version import ModelVersion


class PredictionsChanged(ShownError, RuntimeError):
    """A registered model whose predictions differ under the current code."""


def load_verified(name: str, version: ModelVersion) -> Pipeline:
    """Load a registered version and compare its predictions with those stored at registration.

    Args:
        version: The version; without stored predictions nothing is compared.

    Raises:
        PredictionsChanged: The predictions differ, for example because a feature was redefined.
        UntrustedModel: It needs types that are not trusted.
    """
    uri = f"models:/{name}/{version.version}"
    pipeline = load_pipeline(uri)
    if version.fingerprint is not None:
        before, now = [*version.fingerprint], probe_predictions(pipeline)
        if not predictions_match(before, now):
            raise PredictionsChanged(
                f"the code has changed since {uri} was registered: for the same requests it "
                f"predicted {_rounded(before)} minutes then and {_rounded(now)} now"
            )
    return pipeline


def load_model(registry: Registry, which: str = CHAMPION) -> Model:
    """Load a version for predictions.

    Args:
        which: Version number or alias.

    Raises:
        ModelNotFound: It does not exist, cannot be loaded, or predicts differently under the
            current code.
    """
    version = _find(registry, which)
    try:
        pipeline = load_verified(registry.name, version)
    except Exception as error:  # any failure is a reason
        raise ModelNotFound(
            f"version {version.version} of {registry.name} cannot be used "
            f"({error_text(error)}): name another version, or train again with "
            "`ml-assets run`"
        ) from error
    return Model(pipeline, version.version)


def _find(registry: Registry, which: str) -> ModelVersion:
    version = registry.get(which)
    if version is None and which == CHAMPION:
        raise ModelNotFound(registry.explain_missing_champion())
    if version is None:
        raise ModelNotFound(
            f"{registry.name} has no version or alias {which!r}: there are "
            f"{registry.describe_versions()}; `champion` is the one being served, and `ml-assets "
            "decisions` lists earlier ones"
        )
    return version


def _rounded(minutes: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in minutes)


def warm_start_parameters(
    registry: Registry, model: str, training_set: TrainingSet
) -> dict[str, Any] | None:
    """Return the champion's parameters as the start of a tuning; None when they do not apply.

    Returns:
        Values by name. None without a champion, when it is of another family or dataset, and when
        it was fitted or tuned on the test month or a later one.
    """
    champion = registry.champion()
    if champion is None or not champion.run_id:
        return None
    if (champion.model, champion.dataset) != (model, training_set.dataset):
        return None
    newest = champion.newest_month
    if newest is None or newest >= training_set.months_in("test")[0]:
        return None
    logged = registry.client.get_run(champion.run_id).data.params
    return {parameter: parameter_value(text) for parameter, text in logged.items()}


def parameter_value(text: str) -> Any:
    """Parse a logged parameter; MLflow stores its text, with all digits of a float."""
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text
