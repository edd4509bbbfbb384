"""What MLflow stores about a version's training: enough to fit it again."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient

from ml_assets.backtesting.inputs import ChampionParameters
from ml_assets.evaluation.records import TrainingSet
from ml_assets.registry.loading import parameter_value
from ml_assets.registry.log_training import RECORD_FILE, TRAINING_SET_FILE, Environment
from ml_assets.registry.registry import (
    CHAMPION,
    champion_version,
    explain_missing_champion,
    find_version,
    list_versions,
)
from ml_assets.secrets import ShownError, error_text
from ml_assets.storage.former_names import with_present_names
from ml_assets.storage.model_version import UNKNOWN_MODEL, ModelVersion
from ml_assets.training.families import family_named


class UnknownVersion(ShownError, LookupError):
    """A version that does not exist or lacks its records; the message lists the existing ones."""


@dataclass(frozen=True)
class TrainingRecord:
    """A registered version and the record of its training.

    Attributes:
        version: The registered version; its family exists in this code.
        parameters: All parameters of its estimator, including the chosen number of rounds.
        seed: Seed of its estimator.
        refit_on_validation: Whether the evaluated model was refitted on the validation month.
        code_version: Version of the code that trained it; empty when not recorded.
        environment: Environment of the fit; None when not recorded.
    """

    registered_model: str
    version: ModelVersion
    parameters: dict[str, Any]
    seed: int
    refit_on_validation: bool
    training_set: TrainingSet
    code_version: str
    environment: Environment | None

    def __str__(self) -> str:
        return f"version {self.version.version} ({self.version.model})"

    @property
    def uri(self) -> str:
        """URI of the version."""
        return f"models:/{self.registered_model}/{self.version.version}"

    def libraries(self) -> dict[str, str]:
        """Return the recorded versions of the libraries that it was fitted with."""
        kept = self.environment.libraries if self.environment else {}
        return {**_requirements(self.uri), **kept}


def load_training_record(client: MlflowClient, name: str, which: str) -> TrainingRecord:
    """Load the training record of a version, by its number or alias.

    Raises:
        UnknownVersion: The version does not exist, or the record of its training is gone.
    """
    version = _find(client, name, which)
    try:
        run = client.get_run(version.run_id)
        training_set = TrainingSet.model_validate(_artifact(client, run, TRAINING_SET_FILE))
    except Exception as error:
        raise UnknownVersion(
            f"the training record of version {version.version} of {name} in MLflow (run "
            f"{version.run_id or 'unknown'}) cannot be read ({error_text(error)})"
        ) from error
    kept, params = _kept_record(client, run), with_present_names(run.data.params)
    parameters = kept["record"]["parameters"] if kept else run.data.params
    if version.model == UNKNOWN_MODEL:
        version = version.model_copy(update={"model": run.data.tags.get("model", UNKNOWN_MODEL)})
    family = version.model
    try:
        family_named(family)
    except ValueError as error:
        raise UnknownVersion(f"version {version.version} of {name}: {error}") from error
    return TrainingRecord(
        registered_model=name,
        version=version,
        parameters=_of_family(family, parameters, as_text=kept is None),
        seed=int(params["seed"]),
        refit_on_validation=str(params.get("refit_on_validation")) != "False",
        training_set=training_set,
        code_version=run.data.tags.get("code_version", ""),
        environment=Environment.model_validate(kept["environment"]) if kept else None,
    )


def champion_parameters_of(
    client: MlflowClient, name: str, dataset: str
) -> ChampionParameters | None:
    """Return the champion's parameters; None without a champion of this dataset.

    Raises:
        UnknownVersion: The record of its training is gone.
    """
    if champion_version(client, name) is None:
        return None
    champion = load_training_record(client, name, CHAMPION)
    if champion.training_set.dataset != dataset:
        return None
    return ChampionParameters(champion.version, champion.parameters)


def _find(client: MlflowClient, name: str, which: str) -> ModelVersion:
    found = find_version(client, name, which)
    if found is None and which == CHAMPION:
        raise UnknownVersion(explain_missing_champion(client, name))
    if found is None:
        there = list_versions(client, name)
        if which.isdecimal():
            raise UnknownVersion(f"{name} has no version {which}: there are {there}")
        raise UnknownVersion(f"no version of {name} is called {which}: there are {there}")
    return found


def _artifact(client: MlflowClient, run: Any, file: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = client.download_artifacts(run.info.run_id, file, folder)
        return json.loads(Path(path).read_text(encoding="utf-8"))


def _kept_record(client: MlflowClient, run: Any) -> dict[str, Any] | None:
    """Return the model's record with its environment; None when not recorded."""
    names = {entry.path for entry in client.list_artifacts(run.info.run_id)}
    if RECORD_FILE not in names:
        return None
    kept: dict[str, Any] = _artifact(client, run, RECORD_FILE)
    return kept


def _of_family(family: str, recorded: dict[str, Any], *, as_text: bool) -> dict[str, Any]:
    """Select the parameters of the family's estimator from all recorded ones."""
    known = {
        name: value for name, value in recorded.items() if name in family_named(family).defaults
    }
    return {name: parameter_value(text) for name, text in known.items()} if as_text else known


def _requirements(uri: str) -> dict[str, str]:
    """Return the versions pinned in the stored model's requirements."""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{uri}/requirements.txt"
        path = mlflow.artifacts.download_artifacts(artifact_uri=file, dst_path=folder)
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    pinned = (line.partition("==") for line in lines if "==" in line)
    return {name.strip(): version.strip() for name, _, version in pinned}
