"""``ml-assets backtest``: test every stored month with models trained on the months before it."""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ml_assets.backtesting.records import CHAMPION, MAX_ROWS, BacktestEntry, BacktestRecord
from ml_assets.cli.console import (
    columns_that_fit,
    print_table,
    stdout_redirected,
    unredirected_console,
)
from ml_assets.cli.options import ModelsType
from ml_assets.config.settings import Settings, read_settings
from ml_assets.storage.record_store import RecordStore
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.families import FAMILIES
from ml_assets.trips.target import TARGET


@click.command()
@click.option(
    "--train-months",
    type=click.IntRange(min=1),
    default=3,
    help="Number of training months, just before the test month.",
)
@click.option(
    "--families",
    type=ModelsType(),
    default=tuple(FAMILIES),
    show_default="all",
    help="Families, besides the champion's parameters and the baselines.",
)
@click.option(
    "--max-rows",
    type=click.IntRange(min=100),
    default=MAX_ROWS,
    help="Maximum number of training and of test trips: a fixed random sample.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    show_default="no limit",
    help="Start no further month after this time; the newest come first, the next call continues.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=42,
    help="Seed of the samples and the models.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--verbose", is_flag=True, help="Show Dagster's and MLflow's own logs as well.")
def backtest(as_json: bool, verbose: bool, families: tuple[str, ...], **options: Any) -> None:
    """Test every stored month with models trained on the months before it.

    Runs the champion's parameters, every family and the baselines, without tuning. Shows how much
    the error varies between months, and how much better a challenger should be. Unchanged months,
    code and parameters are not computed again.
    """
    settings = read_settings()
    config = {**options, "families": list(families)}
    with stdout_redirected():
        from ml_assets.cli.execution import Execution

        with unredirected_console() as console:
            execution = Execution(settings, console, verbose=verbose)
            execution.run_step("run_backtest", "backtest", config)
    record = _last(settings)
    if as_json:
        click.echo(json.dumps(summary(record)))
    else:
        print_backtest(Console(highlight=False), record)


def summary(record: BacktestRecord) -> dict[str, object]:
    """Return the object that ``--json`` prints."""
    won, months = record.months_won
    return {
        **record.model_dump(),
        "evaluated_months": months,
        "months_better_than_baselines": won,
        "mean_relative_error": record.mean_relative_error,
        "relative_error_noise": record.relative_error_noise,
        "rmse_noise": record.rmse_noise,
        "suggested_min_improvement": record.suggested_min_improvement,
        "summary": record.summary,
    }


def print_backtest(console: Console, record: BacktestRecord) -> None:
    """Print the RMSE in both modes by model and month, the best of each month in bold."""
    names = {model: f"{model} ({record.champion})" if model == CHAMPION else model
             for model in record.models}  # fmt: skip
    longest = max((len(name) for name in names.values()), default=0)
    months = [str(month) for month in record.months]
    widest = max((len(_cell(entry, {})) for entry in record.entries), default=0)
    at_once = columns_that_fit(console, longest, max(widest, len("2023-01")))
    # Months that do not fit in one table are printed in several, the newest last.
    for start in range(0, len(months), at_once):
        print_table(console, _table(record, names, months[start : start + at_once]))
    trips = " · synthetic sample" if record.synthetic else ""
    modes = "with the metered distance"
    if any(entry.rmse_usual is not None for entry in record.entries):
        modes += " / without a distance"
    console.print(
        f"RMSE in {TARGET.unit}, {modes}{trips}; trained on the {record.train_months} months "
        f"before, at most {record.max_rows:,} trips.",
        style="dim",
        soft_wrap=True,
    )
    console.print(record.summary, soft_wrap=True, markup=False)


def _table(record: BacktestRecord, names: dict[str, str], months: list[str]) -> Table:
    table = Table(title=f"Backtest of {record.dataset}, RMSE by test month")
    table.add_column("model")
    for month in months:
        table.add_column(month, justify="right")
    best: dict[str, float] = {}
    for entry in record.entries:
        for mode, rmse in _errors(entry).items():
            key = f"{entry.month} {mode}"
            best[key] = min(rmse, best.get(key, rmse))
    for model, name in names.items():
        line = {entry.month: entry for entry in record.series(model)}
        cells = [_cell(line[month], best) if month in line else "" for month in months]
        kind = next(iter(line.values())).kind
        table.add_row(name, *cells, style="dim" if kind == "baseline" else "")
    return table


def _errors(entry: BacktestEntry) -> dict[str, float]:
    """Return the RMSE by mode, minutes; old records have only that with the metered distance."""
    usual = {} if entry.rmse_usual is None else {"usual": entry.rmse_usual}
    return {"stated": entry.rmse} | usual


def _cell(entry: BacktestEntry, best: dict[str, float]) -> str:
    """Return the errors in both modes, those in bold that are the best of their month and mode."""
    return " / ".join(
        f"[bold]{rmse:.3f}[/bold]"
        if rmse <= best.get(f"{entry.month} {mode}", -1)
        else f"{rmse:.3f}"
        for mode, rmse in _errors(entry).items()
    )


def _last(settings: Settings) -> BacktestRecord:
    dataset = TripStore(settings.home, settings.taxi, settings.synthetic).dataset
    return RecordStore(settings.home, dataset).read("backtest", BacktestRecord)
