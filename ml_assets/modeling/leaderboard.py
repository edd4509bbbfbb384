"""The leaderboard: every family and every baseline on the same judged month, best first."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ml_assets.modeling.evaluation import Figures, SliceMetrics
    from ml_assets.modeling.records import ModelRecord, SliceRecord


def leaderboard(rows: "Iterable[ModelRecord]") -> "list[ModelRecord]":
    """The rows, lowest RMSE on the judging month first; equal ones by name."""
    return sorted(rows, key=lambda row: (row.test.rmse, row.model))


def leaderboard_markdown(rows: "Iterable[ModelRecord]") -> str:
    """The leaderboard as a Markdown table, best first, baselines in italics."""
    header = (
        "model | validation RMSE | test RMSE | test MAE | MAPE | R² | within 5 min "
        "| fit s | predict rows/s | size kB"
    )
    lines = [
        (f"*{row.model}*" if row.kind == "baseline" else f"**{row.model}**")
        + f" | {row.validation.rmse:.3f} | {_metric_cells(row.test)} | {row.fit_seconds:.2f} "
        f"| {_rows_per_second(row)} | {row.size_bytes / 1000:,.0f}"
        for row in leaderboard(rows)
    ]
    return _markdown_table(header, lines)


def slices_markdown(
    slices: "Iterable[SliceMetrics | SliceRecord]", overall: "Figures | None" = None
) -> str:
    """The slices as a Markdown table in their order, under all trips where ``overall`` is given."""
    rows = [("**all trips**", overall)] if overall is not None else []
    rows += [(line.slice, line.metrics) for line in slices]
    return _markdown_table(
        "slice | trips | RMSE | MAE | MAPE | R² | within 5 min",
        [f"{name} | {metrics.rows:,} | {_metric_cells(metrics)}" for name, metrics in rows],
    )


def _rows_per_second(row: "ModelRecord") -> str:
    """Trips predicted per second of wall time; a dash when the clock saw no time pass."""
    return f"{row.test.rows / row.predict_seconds:,.0f}" if row.predict_seconds > 0 else "–"


def _metric_cells(metrics: "Figures") -> str:
    return (
        f"{metrics.rmse:.3f} | {metrics.mae:.3f} | {metrics.mape:.1%} | {metrics.r2:.3f} "
        f"| {metrics.share_within_5_minutes:.1%}"
    )


def _markdown_table(header: str, lines: Sequence[str]) -> str:
    columns = header.count("|") + 1
    # The first column names the row; the figures read best from the right.
    ruler = "|".join([" --- ", *[" ---: "] * (columns - 1)])
    return "\n".join([f"| {header} |", f"|{ruler}|", *[f"| {line} |" for line in lines]])
