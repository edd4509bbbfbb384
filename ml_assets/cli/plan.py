"""What a run is going to do: checked before anything is fetched, and shown by ``--dry-run``."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import click

from ml_assets.config.settings import Settings
from ml_assets.ingestion import latest_published_month, open_source
from ml_assets.ingestion.source import near_miss_lines
from ml_assets.secrets import without_credentials
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.windows import WindowError, choose_window, span
from ml_assets.trips.calendar import new_york_date
from ml_assets.trips.month import Month, months_between

SERVED = ("judged", "refitted_on_all_months")


@dataclass(frozen=True)
class RunPlan:
    """What was asked for.

    Attributes:
        first: First month.
        last: Last month.
        exclude: Months in between to leave alone.
        models: Families to train.
        trials: Tuning trials a model; 0 takes the last parameters, or the defaults.
        seed: Of the tuning and of the models.
        train_months: So many months train; None takes all that are there, up to 12.
        serve: What a new champion serves, one of ``SERVED``.
        ingest_only: Whether to stop before training.
    """

    first: Month
    last: Month
    exclude: tuple[Month, ...]
    models: tuple[str, ...]
    trials: int
    seed: int
    train_months: int | None
    serve: str
    ingest_only: bool

    @property
    def months(self) -> list[Month]:
        """The months to ingest and to train on, in order."""
        asked = months_between(self.first, self.last)
        return [month for month in asked if month not in self.exclude]

    @property
    def spans(self) -> list[tuple[Month, Month]]:
        """The same months as ranges without a gap: first and last of each."""
        spans: list[tuple[Month, Month]] = []
        for month in self.months:
            if spans and spans[-1][1].shift(1) == month:
                spans[-1] = (spans[-1][0], month)
            else:
                spans.append((month, month))
        return spans

    def require_possible(self, settings: Settings) -> None:
        """Refuse what cannot end well whatever is published.

        Raises:
            click.UsageError: naming the option, its value and what is allowed.
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
                f"--last {self.last} is too late: the newest month that can be out is {newest}"
            )
        if self.ingest_only:
            if not self.months:
                raise click.UsageError("--exclude leaves no month to ingest")
            return
        try:
            choose_window(self.months, self.train_months)
        except WindowError as error:
            asked = f"--first {self.first} --last {self.last}"
            if self.train_months is not None:
                asked += f" --train-months {self.train_months}"
            raise click.UsageError(f"{asked}: {error}; --ingest-only takes any") from error


def require_any(settings: Settings, plan: RunPlan, available: Collection[Month]) -> None:
    """Tell of a source that has none of the months, which is most often another one than meant.

    Raises:
        click.ClickException: naming the source, the files that it should hold, and what to check.
    """
    if not available:
        missed = "".join(f". {line}" for line in near_misses(settings, plan.months))
        source, files = without_credentials(settings.trips), f"{settings.taxi}_tripdata"
        raise click.ClickException(
            f"{source} has no {files}_YYYY-MM.parquet of {span(plan.months)}: check "
            f"ML_ASSETS_TRIPS, ML_ASSETS_TAXI ({settings.taxi}) and the months{missed}"
        )


def near_misses(settings: Settings, months: Collection[Month]) -> list[str]:
    """A line for each of these months that the source has in a form that is not read.

    Raises:
        SourceUnavailable: when the source cannot be asked.
        InvalidSource: when there is no such source.
    """
    found = open_source(settings.trips, settings.taxi).near_misses(months)
    return near_miss_lines(found)


def plan_run(settings: Settings, plan: RunPlan) -> dict[str, Any]:
    """What the plan comes to with what is published and stored now; changes nothing.

    Raises:
        click.ClickException: when the months that are there make no training window.
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
    try:
        window = choose_window(available, plan.train_months)
    except WindowError as error:
        raise click.ClickException(str(error)) from error
    roles = {"train": window.train, "tune": window.tune, "judge": window.judge}
    ahead["window"] = {role: [str(month) for month in months] for role, months in roles.items()}
    ahead["caveat"] = window.caveat
    ahead |= {"trials": plan.trials, "seed": plan.seed, "serve": plan.serve}
    return ahead


def format_plan(ahead: dict[str, Any]) -> list[str]:
    """The look ahead for people, a line a thing."""
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
            f"tuning trials a model: {ahead['trials']} · seed {ahead['seed']} · "
            f"serve {ahead['serve']}",
        ]
    if ahead.get("caveat"):
        lines.append(ahead["caveat"])
    return [*lines, f"kept in {ahead['home']}; tracked at {ahead['tracking']}"]


def _span(months: list[str]) -> str:
    return span([Month.parse(month) for month in months])
