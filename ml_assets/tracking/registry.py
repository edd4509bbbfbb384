"""Where champions are registered."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
