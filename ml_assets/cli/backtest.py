"""``ml-assets backtest``: every stored month judged by what the months before it taught."""

from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ml_assets.backtesting.records import CHAMPION, BacktestRecord
from ml_assets.backtesting.run import MAX_ROWS
from ml_assets.cli.options import ModelsType
from ml_assets.cli.streams import stdout_redirected, unredirected_console
from ml_assets.cli.tables import columns_that_fit, print_table
from ml_assets.config.settings import Settings, read_settings
from ml_assets.storage.record_store import RecordStore
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.families import FAMILIES


@click.command()
@click.option(
    "--train-months",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="So many months, just before the judged one, train.",
)
@click.option(
    "--families",
    type=ModelsType(),
    default=tuple(FAMILIES),
    show_default="all",
    help="Families beside the champion's parameters and the baselines.",
)
@click.option(
    "--most-rows",
    type=click.IntRange(min=100),
    default=MAX_ROWS,
    show_default=True,
    help="At most so many trips train and at most so many are judged: a fixed random sample.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    show_default="no limit",
    help="Begin no further month after so long; the newest come first, the next call goes on.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=42,
    show_default=True,
    help="Of the samples and of the models.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--verbose", is_flag=True, help="Show Dagster's and MLflow's own logs as well.")
def backtest(as_json: bool, verbose: bool, families: tuple[str, ...], **asked: Any) -> None:
    """Judge every stored month by what the months before it taught.

    The champion's parameters, every family and the baselines, without tuning: how far the error
    moves by itself, and how much better a challenger should be. Months, code and parameters that
    have not changed are not computed again.
    """
    settings = read_settings()
    config = {**asked, "families": list(families)}
    with stdout_redirected():
        from ml_assets.cli.execution import Execution

        with unredirected_console() as console:
            execution = Execution(settings, console, verbose=verbose)
            execution.run_step("run_backtest", "backtest", config)
    made = _last(settings)
    if as_json:
        import json

        click.echo(json.dumps(summary(made)))
    else:
        print_backtest(Console(highlight=False), made)


def summary(made: BacktestRecord) -> dict[str, object]:
    """The machine-readable form that ``--json`` prints."""
    won, months = made.months_won
    return {
        **made.model_dump(),
        "months_judged": months,
        "months_better_than_baselines": won,
        "usual_relative_error": made.usual_relative_error,
        "relative_error_noise": made.relative_error_noise,
        "rmse_noise": made.rmse_noise,
        "suggested_min_improvement": made.suggested_min_improvement,
        "summary": made.summary,
    }


def print_backtest(console: Console, made: BacktestRecord) -> None:
    """Print a line a month and a column a model: RMSE in minutes; the best of a month in bold."""
    names = {model: f"{model} ({made.champion})" if model == CHAMPION else model
             for model in made.models}  # fmt: skip
    longest = max((len(name) for name in names.values()), default=0)
    months = [str(month) for month in made.months]
    at_once = columns_that_fit(console, longest, len("2023-01"))
    # What does not fit in one table comes in several, the newest months last.
    for start in range(0, len(months), at_once):
        print_table(console, _table(made, names, months[start : start + at_once]))
    trips = " · synthetic sample" if made.synthetic else ""
    console.print(
        f"Errors in minutes{trips}; trained on the {made.train_months} months before, at most "
        f"{made.most_rows:,} trips.",
        style="dim",
        soft_wrap=True,
    )
    console.print(made.summary, soft_wrap=True, markup=False)


def _table(made: BacktestRecord, names: dict[str, str], months: list[str]) -> Table:
    table = Table(title=f"Backtest of {made.dataset}, RMSE by judged month")
    table.add_column("model")
    for month in months:
        table.add_column(month, justify="right")
    best = {month: min(e.rmse for e in made.entries if e.month == month) for month in months}
    for model, name in names.items():
        line = {entry.month: entry for entry in made.line(model)}
        cells = [_cell(line[month].rmse, best[month]) if month in line else "" for month in months]
        kind = next(iter(line.values())).kind
        table.add_row(name, *cells, style="dim" if kind == "baseline" else "")
    return table


def _cell(rmse: float, best: float) -> str:
    return f"[bold]{rmse:.3f}[/bold]" if rmse <= best else f"{rmse:.3f}"


def _last(settings: Settings) -> BacktestRecord:
    dataset = TripStore(settings.home, settings.taxi, settings.synthetic).dataset
    return RecordStore(settings.home, dataset).read("backtest", BacktestRecord)
