"""The Dagster resource for MLflow: opens the store, and runs that end as their step ends."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from ml_assets.config.code_version import model_code_version
from ml_assets.registry.links import pages, run_page, source_tags, ui_command
from ml_assets.registry.mlflow_runs import (
    DAGSTER_RUN_TAG,
    TrackedRun,
    close_orphaned_runs,
    tracked_run,
)
from ml_assets.registry.mlflow_store import TrackingStore

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ml_assets.evaluation.records import TrainingSet
    from ml_assets.registry.registry import Registry

_OUTCOMES = {
    dg.DagsterRunStatus.SUCCESS: "FINISHED",
    dg.DagsterRunStatus.FAILURE: "FAILED",
    dg.DagsterRunStatus.CANCELED: "KILLED",
}


class MlflowTracking(dg.ConfigurableResource):
    """MLflow tracking and registry (``MLFLOW_TRACKING_URI``).

    Unlike dagster-mlflow's ``mlflow_tracking`` it has no effect until a step asks for a client,
    opens one MLflow run a training asset, and closes it with the step's own outcome.

    Attributes:
        tracking_uri: A database URL or a server.
        experiment: Experiment that runs are logged to.
        registered_model: Name under which champions are registered.
        artifact_location: Where models and pictures of a database-backed store go: below
            ``ML_ASSETS_HOME`` where MLflow can store there (a folder, ``s3://``, ``gs://``,
            ``wasbs://``, ``abfss://``, ``hdfs://``, ``ftp://``, ``sftp://``, without a password),
            else below the home's local folder. A server decides by itself.
        lock_folder: Local folder for the lock that keeps two processes from migrating at once.
    """

    tracking_uri: str
    experiment: str
    registered_model: str
    artifact_location: str
    lock_folder: str

    def client(self) -> "MlflowClient":
        """A client of the store, which is reachable, migrated and has the experiment."""
        return self._store().client()

    def reader(self) -> "MlflowClient":
        """A client to read runs and the registry with; it needs no experiment.

        Where nothing was ever tracked, it is one of a store that is made now.
        """
        from ml_assets.registry.mlflow_store import NothingTracked

        store = self._store()
        try:
            return store.reader()
        except NothingTracked:
            return store.client()

    def registry(self) -> "Registry":
        """The registered model, and a client of its store."""
        from ml_assets.registry.registry import Registry

        return Registry(self.client(), self.registered_model, Path(self.lock_folder))

    @contextlib.contextmanager
    def run(self, context: dg.AssetExecutionContext, name: str) -> Iterator[TrackedRun]:
        """An MLflow run for the step that is executing."""
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

    def warm_start_parameters(
        self, client: "MlflowClient", model: str, training_set: "TrainingSet"
    ) -> dict[str, Any] | None:
        """Parameters of the serving champion, if it is of that family; else None."""
        from ml_assets.registry.loading import warm_start_parameters

        return warm_start_parameters(client, self.registered_model, model, training_set)

    def close_orphaned(self, client: "MlflowClient", instance: dg.DagsterInstance) -> list[str]:
        """End MLflow runs that a killed Dagster run left RUNNING.

        Args:
            client: Of the store.
            instance: A Dagster run that it does not know is left alone: on a shared tracking
                server that is a live run of another instance.

        Returns:
            Ids of the MLflow runs that were ended.
        """

        def outcome(dagster_run_id: str) -> str | None:
            run = instance.get_run_by_id(dagster_run_id)
            return None if run is None else _OUTCOMES.get(run.status)

        return close_orphaned_runs(client, self.experiment, outcome)

    def where_to_look(self, client: "MlflowClient", version: str) -> dict[str, dg.MetadataValue]:
        """Links to a registered version and its run; for a database, the command that shows it."""
        experiment = client.get_experiment_by_name(self.experiment)
        found = pages(
            self.tracking_uri,
            self.registered_model,
            version,
            experiment.experiment_id if experiment else "",
            client.get_model_version(self.registered_model, version).run_id or "",
        )
        return self._as_metadata(found)

    def run_links(self, run: TrackedRun) -> dict[str, dg.MetadataValue]:
        """A link to a run; for a database, the command that shows it."""
        return self._as_metadata(run_page(self.tracking_uri, run.experiment_id, run.run_id))

    def _as_metadata(self, links: dict[str, str]) -> dict[str, dg.MetadataValue]:
        if not links:
            return {"open_mlflow": dg.MetadataValue.text(ui_command(self.tracking_uri))}
        return {shown: dg.MetadataValue.url(address) for shown, address in links.items()}

    def _store(self) -> TrackingStore:
        return TrackingStore(
            self.tracking_uri, self.experiment, self.artifact_location, Path(self.lock_folder)
        )
