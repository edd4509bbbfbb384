"""``ml-assets run``: ingest months, then train, judge and decide; with progress."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from ml_assets.modeling.families import FAMILIES
from ml_assets.settings import Settings, read_settings
from ml_assets.trips.month import Month

if TYPE_CHECKING:
    pass


class MonthType(click.ParamType):
    """A month written YYYY-MM."""

    name = "YYYY-MM"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Month:
        """Read it, or fail with an example."""
        try:
            return value if isinstance(value, Month) else Month.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ModelsType(click.ParamType):
    """Family names, separated by commas."""

    name = "NAME[,NAME…]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Read them, or fail naming the unknown ones and all that there are."""
        names = value if isinstance(value, tuple) else tuple(filter(None, value.split(",")))
        unknown = [name for name in names if name not in FAMILIES]
        if unknown or not names:
            self.fail(
                f"no model family is called {', '.join(unknown) or 'nothing'}: choose from "
                f"{', '.join(FAMILIES)}",
                param,
                ctx,
            )
        return names


@click.command()
@click.option("--first", type=MonthType(), required=True, help="First month to ingest.")
@click.option("--last", type=MonthType(), required=True, help="Last month; the newest judges.")
@click.option(
    "--models",
    type=ModelsType(),
    default=tuple(FAMILIES),
    show_default="all",
    help=f"Families to train: {', '.join(FAMILIES)}.",
)
@click.option("--trials", type=click.IntRange(min=0), help="Tuning trials a model; 0: defaults.")
@click.option("--train-months", type=click.IntRange(min=1), help="Months to train on, at most.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--verbose", is_flag=True, help="Show Dagster's own log as well.")
def run(
    first: Month,
    last: Month,
    models: tuple[str, ...],
    trials: int | None,
    train_months: int | None,
    dry_run: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Ingest the months, train and judge the models, decide on the champion.

    The newest month judges, the one before tunes, those before train. Months that the source has
    not published are passed over.
    """
    settings = read_settings()
    _check_months(settings, first, last)
    console = Console(stderr=True, highlight=False)
    if dry_run:
        _show_plan(console, settings, first, last, models, train_months)
        return
    with _standard_output_kept() if as_json else contextlib.nullcontext():
        from ml_assets.cli.execution import Execution

        execution = Execution(settings, console, verbose=verbose)
        execution.ingest(first, last)
        board, decision = execution.train(first, last, models, trials, train_months)
    from ml_assets.cli.leaderboard import print_leaderboard, summary

    if as_json:
        click.echo(json.dumps(summary(board, decision)))
        return
    out = Console(highlight=False)
    print_leaderboard(out, board, decision)
    _show_next(out, settings)


def _check_months(settings: Settings, first: Month, last: Month) -> None:
    from datetime import date

    from ml_assets.sources.calendar import latest_published_month

    newest = latest_published_month(date.today())
    if last < first:
        raise click.BadParameter(f"--last {last} is before --first {first}")
    if first < settings.first_month:
        raise click.BadParameter(
            f"--first {first} is before the first monthly partition: set "
            f"ML_ASSETS_FIRST_MONTH={first} (now {settings.first_month})"
        )
    if last > newest:
        raise click.BadParameter(f"--last {last}: the newest month that can be out is {newest}")


def _show_plan(
    console: Console,
    settings: Settings,
    first: Month,
    last: Month,
    models: tuple[str, ...],
    train_months: int | None,
) -> None:
    from ml_assets.sources import open_source
    from ml_assets.trips.month import months_between
    from ml_assets.trips.windows import WindowError, choose_window, span

    months = list(months_between(first, last))
    published = open_source(settings.trips, settings.taxi).published(months)
    absent = [month for month in months if month not in published]
    console.print(f"from {settings.trips}: {span(list(published))}")
    if absent:
        console.print(f"not published: {span(absent)}")
    try:
        console.print(choose_window(list(published), train_months).describe())
    except WindowError as error:
        raise click.ClickException(str(error)) from error
    console.print(f"models: {', '.join(models)}")
    console.print(f"kept in {settings.home}; tracked at {settings.tracking_uri}")


def _show_next(console: Console, settings: Settings) -> None:
    called = sys.argv[0]
    tool = os.path.relpath(called) if called.endswith(f"{os.sep}ml-assets") else "ml-assets"
    console.print(
        f"""
Everything is kept in {settings.home}: trips, records, MLflow (runs, registry), Dagster.
What to do next:
  make dev                       the same in Dagster's UI: history, charts, Materialize all…
  {tool} months     what is published and what is ingested
  ML_ASSETS_TRIPS=tlc {tool} run --first 2023-01 --last 2023-06
                                 real trips, from the Taxi and Limousine Commission""",
        soft_wrap=True,
    )


@contextlib.contextmanager
def _standard_output_kept() -> Iterator[None]:
    """Send whatever writes to standard output meanwhile to standard error, C libraries included."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
