"""A whole project for a test: its own home, its own Dagster instance, the real graph."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from ml_assets.config.settings import Settings, read_settings
from ml_assets.definitions import assemble
from ml_assets.storage.atomic import locked
from ml_assets_tests.conftest import SHARED_FOLDER

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
SERVICE_CHECK = dg.AssetCheckKey(dg.AssetKey("champion_model"), "serving_parity")
"""Starts the prediction service, for seconds; left out where a test is about other things."""


def settings_for(home: str | Path, trips: str | Path = "sample", **variables: str) -> Settings:
    """Settings of a project that lives in ``home``, a folder or a URL."""
    return read_settings({"ML_ASSETS_HOME": str(home), "ML_ASSETS_TRIPS": str(trips), **variables})


def _tables_of_mlflow() -> Path:
    """A database as MLflow leaves it when it is first opened, before anybody has used it."""
    folder = Path(os.environ[SHARED_FOLDER])
    made = folder / "mlflow.db"
    with locked(folder / "mlflow.lock"):
        if not made.exists():
            import mlflow

            mlflow.MlflowClient(f"sqlite:///{folder}/new_mlflow.db").search_experiments()
            (folder / "new_mlflow.db").rename(made)
    return made


def lay_tables_of_mlflow(settings: Settings) -> None:
    """Spare a new home MLflow's migrations, which are hundreds of writes, each waited for.

    A home that tracks elsewhere, or has begun to, is left alone.
    """
    database = settings.local_home / "mlflow.db"
    if settings.tracking_uri == f"sqlite:///{database}" and not database.exists():
        database.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_tables_of_mlflow(), database)


class Project:
    """Runs jobs of the real graph in this process."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings = settings
        self.instance = instance
        self.definitions = assemble(settings)

    def ingest(self, first: str, last: str) -> dg.ExecuteInProcessResult:
        """Materialize the ingestion of these months in one run."""
        return self.run("ingest_trips", tags={RANGE_START: first, RANGE_END: last})

    def train(
        self,
        models: Sequence[str] = ("linear_regression",),
        service: bool = False,
        **config: Mapping[str, Any],
    ) -> dg.ExecuteInProcessResult:
        """Materialize training set, these models, leaderboard and champion, without tuning.

        With ``service`` the champion is also asked over HTTP.
        """
        names = [f"{model}_model" for model in models]
        steps = {name: {"config": {"trials": 0}} for name in names}
        steps |= {name: {"config": dict(values)} for name, values in config.items()}
        keys = ["training_set", *names, "model_leaderboard", "champion_model"]
        return self.run("train_models", steps, keys, service=service)

    def run(
        self,
        job: str,
        steps: Mapping[str, Any] | None = None,
        selection: Sequence[str] | None = None,
        tags: Mapping[str, str] | None = None,
        service: bool = False,
    ) -> dg.ExecuteInProcessResult:
        """Run a job, or the part of it that makes these assets."""
        if job != "ingest_trips":
            lay_tables_of_mlflow(self.settings)
        made = self.definitions.resolve_job_def(job)
        named = {dg.AssetKey(name) for name in selection or []}
        keys = named or {*made.asset_layer.executable_asset_keys}
        if SERVICE_CHECK.asset_key in keys and not service:
            checks = self.definitions.resolve_asset_graph().get_check_keys_for_assets(keys)
            made = made.get_subset(
                asset_selection=keys, asset_check_selection=checks - {SERVICE_CHECK}
            )
            selection = None
        return made.execute_in_process(
            instance=self.instance,
            run_config={
                "ops": dict(steps or {}),
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            asset_selection=[dg.AssetKey(name) for name in selection] if selection else None,
            tags=dict(tags or {}),
            raise_on_error=False,
        )

    def run_checks(self, *assets: str) -> dict[str, dg.AssetCheckEvaluation]:
        """Run only the checks of these assets, without the service; return the results by name."""
        checks = dg.AssetSelection.checks_for_assets(*(dg.AssetKey(name) for name in assets))
        job = dg.define_asset_job(
            "checks_alone", selection=checks - dg.AssetSelection.checks(SERVICE_CHECK)
        )
        definitions = dg.Definitions.merge(self.definitions, dg.Definitions(jobs=[job]))
        return evaluations(
            definitions.resolve_job_def("checks_alone").execute_in_process(
                instance=self.instance, raise_on_error=False
            )
        )

    def metadata(self, asset: str, partition: str | None = None) -> dict[str, Any]:
        """Metadata of an asset's newest materialization, by name."""
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=dg.AssetKey(asset),
                asset_partitions=[partition] if partition else None,
            ),
            limit=1,
        ).records
        materialization = records[0].asset_materialization
        assert materialization is not None
        return {name: entry.value for name, entry in materialization.metadata.items()}


def evaluations(run: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """Return the results of a run's checks, by ``asset.check``."""
    return {
        f"{found.asset_key.to_user_string()}.{found.check_name}": found
        for found in run.get_asset_check_evaluations()
    }


@contextmanager
def open_project(settings: Settings) -> Iterator[Project]:
    """A project with an ephemeral Dagster instance."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield Project(settings, instance)
