"""The leaderboard: every family and every baseline on the same judged month, best first."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

Row = dict[str, str | int | float]
"""A line of a table for people: column to what it shows."""

if TYPE_CHECKING:
    from ml_assets.modeling.evaluation import Metrics, SliceMetrics
    from ml_assets.modeling.records import MetricsRecord, ModelRecord, SliceRecord


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
    slices: "Iterable[SliceMetrics | SliceRecord]", overall: "Metrics | MetricsRecord | None" = None
) -> str:
    """The slices as a Markdown table in their order, under all trips where ``overall`` is given."""
    rows = [("**all trips**", overall)] if overall is not None else []
    rows += [(line.slice, line.metrics) for line in slices]
    return _markdown_table(
        "slice | trips | RMSE | MAE | MAPE | R² | within 5 min",
        [f"{name} | {metrics.rows:,} | {_metric_cells(metrics)}" for name, metrics in rows],
    )


def leaderboard_table(rows: "Iterable[ModelRecord]") -> list[Row]:
    """One row for each model and baseline, best first, with rounded figures for people.

    Errors are in minutes, ``mape`` and ``within_5_minutes`` in percent.
    """
    return [
        {
            "model": row.model,
            "kind": row.kind,
            "validation_rmse": round(row.validation.rmse, 3),
            **{f"test_{name}": value for name, value in _figures(row.test).items()},
            "fit_seconds": round(row.fit_seconds, 2),
            "predictions_per_second": _rows_per_second(row),
            "size_kb": round(row.size_bytes / 1000),
        }
        for row in leaderboard(rows)
    ]


def slices_table(record: "ModelRecord") -> list[Row]:
    """The figures of one model on all judged trips, then on each slice."""
    parts = [("all trips", record.test), *((part.slice, part.metrics) for part in record.slices)]
    return [{"slice": name, "trips": figures.rows, **_figures(figures)} for name, figures in parts]


def slices_side_by_side(rows: "Iterable[ModelRecord]") -> list[Row]:
    """RMSE of every model on every slice, best model first; a gap where it was not measured."""
    ordered = [row for row in leaderboard(rows) if row.kind == "model"]
    if not ordered:
        return []
    table: list[Row] = []
    for part in ordered[0].slices:
        line: Row = {"slice": part.slice, "trips": part.metrics.rows}
        for row in ordered:
            found = next((p.metrics.rmse for p in row.slices if p.slice == part.slice), None)
            line[row.model] = "" if found is None else round(found, 3)
        table.append(line)
    return table


def _figures(metrics: "MetricsRecord") -> Row:
    return {
        "rmse": round(metrics.rmse, 3),
        "mae": round(metrics.mae, 3),
        "mape": round(100 * metrics.mape, 1),
        "r2": round(metrics.r2, 3),
        "within_5_minutes": round(100 * metrics.share_within_5_minutes, 1),
    }


def _rows_per_second(row: "ModelRecord") -> str:
    """Trips predicted per second of wall time; a dash when the clock saw no time pass."""
    return f"{row.test.rows / row.predict_seconds:,.0f}" if row.predict_seconds > 0 else "–"


def _metric_cells(metrics: "Metrics | MetricsRecord") -> str:
    return (
        f"{metrics.rmse:.3f} | {metrics.mae:.3f} | {metrics.mape:.1%} | {metrics.r2:.3f} "
        f"| {metrics.share_within_5_minutes:.1%}"
    )


def _markdown_table(header: str, lines: Sequence[str]) -> str:
    columns = header.count("|") + 1
    # The first column names the row; the figures read best from the right.
    ruler = "|".join([" --- ", *[" ---: "] * (columns - 1)])
    return "\n".join([f"| {header} |", f"|{ruler}|", *[f"| {line} |" for line in lines]])
