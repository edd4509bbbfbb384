"""Dagster resource for MLflow: the store, and runs that end with the status of their step."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from ml_assets.config.code_version import model_code_version
from ml_assets.registry import NothingTracked
from ml_assets.registry.mlflow_descriptions import pages, run_page, source_tags, ui_command
from ml_assets.storage.model_version import ModelVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ml_assets.registry.mlflow_runs import TrackedRun
    from ml_assets.registry.mlflow_store import TrackingStore
    from ml_assets.registry.registry import Registry

_OUTCOMES = {
    dg.DagsterRunStatus.SUCCESS: "FINISHED",
    dg.DagsterRunStatus.FAILURE: "FAILED",
    dg.DagsterRunStatus.CANCELED: "KILLED",
}


class MlflowTracking(dg.ConfigurableResource):
    """MLflow tracking and registry (``MLFLOW_TRACKING_URI``).

    Unlike dagster-mlflow's ``mlflow_tracking`` it has no effect until a step requests a client,
    opens one MLflow run per training asset, and ends it with the status of the step.

    Attributes:
        tracking_uri: A database URL or a server.
        experiment: Experiment that runs are logged to.
        registered_model: Name under which champions are registered.
        artifact_location: Location of the artifacts of a database-backed store: below
            ``ML_ASSETS_HOME`` where MLflow supports it (a folder, ``s3://``, ``gs://``,
            ``wasbs://``, ``abfss://``, ``hdfs://``, ``ftp://``, ``sftp://``, without a password),
            else below the home's local folder. A server uses its own.
        lock_folder: Local folder for the lock that prevents concurrent migrations.
    """

    tracking_uri: str
    experiment: str
    registered_model: str
    artifact_location: str
    lock_folder: str

    def client(self) -> "MlflowClient":
        """Return a client of the reachable, migrated store with the experiment."""
        return self._store().client()

    def reader(self) -> "MlflowClient":
        """Return a client to read runs and the registry; creates the store if there is none."""
        store = self._store()
        try:
            return store.reader()
        except NothingTracked:
            return store.client()

    def champion(self) -> tuple[ModelVersion | None, str]:
        """Return the champion; None with the reason when there is none."""
        registry = self.registry(self.reader())
        found = registry.champion()
        return (found, "") if found else (None, registry.explain_missing_champion())

    def registry(self, client: "MlflowClient") -> "Registry":
        """Return the registered model with a client of its store."""
        from ml_assets.registry.registry import Registry

        return Registry(client, self.registered_model, Path(self.lock_folder))

    @contextlib.contextmanager
    def run(self, context: dg.AssetExecutionContext, name: str) -> "Iterator[TrackedRun]":
        """Open an MLflow run for the executing step."""
        from ml_assets.registry.mlflow_runs import DAGSTER_RUN_TAG, tracked_run

        client = self.client()
        self.close_orphaned(client, context.instance)
        tags = {
            DAGSTER_RUN_TAG: context.run.run_id,
            "dagster_asset": context.asset_key.to_user_string(),
            "code_version": model_code_version(),
            **source_tags(context.asset_key.to_user_string()),
        }
        with self._store().failures(), tracked_run(client, self.experiment, name, tags) as run:
            yield run

    def close_orphaned(self, client: "MlflowClient", instance: dg.DagsterInstance) -> list[str]:
        """End MLflow runs that a killed Dagster run left RUNNING.

        Args:
            instance: Runs that this instance does not know are left alone: on a shared tracking
                server they may be active runs of another instance.

        Returns:
            Ids of the ended MLflow runs.
        """
        from ml_assets.registry.mlflow_runs import close_orphaned_runs

        def outcome(dagster_run_id: str) -> str | None:
            run = instance.get_run_by_id(dagster_run_id)
            return None if run is None else _OUTCOMES.get(run.status)

        return close_orphaned_runs(client, self.experiment, outcome)

    def version_links(self, client: "MlflowClient", version: str) -> dict[str, dg.MetadataValue]:
        """Return links to a registered version and its run; for a database, the UI's command."""
        experiment = client.get_experiment_by_name(self.experiment)
        found = pages(
            self.tracking_uri,
            self.registered_model,
            version,
            experiment.experiment_id if experiment else "",
            client.get_model_version(self.registered_model, version).run_id or "",
        )
        return self._as_metadata(found)

    def run_links(self, run: "TrackedRun") -> dict[str, dg.MetadataValue]:
        """Return a link to a run; for a database, the UI's command."""
        return self._as_metadata(run_page(self.tracking_uri, run.experiment_id, run.run_id))

    def _as_metadata(self, links: dict[str, str]) -> dict[str, dg.MetadataValue]:
        if not links:
            return {"open_mlflow": dg.MetadataValue.text(ui_command(self.tracking_uri))}
        return {shown: dg.MetadataValue.url(address) for shown, address in links.items()}

    def _store(self) -> "TrackingStore":
        from ml_assets.registry.mlflow_store import TrackingStore

        return TrackingStore(
            self.tracking_uri, self.experiment, self.artifact_location, Path(self.lock_folder)
        )
