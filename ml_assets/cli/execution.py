"""Runs of the asset graph in this process, recorded in the same instance that the UI shows."""

import uuid
from typing import Any

import click
import dagster as dg
from rich.console import Console

from ml_assets.assets.models import model_asset_name
from ml_assets.cli.instance import open_instance
from ml_assets.cli.progress import StepProgress
from ml_assets.modeling.records import ChampionDecision, Leaderboard
from ml_assets.settings import Settings
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


class Execution:
    """The two runs behind ``ml-assets run``: ingestion of a range of months, then training."""

    def __init__(self, settings: Settings, console: Console, *, verbose: bool = False) -> None:
        from ml_assets.definitions import assemble

        self._settings = settings
        self._console = console
        self._verbose = verbose
        self._instance = open_instance(settings)
        self._definitions = assemble(settings)
        if settings.synthetic:
            console.print("Trips are the synthetic sample; ML_ASSETS_TRIPS=tlc takes real ones.")

    def ingest(self, first: Month, last: Month) -> None:
        """Bring the months and split them into kept and rejected trips."""
        job = self._definitions.resolve_job_def("ingest_trips")
        self._execute(job, {}, None, {RANGE_START: str(first), RANGE_END: str(last)})

    def train(
        self,
        first: Month,
        last: Month,
        models: tuple[str, ...],
        trials: int | None,
        train_months: int | None,
    ) -> tuple[Leaderboard, ChampionDecision]:
        """Train on the months from first to last, judge, decide; returns both records."""
        store = TripStore(self._settings.home, self._settings.taxi, self._settings.synthetic)
        outside = [
            str(month) for month in store.months("trip_features") if not first <= month <= last
        ]
        names = [model_asset_name(model) for model in models]
        window: dict[str, Any] = {"exclude_months": outside}
        if train_months is not None:
            window["train_months"] = train_months
        steps: dict[str, Any] = {"training_set": {"config": window}}
        if trials is not None:
            steps |= {name: {"config": {"trials": trials}} for name in names}
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
        count = len(selection) if selection else len(job.graph.node_defs)
        with StepProgress(self._console, count) as progress:
            self._instance.watch_event_logs(run_id, None, progress.on_event)
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
        if not result.success:
            for error in progress.errors:
                self._console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
            raise click.ClickException(
                f"run {run_id} failed; `ml-assets dev` shows its log. What was good before is kept"
            )
