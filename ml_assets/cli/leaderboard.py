"""``ml-assets leaderboard``: print the last leaderboard."""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ml_assets.cli.console import print_table
from ml_assets.config.settings import read_settings
from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.records import IntervalRecord, Leaderboard, comparable_share
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.record_store import RecordStore
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.target import TARGET


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def leaderboard(as_json: bool) -> None:
    """Show the last leaderboard and the champion."""
    settings = read_settings()
    dataset = TripStore(settings.home, settings.taxi, settings.synthetic).dataset
    records = RecordStore(settings.home, dataset)
    board = records.read("model_leaderboard", Leaderboard)
    decision = DecisionLog(settings.home, dataset).newest()
    if as_json:
        click.echo(json.dumps(summary(board, decision)))
        return
    print_leaderboard(Console(), board, decision)


def summary(board: Leaderboard, decision: ChampionDecision | None) -> dict[str, Any]:
    """Return the object that ``--json`` prints."""

    def figures(kind: str) -> list[dict[str, object]]:
        return [
            {
                "model": row.model,
                "validation_rmse": row.validation.rmse,
                "test_rmse": row.test.rmse,
                "test_mae": row.test.mae,
                "fit_seconds": row.fit_seconds,
                "fitted_rows": row.rows and row.rows.fitted,
                "available_rows": row.rows and row.rows.available,
                "test_rmse_usual": row.usual_rmse,
                "interval_coverage": row.interval and row.interval.coverage,
                "interval_coverage_usual": row.usual_interval and row.usual_interval.coverage,
            }
            for row in board.rows
            if row.kind == kind
        ]

    return {
        "models": figures("model"),
        "baselines": figures("baseline"),
        "test_month": board.test_month,
        "synthetic": board.synthetic,
        "caveat": board.caveat,
        "champion": decision.champion if decision else None,
        "registry_version": decision.registry_version if decision else None,
        "promoted": decision.promoted if decision else None,
        "reason": decision.reason if decision else None,
    }


def print_leaderboard(
    console: Console, board: Leaderboard, decision: ChampionDecision | None
) -> None:
    """Print the leaderboard as a table; the champion is marked, baselines are dim."""
    trips = " · synthetic sample" if board.synthetic else ""
    table = Table(title=f"Leaderboard, test month {board.test_month}{trips}")
    table.add_column("model")
    for name in (
        "test RMSE",
        "without distance",
        "covered",
        "covered without",
        "valid. RMSE",
        "fit s",
    ):
        table.add_column(name, justify="right")
    # A champion that was kept is an earlier model, and not in this leaderboard.
    champion = decision.champion if decision is not None and decision.promoted else None
    for row in board.rows:
        is_champion = row.kind == "model" and row.model == champion
        table.add_row(
            f"{row.model}{' ♛' if is_champion else ''}",
            f"{row.test.rmse:.3f}",
            "–" if row.usual_rmse is None else f"{row.usual_rmse:.3f}",
            _share(row.interval),
            _share(row.usual_interval),
            f"{row.validation.rmse:.3f}",
            f"{row.fit_seconds:.2f}",
            style="dim" if row.kind == "baseline" else "bold" if is_champion else None,
        )
    print_table(console, table)
    share = comparable_share(board.rows)
    order = "" if share == 1 else f" Best first if {share:.0%} of requests state their distance."
    console.print(
        f"RMSE in {TARGET.unit}: with the metered distance, without a distance, and on the "
        f"validation month. Covered: test trips within the prediction intervals.{order}",
        style="dim",
        soft_wrap=True,
    )
    for row in board.rows:
        if row.kind == "model" and row.rows is not None and row.rows.fitted < row.rows.available:
            console.print(f"{row.model}: {row.rows.description}", soft_wrap=True, style="dim")
    if board.caveat:
        console.print(board.caveat, style="yellow", soft_wrap=True)
    if decision is not None and decision.champion is None:
        console.print(f"No champion: {decision.reason}", soft_wrap=True, markup=False)
    elif decision is not None:
        serves = f"{decision.champion}, version {decision.registry_version}"
        console.print(
            f"Champion: {serves} ({decision.outcome}): {decision.reason}",
            soft_wrap=True,
            markup=False,
        )


def _share(interval: IntervalRecord | None) -> str:
    return "–" if interval is None else f"{interval.coverage:.1%}"
