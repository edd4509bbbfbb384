"""``ml-assets run``: ingest months, then train, judge and decide; with progress."""

import contextlib
import json
import os
import sys
from typing import Any

import click
from rich.console import Console

from ml_assets.cli.options import ModelsType, MonthsType, MonthType
from ml_assets.cli.plan import RunPlan, look_ahead, plan_lines
from ml_assets.cli.streams import standard_output_kept, unredirected_console
from ml_assets.modeling.families import FAMILIES
from ml_assets.settings import Settings, read_settings, without_credentials


@click.command()
@click.option("--first", type=MonthType(), required=True, help="First month to ingest.")
@click.option("--last", type=MonthType(), required=True, help="Last month; the newest judges.")
@click.option("--exclude", type=MonthsType(), default=(), help="Months in between to leave out.")
@click.option(
    "--models",
    type=ModelsType(),
    default=tuple(FAMILIES),
    show_default="all",
    help=f"Families to train: {', '.join(FAMILIES)}.",
)
@click.option("--trials", type=click.IntRange(min=0), help="Tuning trials a model; 0: defaults.")
@click.option("--train-months", type=click.IntRange(min=1), help="Months to train on, at most.")
@click.option("--ingest-only", is_flag=True, help="Ingest the months, and train nothing.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--verbose", is_flag=True, help="Show Dagster's and MLflow's own logs as well.")
def run(dry_run: bool, as_json: bool, verbose: bool, **asked: Any) -> None:
    """Ingest the months, train and judge the models, decide on the champion.

    The newest month judges, the one before tunes, those before train. Months that the source has
    not published are passed over.
    """
    settings = read_settings()
    plan = RunPlan(**asked)
    plan.require_possible(settings)
    if dry_run:
        ahead = look_ahead(settings, plan)
        click.echo(json.dumps(ahead) if as_json else "\n".join(plan_lines(ahead)))
        return
    with standard_output_kept() if as_json else contextlib.nullcontext():
        outcome = _execute(settings, plan, verbose)
    if outcome is None:
        if as_json:
            click.echo(json.dumps({"models": [], "champion": None, "registry_version": None}))
        return
    from ml_assets.cli.leaderboard import print_leaderboard, summary

    if as_json:
        click.echo(json.dumps(summary(*outcome)))
        return
    out = Console(highlight=False)
    print_leaderboard(out, *outcome)
    _show_next(out, settings)


def _execute(settings: Settings, plan: RunPlan, verbose: bool) -> Any:
    """Run the plan; the leaderboard and the decision, or None when nothing was to be trained."""
    from ml_assets.cli.execution import Execution

    with unredirected_console() as console:
        execution = Execution(settings, console, verbose=verbose)
        for first, last in plan.spans:
            execution.ingest(first, last)
        return None if plan.ingest_only else execution.train(plan)


def _show_next(console: Console, settings: Settings) -> None:
    tool = _as_typed(sys.argv[0])
    third = [f"  {tool + ' leaderboard':<30} the last leaderboard again"]
    if settings.synthetic:
        third = [
            f"  ML_ASSETS_TRIPS=tlc {tool} run --first 2023-01 --last 2023-06",
            "                                 real trips, from the Taxi and Limousine Commission",
        ]
    lines = [
        "",
        f"Everything is kept in {without_credentials(settings.home)}: "
        "trips, records, MLflow (runs, registry), Dagster.",
        "What to do next:",
        "  make dev                       the same in Dagster's UI: history, Materialize all…",
        f"  {tool + ' months':<30} what is published and what is ingested",
        *third,
    ]
    console.print("\n".join(lines), soft_wrap=True, markup=False)


def _as_typed(called: str) -> str:
    """How to call this command again: by its path from here, or by its name."""
    if not called.endswith(f"{os.sep}ml-assets"):
        return "ml-assets"
    from_here = os.path.relpath(called)
    return called if from_here.startswith(os.pardir) else from_here
