"""The registered version that is to predict, loaded and held to what it was."""

from typing import TYPE_CHECKING, Any

from ml_assets.pipeline.predict import Model
from ml_assets.secrets import ShownError, error_text
from ml_assets.tracking.models import CHAMPION, version_with_alias
from ml_assets.tracking.registry import explain_missing_champion, list_versions
from ml_assets.tracking.serving_champion import load_as_registered

if TYPE_CHECKING:
    from mlflow import MlflowClient


class NoModel(ShownError, LookupError):
    """No registered version by that name, or one that cannot be used; says what to do."""


def load_model(client: "MlflowClient", name: str, which: str = CHAMPION) -> Model:
    """Load a version to predict with.

    Args:
        client: Of the registry.
        name: Registered model.
        which: A version's number, or an alias.

    Raises:
        NoModel: when there is none, or it cannot be loaded, or today's code makes another model of
            it.
    """
    version = _find(client, name, which)
    try:
        pipeline = load_as_registered(f"models:/{name}/{version.version}", dict(version.tags))
    except Exception as error:  # whatever keeps it from predicting is the reason
        raise NoModel(
            f"version {version.version} of {name} cannot be used "
            f"({error_text(error)}): name another version, or train again with "
            "`ml-assets run`"
        ) from error
    return Model(pipeline, str(version.version))


def _find(client: "MlflowClient", name: str, which: str) -> Any:
    """MLflow's own record of the version."""
    from mlflow.exceptions import MlflowException

    if not which.isdigit():
        version = version_with_alias(client, name, which)
        if version is None and which == CHAMPION:
            raise NoModel(explain_missing_champion(client, name))
    else:
        try:
            version = client.get_model_version(name, which)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            version = None
    if version is None:
        raise NoModel(
            f"{name} has no version or alias {which!r}: there are {list_versions(client, name)}; "
            "`champion` is the one that serves, and `ml-assets decisions` shows who served before"
        )
    return version
