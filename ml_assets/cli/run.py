"""``ml-assets run``: ingest months, train and evaluate models, decide on the champion."""

import contextlib
import json
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from ml_assets.cli.console import stdout_redirected, unredirected_console
from ml_assets.cli.environment import executable, given_variables, next_command
from ml_assets.cli.leaderboard import print_leaderboard, summary
from ml_assets.cli.options import ModelsType, MonthsType, MonthType, RowLimitType
from ml_assets.cli.plan import RunPlan, format_plan, plan_run
from ml_assets.config.settings import Settings, read_settings
from ml_assets.secrets import without_credentials
from ml_assets.training.families import FAMILIES
from ml_assets.training.row_sample import DEFAULT_ROWS

if TYPE_CHECKING:
    from ml_assets.cli.execution import Outcome


@click.command()
@click.option("--first", type=MonthType(), required=True, help="First month to ingest.")
@click.option("--last", type=MonthType(), required=True, help="Last month: the test month.")
@click.option("--exclude", type=MonthsType(), default=(), help="Months in between to leave out.")
@click.option(
    "--models",
    type=ModelsType(),
    default=tuple(FAMILIES),
    show_default="all",
    help=f"Families to train: {', '.join(FAMILIES)}.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=0),
    default=5,
    help="Tuning trials per model; 0 uses the parameters of its last training, or the family's "
    "defaults when there was none.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**32 - 1),
    default=42,
    help="Seed of the tuning and of the models.",
)
@click.option(
    "--train-months",
    type=click.IntRange(min=1),
    show_default="all before the validation month, up to 12",
    help="Number of training months.",
)
@click.option(
    "--max-rows",
    type=RowLimitType(),
    default=DEFAULT_ROWS,
    show_default="each family's own number",
    help="Maximum rows that a model is fitted on, a sample beyond; all for no limit.",
)
@click.option(
    "--refit",
    is_flag=True,
    help="Promote a refit of the best model on all months, the test month included.",
)
@click.option("--ingest-only", is_flag=True, help="Ingest the months, and train nothing.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--verbose", is_flag=True, help="Show Dagster's and MLflow's own logs as well.")
def run(dry_run: bool, as_json: bool, verbose: bool, **options: Any) -> None:
    """Ingest the months, train and evaluate the models, decide on the champion.

    The newest month is for testing, the one before for validation, and those before for training.
    Months that the source has not published are skipped.
    """
    settings = read_settings()
    plan = RunPlan(**options)
    plan.require_possible(settings)
    if dry_run:
        ahead = plan_run(settings, plan)
        click.echo(json.dumps(ahead) if as_json else "\n".join(format_plan(ahead)))
        return
    with stdout_redirected() if as_json else contextlib.nullcontext():
        outcome = _execute(settings, plan, verbose)
    if outcome is not None:
        _show(outcome, settings, as_json)
    elif as_json:
        click.echo(json.dumps({"models": [], "champion": None, "registry_version": None}))


def _execute(settings: Settings, plan: RunPlan, verbose: bool) -> "Outcome | None":
    """Run the plan; returns the result of the training, or None without a training."""
    from ml_assets.cli.execution import Execution

    with unredirected_console() as console:
        execution = Execution(settings, console, verbose=verbose)
        if not plan.ingest_only:
            execution.require_no_active_run()  # before the months are ingested
            execution.warn_of_memory(plan)
        execution.ingest(plan)
        return None if plan.ingest_only else execution.train(plan)


def _show(outcome: "Outcome", settings: Settings, as_json: bool) -> None:
    """Print the leaderboard, also of a run that failed after it, followed by the failure.

    Raises:
        click.ClickException: with that failure.
    """
    out = Console(highlight=False)
    if as_json:
        click.echo(json.dumps(summary(outcome.leaderboard, outcome.decision)))
    else:
        print_leaderboard(out, outcome.leaderboard, outcome.decision)
    if outcome.failure is not None:
        raise click.ClickException(outcome.failure)
    if not as_json:
        _show_next(out, settings)


def _show_next(console: Console, settings: Settings) -> None:
    steps = {
        "its predictions, as a page and by POST /predict": next_command(settings, "serve"),
        "the same in Dagster's UI, with the history and Materialize all…": next_command(
            settings, "dev"
        ),
        "the published and the ingested months": next_command(settings, "months"),
    }
    if settings.synthetic:
        others = given_variables(settings, without=("ML_ASSETS_TRIPS",))
        steps["real trips, from the Taxi and Limousine Commission"] = (
            f"ML_ASSETS_TRIPS=tlc {others}{executable()} run --first 2023-01 --last 2023-06"
        )
    else:
        steps["the last leaderboard"] = next_command(settings, "leaderboard")
    lines = [
        "",
        f"Everything is stored in {without_credentials(settings.home)}: "
        "trips, records, MLflow (runs, registry), Dagster.",
        "What to do next:",
        *(f"  {what}:\n    {command}" for what, command in steps.items()),
    ]
    console.print("\n".join(lines), soft_wrap=True, markup=False)
