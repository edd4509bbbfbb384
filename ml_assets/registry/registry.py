"""Where champions are registered, and what to do where a version or an alias is missing."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_assets.registry.artifacts import PREVIOUS, version_with_alias

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Registry:
    """A registered model in MLflow.

    Attributes:
        client: Of the registry.
        name: Registered model.
        lock_folder: Local folder of the lock under which the champion's alias moves.
    """

    client: "MlflowClient"
    name: str
    lock_folder: Path


def versions_of(client: "MlflowClient", name: str, dataset: str | None = None) -> list[Any]:
    """MLflow's records of the registered versions, the oldest first.

    Args:
        client: Of the registry.
        name: Registered model.
        dataset: Only versions of these trips.
    """
    found = client.search_model_versions(f"name='{name}'")
    ordered = sorted(found, key=lambda entry: int(entry.version))
    return [entry for entry in ordered if dataset in (None, entry.tags.get("dataset"))]


def list_versions(client: "MlflowClient", name: str, dataset: str | None = None) -> str:
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


def promote_command(client: "MlflowClient", name: str, dataset: str | None = None) -> str | None:
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


def explain_missing_champion(client: "MlflowClient", name: str) -> str:
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
