"""The registered model: its versions and aliases, and the remedy when one is missing."""

import json
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ml_assets.registry import ConcurrentPromotion
from ml_assets.registry.mlflow_descriptions import MODEL_DESCRIPTION
from ml_assets.secrets import ShownError
from ml_assets.storage.atomic import locked
from ml_assets.storage.model_version import REPLACED_VERSION, ModelVersion

_LOGGED = "models:/"
CHAMPION = "champion"
PREVIOUS = "previous"
CHALLENGER = "challenger"


class ModelNotLogged(ShownError, LookupError):
    """A model that this MLflow store does not have; the message names it and the remedy."""


@dataclass(frozen=True)
class Registry:
    """A registered model in MLflow.

    Attributes:
        lock_folder: Local folder of the lock under which the champion's alias moves.
    """

    client: MlflowClient
    name: str
    lock_folder: Path


def register(
    client: MlflowClient,
    name: str,
    model_uri: str,
    run_id: str,
    tags: dict[str, str],
    description: str | None = None,
) -> str:
    """Register a logged model as a new version without an alias; return its number.

    Raises:
        ModelNotLogged: This MLflow store does not have the model.
    """
    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(name, description=MODEL_DESCRIPTION)
    # A server accepts a logged model's URI only together with its id.
    model_id = model_uri.removeprefix(_LOGGED) if model_uri.startswith(f"{_LOGGED}m-") else None
    if model_id is not None:
        _require_logged(client, model_id)
    version = client.create_model_version(
        name, source=model_uri, run_id=run_id, tags=tags, model_id=model_id, description=description
    )
    if model_id is not None:
        # As mlflow.register_model does: MLflow's page of the logged model links its version.
        link = json.dumps([{"name": name, "version": str(version.version)}])
        client.set_logged_model_tags(model_id, {"mlflow.modelVersions": link})
    return str(version.version)


def _require_logged(client: MlflowClient, model_id: str) -> None:
    try:
        client.get_logged_model(model_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise ModelNotLogged(
            f"MLflow does not have the model {model_id}: it was logged to another store, or "
            "deleted. Materialize the model again"
        ) from error


def version_with_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Return the version with an alias, or None."""
    try:
        return ModelVersion.from_mlflow(client.get_model_version_by_alias(name, alias))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def find_version(client: MlflowClient, name: str, which: str) -> ModelVersion | None:
    """Find a version by number or alias; None when there is none."""
    if not which.isdecimal():
        return version_with_alias(client, name, which)
    try:
        return ModelVersion.from_mlflow(client.get_model_version(name, which))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def versions_of(client: MlflowClient, name: str, dataset: str | None = None) -> list[ModelVersion]:
    """Return the registered versions, oldest first, of a dataset if one is given."""
    entries = client.search_model_versions(f"name='{name}'")
    found = sorted(map(ModelVersion.from_mlflow, entries), key=lambda entry: int(entry.version))
    return [entry for entry in found if dataset in (None, entry.dataset)]


def list_versions(client: MlflowClient, name: str, dataset: str | None = None) -> str:
    """Format the registered versions with their families, for messages."""
    named = [f"{entry.version} ({entry.model})" for entry in versions_of(client, name, dataset)]
    return ", ".join(named) or "none; train first with `ml-assets run`"


def promote_command(client: MlflowClient, name: str) -> str | None:
    """Return the command that promotes a registered version; None when there is no version.

    It names the last champion if that is known, else the newest version.
    """
    versions = versions_of(client, name)
    if not versions:
        return None
    numbers = [entry.version for entry in versions]
    previous = version_with_alias(client, name, PREVIOUS)
    known = (
        client.get_registered_model(name).tags.get(LAST_CHAMPION),
        previous.version if previous else None,
    )
    latest = next((number for number in known if number in numbers), numbers[-1])
    return f"ml-assets promote {latest}"


def explain_missing_champion(client: MlflowClient, name: str) -> str:
    """Explain why no version has the alias ``champion``, with the command to run."""
    command = promote_command(client, name)
    if command is None:
        return (
            "there is no champion yet: train one first (`ml-assets run`, or the job train_models)"
        )
    return (
        f"no version of {name} has the alias champion (the alias or its version was deleted, or no "
        f"version was promoted yet): let one serve again with `{command}`, or train with "
        f"`ml-assets run`; there are {list_versions(client, name)}"
    )


LAST_CHAMPION = "last_champion"
"""Tag of the registered model: the version promoted last; it outlives the alias."""

LOCK = ".champion.lock"
"""Lock file in the home, held while aliases are moved."""


def champion_version(client: MlflowClient, name: str) -> ModelVersion | None:
    """Return the champion; None when there is none."""
    return version_with_alias(client, name, CHAMPION)


def promote_alias(
    client: MlflowClient,
    name: str,
    version: str,
    *,
    expected_current: str | None,
    lock_folder: Path,
) -> None:
    """Make a version the champion in one step; the current one becomes ``previous``.

    ``previous`` is set first: if the process dies in between, the old champion still serves.

    Args:
        expected_current: The champion at the time of the decision; None when there was none.
        lock_folder: Local folder of the lock that serializes promotions on this machine.

    Raises:
        ConcurrentPromotion: The champion has changed since the decision.
    """
    with locked(lock_folder / LOCK):
        champion = champion_version(client, name)
        now = champion.version if champion else None
        if now != expected_current:
            raise ConcurrentPromotion(
                f"the champion of {name} is version {now or 'none'} now, and this decision was "
                f"made while it was {expected_current or 'none'}: decide again (materialize "
                "champion_model)"
            )
        if now is not None and now != version:
            client.set_model_version_tag(name, version, REPLACED_VERSION, now)
            client.set_registered_model_alias(name, PREVIOUS, now)
        client.set_registered_model_alias(name, CHAMPION, version)
        client.set_registered_model_tag(name, LAST_CHAMPION, version)
        _clear_challenger(client, name, version)


def repair_aliases(client: MlflowClient, name: str) -> None:
    """Complete a promotion whose process died while it moved the aliases; else do nothing."""
    champion = champion_version(client, name)
    if champion is None:
        return
    previous = version_with_alias(client, name, PREVIOUS)
    if previous is not None and previous.version == champion.version:
        # It died after it set `previous`, and the old champion still serves: restore `previous`.
        if champion.replaced_version:
            client.set_registered_model_alias(name, PREVIOUS, champion.replaced_version)
        else:
            client.delete_registered_model_alias(name, PREVIOUS)
    if client.get_registered_model(name).tags.get(LAST_CHAMPION) != champion.version:
        client.set_registered_model_tag(name, LAST_CHAMPION, champion.version)
    _clear_challenger(client, name, champion.version)


def set_challenger(client: MlflowClient, name: str, version: str) -> None:
    """Give a candidate that was not promoted but is servable the alias ``challenger``."""
    client.set_registered_model_alias(name, CHALLENGER, version)


def _clear_challenger(client: MlflowClient, name: str, champion: str) -> None:
    """Remove the alias ``challenger`` from a version that has become the champion."""
    challenger = version_with_alias(client, name, CHALLENGER)
    if challenger is not None and challenger.version == champion:
        client.delete_registered_model_alias(name, CHALLENGER)
