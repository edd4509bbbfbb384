"""The plan of a run: checked before anything is fetched, and printed by ``--dry-run``."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import click

from ml_assets.config.settings import Settings
from ml_assets.ingestion.open_source import open_source
from ml_assets.ingestion.source import near_miss_lines
from ml_assets.secrets import without_credentials
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.families import family_named
from ml_assets.training.windows import WindowError, choose_window, span
from ml_assets.trips.month import Month, latest_published_month, months_between, new_york_date


@dataclass(frozen=True)
class RunPlan:
    """The requested run.

    Attributes:
        trials: Tuning trials per model; 0 uses the last parameters, or the defaults.
        train_months: Number of training months; None for all available, up to 12.
        refit: Whether a promoted model is refitted on all months.
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
    ahead |= {"trials": plan.trials, "seed": plan.seed, "refit": plan.refit}
    return ahead


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
        ]
    if ahead.get("caveat"):
        lines.append(ahead["caveat"])
    return [*lines, f"stored in {ahead['home']}; tracked at {ahead['tracking']}"]


def _span(months: list[str]) -> str:
    return span([Month.parse(month) for month in months])
