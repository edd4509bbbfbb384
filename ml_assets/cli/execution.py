"""Run the asset graph in this process, recorded in the instance that the UI shows."""

import contextlib
import logging
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Before all others: skops, which a training imports, seeks each of its functions in every module
# loaded before it, for more than a second.
import scipy.special  # noqa: F401

# isort: split
import click
import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from rich.console import Console
from rich.markup import escape

from ml_assets.cli.environment import next_command
from ml_assets.cli.instance import open_instance
from ml_assets.cli.plan import RunPlan, near_misses, plan_of_window, require_any
from ml_assets.cli.progress import StepProgress
from ml_assets.cli.runs import fail_orphaned_runs_now, require_no_active_run
from ml_assets.config.memory import available_memory
from ml_assets.config.settings import Settings
from ml_assets.defs.ingestion.sensors import RANGE_END, RANGE_START
from ml_assets.defs.operations.run_process import process_tags
from ml_assets.defs.operations.run_tags import reason_tag
from ml_assets.defs.training.models import model_asset_name
from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.records import Leaderboard
from ml_assets.progress import watching
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.atomic import storage_errors
from ml_assets.storage.leftovers import clean_home
from ml_assets.storage.record_store import RecordStore
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.plan import DoesNotFit
from ml_assets.training.windows import WindowError, choose_window
from ml_assets.trips.month import Month

_INTERRUPTED = dg.DagsterExecutionInterruptedError.__name__


@dataclass(frozen=True)
class Outcome:
    """Result of a training.

    Attributes:
        decision: The promotion decision; None when the run failed before it.
        failure: Why the run failed, in one line; None when it succeeded.
    """

    leaderboard: Leaderboard
    decision: ChampionDecision | None
    failure: str | None


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
        with storage_errors(str(settings.local_home)):
            self._instance = open_instance(settings)
        for line in fail_orphaned_runs_now(self._instance):
            self._print_line(line)
        clean_home(settings.local_home)
        self._definitions = assemble(settings)
        if settings.synthetic:
            console.print("Trips are the synthetic sample; ML_ASSETS_TRIPS=tlc uses real ones.")

    def require_no_active_run(self) -> None:
        """Refuse to train while another run is in progress.

        Raises:
            click.ClickException: naming that run and the remedy.
        """
        require_no_active_run(self._instance, self._print_line)

    def _print_line(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False)

    def ingest(self, plan: RunPlan) -> None:
        """Ingest the plan's months, and clean their trips.

        Files that resemble missing months but are not read are named.

        Raises:
            click.ClickException: when a run fails, after the runs of all ranges of months, or when
                none of the months is available.
        """
        job = self._definitions.resolve_job_def("ingest_trips")
        failures = []
        for first, last in plan.spans:
            tags = {RANGE_START: str(first), RANGE_END: str(last)}
            _, failure = self._execute(job, tags=tags)
            failures += [failure] if failure is not None else []
        if failures:
            raise click.ClickException("; ".join(failures))
        stored = {*self._store().months("trip_features")}
        require_any(self._settings, plan, stored & {*plan.months})
        absent = [month for month in plan.months if month not in stored]
        for line in near_misses(self._settings, absent) if absent else ():
            self._console.print(f"  [yellow]![/yellow] {escape(line)}", soft_wrap=True)

    def train(self, plan: RunPlan) -> Outcome:
        """Train on the plan's months, evaluate, and decide on the champion.

        Raises:
            click.ClickException: when another run is in progress, when the run fails before its
                leaderboard, or when another run changed the training set meanwhile.
        """
        self.require_no_active_run()
        store = self._store()
        stored = store.months("trip_features")
        require_any(self._settings, plan, {*stored} & {*plan.months})
        left_out = [month for month in stored if month not in plan.months]
        self._require_memory(plan, [month for month in stored if month in plan.months])
        names = [model_asset_name(model) for model in plan.models]
        result, failure = self._execute(
            self._definitions.resolve_job_def("train_models"),
            steps=_training_config(plan, names, left_out),
            selection=["training_set", *names, "model_leaderboard", "champion_model"],
            trials=dict.fromkeys(names, plan.trials),
        )
        if failure is not None and _materialized(result, "model_leaderboard") is None:
            raise click.ClickException(failure)
        records = RecordStore(self._settings.home, store.dataset)
        board = records.read("model_leaderboard", Leaderboard)
        decision = None if failure else DecisionLog(self._settings.home, store.dataset).newest()
        _require_same_training_set(result, board, decision)
        return Outcome(board, decision, failure)

    def _require_memory(self, plan: RunPlan, months: list[Month]) -> None:
        """Print what the training will take; refuse what does not fit.

        Raises:
            click.ClickException: with the ways to need less memory.
        """
        with contextlib.suppress(WindowError):  # the asset training_set says it
            window = choose_window(months, plan.train_months)
            training, memory = plan_of_window(self._settings, plan, window), available_memory()
            for line in training.lines(memory):
                self._print_line(line)
            try:
                training.require_memory(memory)
            except DoesNotFit as error:
                raise click.ClickException(str(error)) from error

    def warn_of_memory(self, plan: RunPlan) -> None:
        """Print a warning if the training will probably not fit, before months are fetched for it.

        Months that are not stored yet are estimated: the training itself decides.
        """
        with contextlib.suppress(WindowError):
            window = choose_window(list(plan.months), plan.train_months)
            try:
                plan_of_window(self._settings, plan, window).require_memory(available_memory())
            except DoesNotFit as error:
                self._print_line(f"warning: by its estimate, {error}")

    def _store(self) -> TripStore:
        return TripStore(self._settings.home, self._settings.taxi, self._settings.synthetic)

    def run_step(self, job: str, op: str, config: Mapping[str, Any]) -> None:
        """Run a job of one step.

        Raises:
            click.ClickException: when the run fails.
        """
        _, failure = self._execute(
            self._definitions.resolve_job_def(job), steps={op: {"config": dict(config)}}
        )
        if failure is not None:
            raise click.ClickException(failure)

    def _execute(
        self,
        job: dg.JobDefinition,
        *,
        steps: Mapping[str, Any] | None = None,
        selection: list[str] | None = None,
        trials: Mapping[str, int] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> tuple[dg.JobExecutionResult, str | None]:
        """Run a job, or the part of it for these assets, and show its progress.

        Returns:
            The result, and why it failed, in one line; None when it succeeded.

        Raises:
            click.Abort: when it was stopped by Ctrl-C.
        """
        run_id = str(uuid.uuid4())
        keys = frozenset(dg.AssetKey(name) for name in selection) if selection else None
        chosen = job.get_subset(asset_selection=keys) if keys else job
        level = "INFO" if self._verbose else "CRITICAL"
        with (
            StepProgress(self._console, len(chosen.graph.node_defs), trials) as progress,
            watching(progress.on_progress),
        ):
            self._instance.watch_event_logs(run_id, None, progress.on_event)
            try:
                run = self._instance.create_run_for_job(
                    chosen,
                    run_id=run_id,
                    run_config={
                        "ops": dict(steps or {}),
                        "loggers": {"console": {"config": {"log_level": level}}},
                    },
                    asset_selection=keys,
                    # The executor sets the process again; here it covers the time before.
                    tags={**job.run_tags, **_by_command(), **process_tags(run_id), **(tags or {})},
                )
                # With the job's own executor, which execute_in_process would replace.
                result = execute_run(InMemoryJob(job), run, self._instance)
            finally:
                self._instance.end_watch_event_logs(run_id, progress.on_event)
                for entry in self._instance.all_logs(run_id):
                    progress.on_event(entry)
        return result, None if result.success else self._failure(run_id, progress.errors)

    def _failure(self, run_id: str, errors: list[str]) -> str:
        if any(_INTERRUPTED in error for error in errors):
            raise click.Abort
        for error in errors:
            self._console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        dev = next_command(self._settings, "dev")
        return f"run {run_id} failed. Existing data and models are kept. For its log: {dev}"


def _by_command() -> dict[str, str]:
    """Return the tag that says which command started a run."""
    context = click.get_current_context(silent=True)
    return reason_tag(f"manually: {context.command_path}") if context is not None else {}


def _training_config(plan: RunPlan, names: list[str], left_out: list[Month]) -> dict[str, Any]:
    """Return the configuration of the training steps for the plan's options."""
    window: dict[str, Any] = {"exclude_months": [str(month) for month in left_out]}
    if plan.train_months is not None:
        window["train_months"] = plan.train_months
    model = {"config": {"trials": plan.trials, "seed": plan.seed, "max_rows": str(plan.max_rows)}}
    return {
        "training_set": {"config": window},
        "champion_model": {"config": {"refit_on_all_months": plan.refit}},
        **dict.fromkeys(names, model),
    }


def _materialized(result: dg.JobExecutionResult, asset: str) -> dg.AssetMaterialization | None:
    """Return the run's materialization of an asset; None when it did not get that far."""
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        if materialization.asset_key == dg.AssetKey(asset):
            return materialization
    return None


def _require_same_training_set(
    result: dg.JobExecutionResult, board: Leaderboard, decision: ChampionDecision | None
) -> None:
    """Check that the results are from this run's training set.

    There is one record of the training set, which every run of this home reads and replaces.
    """
    made = _materialized(result, "training_set")
    fingerprint = made.metadata["fingerprint"].value if made else None
    found = {board.training_set, *([decision.training_set] if decision else [])}
    if found != {fingerprint}:
        raise click.ClickException(
            f"run {result.run_id} chose the training set {fingerprint}, but the leaderboard or the "
            f"champion is of {', '.join(sorted(found - {fingerprint}))}: another run changed the "
            "training set meanwhile, so these are not this run's results. Run it again, alone"
        )


def _quiet_libraries() -> None:
    """Hide information messages of MLflow, Alembic and Optuna."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # read when MLflow is imported
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for library in ("mlflow", "alembic", "optuna"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # After Ctrl-C during the closing of a connection it is closed all the same, with a traceback.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
