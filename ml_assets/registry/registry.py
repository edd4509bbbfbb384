"""Where champions are registered, and what to do where a version or an alias is missing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from ml_assets.registry.artifacts import CHALLENGER, CHAMPION, PREVIOUS, version_with_alias
from ml_assets.secrets import ShownError
from ml_assets.storage.atomic import locked


@dataclass(frozen=True)
class Registry:
    """A registered model in MLflow.

    Attributes:
        client: Of the registry.
        name: Registered model.
        lock_folder: Local folder of the lock under which the champion's alias moves.
    """

    client: MlflowClient
    name: str
    lock_folder: Path


def versions_of(client: MlflowClient, name: str, dataset: str | None = None) -> list[Any]:
    """MLflow's records of the registered versions, the oldest first.

    Args:
        client: Of the registry.
        name: Registered model.
        dataset: Only versions of these trips.
    """
    found = client.search_model_versions(f"name='{name}'")
    ordered = sorted(found, key=lambda entry: int(entry.version))
    return [entry for entry in ordered if dataset in (None, entry.tags.get("dataset"))]


def list_versions(client: MlflowClient, name: str, dataset: str | None = None) -> str:
    """The registered versions with their families, for messages.

    Args:
        client: Of the registry.
        name: Registered model.
        dataset: Only versions of these trips.
    """
    named = [
        f"{entry.version} ({entry.tags.get('model', 'unknown')})"
        for entry in versions_of(client, name, dataset)
    ]
    return ", ".join(named) or "none; train first with `ml-assets run`"


def promote_command(client: MlflowClient, name: str, dataset: str | None = None) -> str | None:
    """The command that lets a registered version serve; None when there is no version.

    It names the one that served last as far as that is known, else the newest.

    Args:
        client: Of the registry.
        name: Registered model.
        dataset: Only versions of these trips.
    """
    versions = versions_of(client, name, dataset)
    if not versions:
        return None
    served = [entry for entry in versions if entry.tags.get("decision") not in (None, "refused")]
    previous = version_with_alias(client, name, PREVIOUS)
    numbers = {str(entry.version) for entry in versions}
    if served:
        latest = str(max(served, key=lambda entry: entry.tags.get("decided_at", "")).version)
    elif previous is not None and str(previous.version) in numbers:
        latest = str(previous.version)
    else:
        latest = str(versions[-1].version)
    return f"ml-assets promote {latest}"


def explain_missing_champion(client: MlflowClient, name: str) -> str:
    """Why no version has the alias ``champion``, and the command that helps.

    Args:
        client: Of the registry.
        name: Registered model.
    """
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


REPLACES = "replaces"
LOCK = ".champion.lock"
"""File in a home that is locked while aliases are moved."""


class ConcurrentPromotion(ShownError, RuntimeError):
    """Another process made another version champion meanwhile; nothing was changed."""


def champion_version(client: MlflowClient, name: str) -> str | None:
    """The version that serves; None when nothing does."""
    version = version_with_alias(client, name, CHAMPION)
    return None if version is None else str(version.version)


def promote_alias(
    client: MlflowClient,
    name: str,
    version: str,
    *,
    expected_current: str | None,
    lock_folder: Path,
) -> None:
    """Make a version the champion in one step; the one before becomes ``previous``.

    The old champion is noted first: if the process dies in between, it is still the champion.

    Args:
        client: Of the registry.
        name: Registered model.
        version: The new champion.
        instead_of: The version that served when this was decided; None when nothing did.
        lock_folder: Local folder of the lock that lets one process of this machine move it at a
            time.

    Raises:
        ConcurrentPromotion: when another version serves by now.
    """
    with locked(lock_folder / LOCK):
        now = champion_version(client, name)
        if now != expected_current:
            raise ConcurrentPromotion(
                f"version {now or 'none'} of {name} serves by now, and this was decided while "
                f"{expected_current or 'none'} did: decide again (materialize champion_model)"
            )
        if now is not None and now != version:
            client.set_model_version_tag(name, version, REPLACES, now)
            client.set_registered_model_alias(name, PREVIOUS, now)
        client.set_registered_model_alias(name, CHAMPION, version)
        _leave_challengers(client, name, version)


def settle(client: MlflowClient, name: str) -> None:
    """Finish what a process that died while it moved the aliases left undone; else do nothing."""
    champion = version_with_alias(client, name, CHAMPION)
    if champion is None:
        return
    previous = version_with_alias(client, name, PREVIOUS)
    if previous is not None and str(previous.version) == str(champion.version):
        # It died after it noted the old champion, who still serves: what that replaced is previous.
        replaced = champion.tags.get(REPLACES)
        if replaced:
            client.set_registered_model_alias(name, PREVIOUS, replaced)
        else:
            client.delete_registered_model_alias(name, PREVIOUS)
    _leave_challengers(client, name, str(champion.version))


def set_challenger(client: MlflowClient, name: str, version: str) -> None:
    """Give a version that asks for the champion's place the alias ``challenger``."""
    client.set_registered_model_alias(name, CHALLENGER, version)


def _leave_challengers(client: MlflowClient, name: str, champion: str) -> None:
    """Who serves asks for nothing any more."""
    challenger = version_with_alias(client, name, CHALLENGER)
    if challenger is not None and str(challenger.version) == champion:
        client.delete_registered_model_alias(name, CHALLENGER)
