"""The leaderboard: every model and baseline on the same test month, best first."""

from collections.abc import Iterable, Sequence

from ml_assets.evaluation.records import (
    DEFAULT_SHARE_STATED,
    DistanceError,
    IntervalRecord,
    MetricsRecord,
    ModelRecord,
    comparable_share,
)

MODES = {"stated": "with the metered distance", "usual": "without a distance"}
"""Words for the two modes of a request in an evaluation."""

Row = dict[str, str | int | float]
"""A row of a table: value by column."""


def leaderboard(
    rows: Iterable[ModelRecord], share_stated: float = DEFAULT_SHARE_STATED
) -> list[ModelRecord]:
    """Sort the rows by their error on requests of which a share states its distance, best first.

    If a row was not evaluated without a distance, all are sorted by the error with the metered one.

    Args:
        share_stated: Share of requests that state their distance, 0 to 1.
    """
    found = list(rows)
    share = comparable_share(found, share_stated)
    return sorted(found, key=lambda row: (row.request_rmse(share), row.model))


def leaderboard_table(rows: Iterable[ModelRecord]) -> list[Row]:
    """Tabulate the RMSE of each model and baseline in minutes, best first.

    ``test_rmse`` is with the metered distance, ``rmse_usual`` without a distance. Few columns, to
    fit an asset's page; :func:`figures_table`, :func:`coverage_table` and the others have
    the others.
    """
    return [
        {
            "test_rmse": round(row.test.rmse, 3),
            "rmse_usual": "" if row.usual_rmse is None else round(row.usual_rmse, 3),
            "model": row.model,
            "kind": row.kind,
        }
        for row in leaderboard(rows)
    ]


def figures_table(rows: Iterable[ModelRecord]) -> list[Row]:
    """Tabulate the other metrics with the metered distance; ``mape`` in percent."""
    return [
        {
            "model": row.model,
            "test_mae": round(row.test.mae, 3),
            "val_rmse": round(row.validation.rmse, 3),
            "mape": round(100 * row.test.mape, 1),
            "r2": round(row.test.r2, 3),
        }
        for row in leaderboard(rows)
    ]


def coverage_table(rows: Iterable[ModelRecord]) -> list[Row]:
    """Tabulate shares of the test trips in percent: off by 5 minutes or less, in the intervals.

    The columns that end with ``_usual`` are without a distance; the others with the metered one.
    """
    return [
        {
            "model": row.model,
            "in_5_min": round(100 * row.test.share_within_5_minutes, 1),
            "covered": _percent(row.interval),
            "covered_usual": _percent(row.usual_interval),
        }
        for row in leaderboard(rows)
    ]


def _percent(interval: IntervalRecord | None) -> str | float:
    """Return the coverage in percent; empty without intervals."""
    return "" if interval is None else round(100 * interval.coverage, 1)


def cost_table(rows: Iterable[ModelRecord]) -> list[Row]:
    """Tabulate the costs: seconds of the fit, stored size, trips predicted per second."""
    return [
        {
            "model": row.model,
            "fit_seconds": round(row.fit_seconds, 2),
            "size_kb": round(row.size_bytes / 1000),
            "trips_per_s": _rows_per_second(row),
        }
        for row in leaderboard(rows)
    ]


def rows_table(rows: Iterable[ModelRecord]) -> list[Row]:
    """Tabulate the trips that each model was fitted on, and how many there were."""
    return [
        {"model": row.model, "fitted_on": row.rows.fitted, "available": row.rows.available}
        for row in leaderboard(rows)
        if row.rows is not None
    ]


def slices_table(record: ModelRecord) -> list[Row]:
    """Tabulate the metrics of one model on all test trips and on each slice.

    ``rmse_usual`` is the RMSE without a distance; the others are with the metered distance.
    """
    parts = [("all trips", record.test), *((part.slice, part.metrics) for part in record.slices)]
    table: list[Row] = [
        {"slice": name, "trips": figures.rows, **_figures(figures)} for name, figures in parts
    ]
    if record.usual is not None:
        usual = {part.slice: part.metrics.rmse for part in record.usual.slices}
        usual["all trips"] = record.usual.test.rmse
        for line in table:
            rmse = usual.get(str(line["slice"]))
            line["rmse_usual"] = "" if rmse is None else round(rmse, 3)
    return table


def wrong_distance_table(errors: Sequence[DistanceError]) -> list[Row]:
    """Tabulate the RMSE in minutes by the distance that is stated, and its change in percent.

    Also the percentage of trips within the intervals, unless none was measured.
    """
    if not errors:
        return []
    metered = errors[0].rmse
    table: list[Row] = []
    for error in errors:
        change = round(100 * (error.rmse / metered - 1), 1) if metered > 0 else ""
        line: Row = {
            "distance": error.distance,
            "rmse": round(error.rmse, 3),
            "change_percent": change,
        }
        if any(each.coverage is not None for each in errors):
            covered = error.coverage
            line["covered_percent"] = "" if covered is None else round(100 * covered, 1)
        table.append(line)
    return table


def slices_side_by_side(rows: Iterable[ModelRecord]) -> list[Row]:
    """Tabulate the RMSE of every model by slice, best model first; empty where not measured."""
    ordered = [row for row in leaderboard(rows) if row.kind == "model"]
    if not ordered:
        return []
    table: list[Row] = []
    for part in ordered[0].slices:
        line: Row = {"slice": part.slice, "trips": part.metrics.rows}
        for row in ordered:
            rmse = next((p.metrics.rmse for p in row.slices if p.slice == part.slice), None)
            line[row.model] = "" if rmse is None else round(rmse, 3)
        table.append(line)
    return table


def best_by_slice(rows: Iterable[ModelRecord]) -> list[Row]:
    """Tabulate the RMSE of the best two models by slice."""
    best = [row for row in leaderboard(rows) if row.kind == "model"][:2]
    names = dict(zip(("best_rmse", "next_rmse"), (row.model for row in best), strict=False))
    return [
        {"slice": line["slice"], "trips": line["trips"]}
        | {column: line[model] for column, model in names.items()}
        for line in slices_side_by_side(best)
    ]


def as_markdown_table(rows: Sequence[Row]) -> str:
    """Format the rows as a Markdown table."""
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
    """Format the trips predicted per second; a dash when no time was measured."""
    return f"{row.test.rows / row.predict_seconds:,.0f}" if row.predict_seconds > 0 else "–"
