"""The leaderboard: every family and every baseline on the same judged month, best first."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

Row = dict[str, str | int | float]
"""A line of a table for people: column to what it shows."""

if TYPE_CHECKING:
    from ml_assets.modeling.records import MetricsRecord, ModelRecord


def leaderboard(rows: "Iterable[ModelRecord]") -> "list[ModelRecord]":
    """The rows, lowest RMSE on the judging month first; equal ones by name."""
    return sorted(rows, key=lambda row: (row.test.rmse, row.model))


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
