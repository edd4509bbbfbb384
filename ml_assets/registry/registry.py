"""The registered model: its versions and aliases, and the remedy when one is missing."""

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ml_assets.config.settings import REGISTERED_MODEL, Settings
from ml_assets.registry import ConcurrentPromotion
from ml_assets.registry.mlflow_descriptions import MODEL_DESCRIPTION
from ml_assets.registry.mlflow_store import TrackingStore
from ml_assets.secrets import ShownError
from ml_assets.storage.atomic import locked
from ml_assets.storage.model_version import REPLACED_VERSION, ModelVersion

CHAMPION: Final = "champion"
PREVIOUS: Final = "previous"
CHALLENGER: Final = "challenger"

_LOGGED: Final = "models:/"
_LAST_CHAMPION: Final = "last_champion"
"""Tag of the registered model: the version promoted last; it outlives the alias."""
_LOCK: Final = ".champion.lock"


class ModelNotLogged(ShownError, LookupError):
    """A model that this MLflow store does not have; the message names it and the remedy."""


@dataclass(frozen=True)
class Registry:
    """A registered model in MLflow.

    Attributes:
        lock_folder: Local folder of the lock that serializes promotions on this machine.
    """

    client: MlflowClient
    name: str
    lock_folder: Path

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the registered model of these settings; unlike a training, it creates no store.

        Raises:
            NothingTracked: Nothing has been logged yet.
            TrackingUnavailable: The store does not answer, or is unusable.
        """
        return cls(TrackingStore.of(settings).reader(), REGISTERED_MODEL, settings.local_home)

    def get(self, which: str) -> ModelVersion | None:
        """Return a version by its number or alias; None when there is none."""
        client = self.client
        read = client.get_model_version if which.isdecimal() else client.get_model_version_by_alias
        try:
            return ModelVersion.from_mlflow(read(self.name, which))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def champion(self) -> ModelVersion | None:
        """Return the champion; None when there is none."""
        return self.get(CHAMPION)

    def versions(self, dataset: str | None = None) -> list[ModelVersion]:
        """Return the registered versions, oldest first, of a dataset if one is given."""
        entries = self.client.search_model_versions(f"name='{self.name}'")
        found = sorted(map(ModelVersion.from_mlflow, entries), key=lambda entry: int(entry.version))
        return [entry for entry in found if dataset in (None, entry.dataset)]

    def describe_versions(self, dataset: str | None = None) -> str:
        """Format the registered versions with their families, for messages."""
        named = [f"{entry.version} ({entry.model})" for entry in self.versions(dataset)]
        return ", ".join(named) or "none; train first with `ml-assets run`"

    def explain_missing_champion(self) -> str:
        """Explain why no version has the alias ``champion``, with the command to run.

        The command promotes the last champion if that is known, else the newest version.
        """
        numbers = [entry.version for entry in self.versions()]
        if not numbers:
            return (
                "there is no champion yet: train one first (`ml-assets run`, or the job "
                "train_models)"
            )
        previous = self.get(PREVIOUS)
        known = (self._last_champion(), previous.version if previous else None)
        latest = next((number for number in known if number in numbers), numbers[-1])
        return (
            f"no version of {self.name} has the alias champion (the alias or its version was "
            "deleted, or no version was promoted yet): let one serve again with `ml-assets promote "
            f"{latest}`, or train with `ml-assets run`; there are {self.describe_versions()}"
        )

    def register(
        self, model_uri: str, run_id: str, tags: dict[str, str], description: str | None = None
    ) -> str:
        """Register a logged model as a new version without an alias; return its number.

        Raises:
            ModelNotLogged: This MLflow store does not have the model.
        """
        try:
            self.client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self.client.create_registered_model(self.name, description=MODEL_DESCRIPTION)
        # A server accepts a logged model's URI only together with its id.
        model_id = model_uri.removeprefix(_LOGGED) if model_uri.startswith(f"{_LOGGED}m-") else None
        if model_id is not None:
            self._require_logged(model_id)
        made = self.client.create_model_version(
            self.name, model_uri, run_id, tags, description=description, model_id=model_id
        )
        if model_id is not None:
            # As mlflow.register_model does: MLflow's page of the logged model links its version.
            link = json.dumps([{"name": self.name, "version": str(made.version)}])
            self.client.set_logged_model_tags(model_id, {"mlflow.modelVersions": link})
        return str(made.version)

    def _require_logged(self, model_id: str) -> None:
        try:
            self.client.get_logged_model(model_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise ModelNotLogged(
                f"MLflow does not have the model {model_id}: it was logged to another store, or "
                "deleted. Materialize the model again"
            ) from error

    def tag(self, version: str, tag: str, value: str) -> None:
        """Set a tag of a version."""
        self.client.set_model_version_tag(self.name, version, tag, value)

    def lock(self) -> AbstractContextManager[None]:
        """Return the lock that is held while the aliases are moved."""
        return locked(self.lock_folder / _LOCK)

    def promote(self, version: str, *, expected_current: str | None) -> None:
        """Make a version the champion in one step; the current one becomes ``previous``.

        ``previous`` is set first: if the process dies in between, the old champion still serves.

        Args:
            expected_current: The champion at the time of the decision; None when there was none.

        Raises:
            ConcurrentPromotion: The champion has changed since the decision.
        """
        with self.lock():
            champion = self.champion()
            now = champion.version if champion else None
            if now != expected_current:
                raise ConcurrentPromotion(
                    f"the champion of {self.name} is version {now or 'none'} now, and this "
                    f"decision was made while it was {expected_current or 'none'}: decide again "
                    "(materialize champion_model)"
                )
            if now is not None and now != version:
                self.tag(version, REPLACED_VERSION, now)
                self.client.set_registered_model_alias(self.name, PREVIOUS, now)
            self.client.set_registered_model_alias(self.name, CHAMPION, version)
            self.client.set_registered_model_tag(self.name, _LAST_CHAMPION, version)
            self._clear_challenger(version)

    def repair_aliases(self) -> None:
        """Complete a promotion whose process died while it moved the aliases; else do nothing."""
        champion = self.champion()
        if champion is None:
            return
        previous = self.get(PREVIOUS)
        if previous is not None and previous.version == champion.version:
            # It died after it set `previous`, and the old champion still serves: restore it.
            if champion.replaced_version:
                self.client.set_registered_model_alias(
                    self.name, PREVIOUS, champion.replaced_version
                )
            else:
                self.client.delete_registered_model_alias(self.name, PREVIOUS)
        if self._last_champion() != champion.version:
            self.client.set_registered_model_tag(self.name, _LAST_CHAMPION, champion.version)
        self._clear_challenger(champion.version)

    def _last_champion(self) -> str | None:
        last: str | None = self.client.get_registered_model(self.name).tags.get(_LAST_CHAMPION)
        return last

    def set_challenger(self, version: str) -> None:
        """Give a candidate that was not promoted but is servable the alias ``challenger``."""
        self.client.set_registered_model_alias(self.name, CHALLENGER, version)

    def _clear_challenger(self, champion: str) -> None:
        """Remove the alias ``challenger`` from a version that has become the champion."""
        challenger = self.get(CHALLENGER)
        if challenger is not None and challenger.version == champion:
            self.client.delete_registered_model_alias(self.name, CHALLENGER)
