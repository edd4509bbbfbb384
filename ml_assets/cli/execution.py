"""Runs of the asset graph in this process, recorded in the same instance that the UI shows."""

import logging
import os
import uuid
from typing import Any

import click
import dagster as dg
from rich.console import Console

from ml_assets.assets.models import model_asset_name
from ml_assets.cli.instance import open_instance
from ml_assets.cli.plan import RunPlan
from ml_assets.cli.progress import StepProgress
from ml_assets.modeling.records import ChampionDecision, Leaderboard
from ml_assets.settings import Settings
from ml_assets.sources.progress import watching_transfers
from ml_assets.storage.atomic import storing
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
_INTERRUPTED = dg.DagsterExecutionInterruptedError.__name__


class Execution:
    """The runs behind ``ml-assets run``: ingestion of months, then training.

    Raises:
        StorageError: when Dagster's home cannot be written.
    """

    def __init__(self, settings: Settings, console: Console, *, verbose: bool = False) -> None:
        from ml_assets.definitions import assemble

        self._settings = settings
        self._console = console
        self._verbose = verbose
        if not verbose:
            _quiet_libraries()
        with storing(str(settings.local_home)):
            self._instance = open_instance(settings)
        self._definitions = assemble(settings)
        if settings.synthetic:
            console.print("Trips are the synthetic sample; ML_ASSETS_TRIPS=tlc takes real ones.")

    def ingest(self, first: Month, last: Month) -> None:
        """Bring the months and split them into kept and rejected trips."""
        job = self._definitions.resolve_job_def("ingest_trips")
        self._execute(job, {}, None, {RANGE_START: str(first), RANGE_END: str(last)})

    def train(self, plan: RunPlan) -> tuple[Leaderboard, ChampionDecision]:
        """Train on the plan's months, judge, decide; returns both records."""
        store = TripStore(self._settings.home, self._settings.taxi, self._settings.synthetic)
        stored = store.months("trip_features")
        names = [model_asset_name(model) for model in plan.models]
        window: dict[str, Any] = {
            "exclude_months": [str(month) for month in stored if month not in plan.months]
        }
        if plan.train_months is not None:
            window["train_months"] = plan.train_months
        steps: dict[str, Any] = {"training_set": {"config": window}}
        if plan.trials is not None:
            steps |= {name: {"config": {"trials": plan.trials}} for name in names}
        selection = ["training_set", *names, "model_leaderboard", "champion_model"]
        keys = [dg.AssetKey(name) for name in selection]
        self._execute(self._definitions.resolve_job_def("train_models"), steps, keys, {})
        records = self._definitions.resources["trip_store"].records()  # type: ignore[index]
        return (
            records.read("model_leaderboard", Leaderboard),
            records.read("champion_model", ChampionDecision),
        )

    def _execute(
        self,
        job: dg.JobDefinition,
        steps: dict[str, Any],
        selection: list[dg.AssetKey] | None,
        tags: dict[str, str],
    ) -> None:
        run_id = str(uuid.uuid4())
        level = "INFO" if self._verbose else "CRITICAL"
        chosen = job.get_subset(asset_selection={*selection}) if selection else job
        with (
            StepProgress(self._console, len(chosen.graph.node_defs)) as progress,
            watching_transfers(progress.transferred),
        ):
            self._instance.watch_event_logs(run_id, None, progress.on_event)
            try:
                result = job.execute_in_process(
                    instance=self._instance,
                    run_config={
                        "ops": steps,
                        "loggers": {"console": {"config": {"log_level": level}}},
                    },
                    asset_selection=selection,
                    tags=tags,
                    run_id=run_id,
                    raise_on_error=False,
                )
            finally:
                self._instance.end_watch_event_logs(run_id, progress.on_event)
                for entry in self._instance.all_logs(run_id):
                    progress.on_event(entry)
        if not result.success:
            if any(_INTERRUPTED in error for error in progress.errors):
                raise click.Abort
            for error in progress.errors:
                self._console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
            raise click.ClickException(
                f"run {run_id} failed; `ml-assets dev` shows its log. What was good before is kept"
            )


def _quiet_libraries() -> None:
    """Keep what MLflow, Alembic and Optuna note for their own sake out of the progress."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # read when MLflow is imported
    for library in ("mlflow", "alembic", "optuna"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # Ctrl-C while a connection is being closed: it is closed all the same, with a traceback.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
