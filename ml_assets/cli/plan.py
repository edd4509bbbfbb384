"""The plan of a run: checked before anything is fetched, and printed by ``--dry-run``."""

import contextlib
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Final

import click

from ml_assets.config.memory import available_memory
from ml_assets.config.settings import Settings
from ml_assets.evaluation.records import ModelRecord
from ml_assets.ingestion.open_source import open_source
from ml_assets.ingestion.source import near_miss_lines
from ml_assets.secrets import without_credentials
from ml_assets.storage.record_store import RecordStore, UnreadableRecord
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.families import family_named
from ml_assets.training.plan import DoesNotFit, TrainingPlan, plan_training
from ml_assets.training.row_sample import RowLimit
from ml_assets.training.windows import TrainingWindow, WindowError, choose_window, span
from ml_assets.trips.month import Month, latest_published_month, months_between, new_york_date

TYPICAL_ROWS: Final = {"green": 65_000, "yellow": 3_000_000, "sample": 9_500}
"""Kept trips of a month that is not stored yet."""


@dataclass(frozen=True)
class RunPlan:
    """The requested run.

    Attributes:
        trials: Tuning trials per model; 0 uses the last parameters, or the defaults.
        train_months: Number of training months; None for all available, up to 12.
        refit: Whether a promoted model is refitted on all months.
        max_rows: Maximum rows of a fit.
    """

    first: Month
    last: Month
    exclude: tuple[Month, ...]
    models: tuple[str, ...]
    trials: int
    seed: int
    train_months: int | None
    refit: bool
    ingest_only: bool
    max_rows: RowLimit = "default"

    @property
    def months(self) -> list[Month]:
        """The months to ingest and to train on, in order."""
        months = months_between(self.first, self.last)
        return [month for month in months if month not in self.exclude]

    @property
    def spans(self) -> list[tuple[Month, Month]]:
        """The same months as ranges without gaps: first and last month of each."""
        spans: list[tuple[Month, Month]] = []
        for month in self.months:
            if spans and spans[-1][1].shift(1) == month:
                spans[-1] = (spans[-1][0], month)
            else:
                spans.append((month, month))
        return spans

    def require_possible(self, settings: Settings) -> None:
        """Check what can be checked without the source.

        Raises:
            click.UsageError: naming the option, its value and what is allowed.
            MissingPackage: when a family needs a package that is not installed.
        """
        newest = latest_published_month(new_york_date())
        if self.last < self.first:
            raise click.UsageError(
                f"--last {self.last} is before --first {self.first}: give the earlier month first"
            )
        if self.first < settings.first_month:
            raise click.UsageError(
                f"--first {self.first} is before the first monthly partition: set "
                f"ML_ASSETS_FIRST_MONTH={self.first} (now {settings.first_month})"
            )
        if self.last > newest:
            raise click.UsageError(
                f"--last {self.last} is too late: the newest month that can be published is "
                f"{newest}"
            )
        if self.ingest_only:
            if not self.months:
                raise click.UsageError("--exclude leaves no month to ingest")
            return
        for name in self.models:
            family_named(name).require_installed()
        try:
            choose_window(self.months, self.train_months)
        except WindowError as error:
            options = f"--first {self.first} --last {self.last}"
            if self.train_months is not None:
                options += f" --train-months {self.train_months}"
            raise click.UsageError(
                f"{options}: {error}; --ingest-only has no such limit"
            ) from error


def require_any(settings: Settings, plan: RunPlan, available: Collection[Month]) -> None:
    """Check that the source has any of the months; if not, it is most likely the wrong one.

    Raises:
        click.ClickException: naming the source, the expected files, and what to check.
    """
    if not available:
        missed = "".join(f". {line}" for line in near_misses(settings, plan.months))
        source, files = without_credentials(settings.trips), f"{settings.taxi}_tripdata"
        raise click.ClickException(
            f"{source} has no {files}_YYYY-MM.parquet of {span(plan.months)}: check "
            f"ML_ASSETS_TRIPS, ML_ASSETS_TAXI ({settings.taxi}) and the months{missed}"
        )


def near_misses(settings: Settings, months: Collection[Month]) -> list[str]:
    """Return a line for each missing month with a similar file in the source.

    Raises:
        SourceUnavailable: when the source cannot be listed.
        InvalidSource: when there is no such source.
    """
    found = open_source(settings.trips, settings.taxi).near_misses(months)
    return near_miss_lines(found)


def plan_run(settings: Settings, plan: RunPlan) -> dict[str, Any]:
    """Return what the run would do with the months published and stored now.

    Raises:
        WindowError: when the available months do not make a training window.
    """
    published = open_source(settings.trips, settings.taxi).published(plan.months)
    store = TripStore(settings.home, settings.taxi, settings.synthetic)
    stored = [month for month in store.months("trip_features") if month in plan.months]
    available = sorted({*published, *stored})
    ahead: dict[str, Any] = {
        "dry_run": True,
        "source": without_credentials(settings.trips),
        "published": [str(month) for month in published],
        "not_published": [str(month) for month in plan.months if month not in published],
        "not_read": near_misses(settings, [m for m in plan.months if m not in available]),
        "stored": [str(month) for month in stored],
        "models": [] if plan.ingest_only else list(plan.models),
        "home": without_credentials(settings.home),
        "tracking": settings.shown_tracking_uri,
    }
    require_any(settings, plan, available)
    if plan.ingest_only:
        return ahead
    window = choose_window(available, plan.train_months)
    roles = {"train": window.train, "validation": window.validation, "test": window.test}
    ahead["window"] = {role: [str(month) for month in months] for role, months in roles.items()}
    ahead["caveat"] = window.caveat
    training = plan_of_window(settings, plan, window)
    memory = available_memory()
    ahead["training"] = {
        "lines": training.lines(memory),
        "families": [asdict(family) for family in training.families],
        "memory": training.memory,
        "available_memory": memory,
        "seconds": training.seconds,
        "estimated_months": [str(month) for month in _not_stored(store, window)],
    }
    try:
        training.require_memory(memory)
        ahead["refused"] = None
    except DoesNotFit as error:
        ahead["refused"] = str(error)
    ahead |= {"trials": plan.trials, "seed": plan.seed, "refit": plan.refit}
    return ahead


def plan_of_window(settings: Settings, plan: RunPlan, window: TrainingWindow) -> TrainingPlan:
    """Return what the training on a window will take.

    A month that is not stored yet counts with the mean of those that are, or with
    ``TYPICAL_ROWS``.
    """
    store = TripStore(settings.home, settings.taxi, settings.synthetic)
    stored = {*store.months("trip_features")}
    every = sorted({*window.train, *window.validation, *window.test})
    known = {m: store.lineage("trip_features", m)[1] for m in every if m in stored}
    typical = TYPICAL_ROWS["sample" if settings.synthetic else settings.taxi]
    mean = sum(known.values()) // len(known) if known else typical
    shared = window.validation == window.test  # then it is not fitted on
    rows = {
        "train": [known.get(month, mean) for month in window.train],
        "validation": [] if shared else [known.get(month, mean) for month in window.validation],
        "test": [known.get(month, mean) for month in window.test],
    }
    records = RecordStore(settings.home, store.dataset)
    last: dict[str, ModelRecord] = {}
    for name in plan.models:
        with contextlib.suppress(UnreadableRecord):  # it will be replaced
            found = records.find(f"{name}_model", ModelRecord)
            last |= {} if found is None else {name: found}
    return plan_training(
        plan.models, rows, plan.max_rows, last, side_by_side=settings.side_by_side == "on"
    )


def _not_stored(store: TripStore, window: TrainingWindow) -> list[Month]:
    stored = {*store.months("trip_features")}
    return sorted({*window.train, *window.validation, *window.test} - stored)


def format_plan(ahead: dict[str, Any]) -> list[str]:
    """Format the plan for printing, one line per item."""
    lines = [f"from {ahead['source']}: {_span(ahead['published'])}"]
    if ahead["not_published"]:
        lines.append(f"not published: {_span(ahead['not_published'])}")
    lines += ahead["not_read"]
    if ahead["stored"]:
        lines.append(f"stored already: {_span(ahead['stored'])}")
    if ahead["models"]:
        roles = " · ".join(f"{role} {_span(months)}" for role, months in ahead["window"].items())
        lines += [
            roles,
            f"models: {', '.join(ahead['models'])}",
            f"tuning trials per model: {ahead['trials']} · seed {ahead['seed']}"
            + (" · refit on all months" if ahead["refit"] else ""),
            *ahead["training"]["lines"],
        ]
        if estimated := ahead["training"]["estimated_months"]:
            lines.append(f"trips of {_span(estimated)} are estimated: not stored yet")
        if ahead["refused"]:
            lines.append(f"would be refused: {ahead['refused']}")
    if ahead.get("caveat"):
        lines.append(ahead["caveat"])
    return [*lines, f"stored in {ahead['home']}; tracked at {ahead['tracking']}"]


def _span(months: list[str]) -> str:
    return span([Month.parse(month) for month in months])
