"""The leaderboard: every family and every baseline on the same judged month, best first."""

from collections.abc import Iterable, Sequence

from ml_assets.evaluation.records import MetricsRecord, ModelRecord

Row = dict[str, str | int | float]
"""A line of a table for people: column to what it shows."""


def leaderboard(rows: Iterable[ModelRecord]) -> list[ModelRecord]:
    """The rows, lowest RMSE on the judging month first; equal ones by name."""
    return sorted(rows, key=lambda row: (row.test.rmse, row.model))


def leaderboard_table(rows: Iterable[ModelRecord]) -> list[Row]:
    """Who is ahead: a row for each model and baseline, best first. Errors are in minutes.

    Few columns, so that an asset's page shows them all; :func:`figures_table` and
    :func:`cost_table` have the others.
    """
    return [
        {
            "test_rmse": round(row.test.rmse, 3),
            "model": row.model,
            "kind": row.kind,
            "test_mae": round(row.test.mae, 3),
        }
        for row in leaderboard(rows)
    ]


def figures_table(rows: Iterable[ModelRecord]) -> list[Row]:
    """The other figures of the same rows: ``mape`` and ``in_5_min`` in percent."""
    return [
        {
            "model": row.model,
            "val_rmse": round(row.validation.rmse, 3),
            "mape": round(100 * row.test.mape, 1),
            "r2": round(row.test.r2, 3),
            "in_5_min": round(100 * row.test.share_within_5_minutes, 1),
        }
        for row in leaderboard(rows)
    ]


def cost_table(rows: Iterable[ModelRecord]) -> list[Row]:
    """What the same rows cost: seconds to fit, size as stored, trips predicted per second."""
    return [
        {
            "model": row.model,
            "fit_seconds": round(row.fit_seconds, 2),
            "size_kb": round(row.size_bytes / 1000),
            "trips_per_s": _rows_per_second(row),
        }
        for row in leaderboard(rows)
    ]


def slices_table(record: ModelRecord) -> list[Row]:
    """The figures of one model on all judged trips, then on each slice."""
    parts = [("all trips", record.test), *((part.slice, part.metrics) for part in record.slices)]
    return [{"slice": name, "trips": figures.rows, **_figures(figures)} for name, figures in parts]


def slices_side_by_side(rows: Iterable[ModelRecord]) -> list[Row]:
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


def best_by_slice(rows: Iterable[ModelRecord]) -> list[Row]:
    """RMSE of the best model and of the next on every slice."""
    ahead = [row for row in leaderboard(rows) if row.kind == "model"][:2]
    names = dict(zip(("best_rmse", "next_rmse"), (row.model for row in ahead), strict=False))
    return [
        {"slice": line["slice"], "trips": line["trips"]}
        | {column: line[model] for column, model in names.items()}
        for line in slices_side_by_side(ahead)
    ]


def as_markdown_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, for what is too wide to stand on a page."""
    if not rows:
        return ""
    lines = [[*rows[0]], ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _figures(metrics: MetricsRecord) -> Row:
    return {
        "rmse": round(metrics.rmse, 3),
        "mae": round(metrics.mae, 3),
        "mape": round(100 * metrics.mape, 1),
        "r2": round(metrics.r2, 3),
        "within_5_minutes": round(100 * metrics.share_within_5_minutes, 1),
    }


def _rows_per_second(row: ModelRecord) -> str:
    """Trips predicted per second of wall time; a dash when the clock saw no time pass."""
    return f"{row.test.rows / row.predict_seconds:,.0f}" if row.predict_seconds > 0 else "–"
