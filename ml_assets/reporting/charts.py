"""Charts for asset metadata: PNG bytes, 800 pixels wide and some tens of kilobytes.

Every title names the months; for the embedded sample the subtitle is "synthetic sample".
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap

from ml_assets.evaluation.leaderboard import MODES, leaderboard
from ml_assets.evaluation.records import ModelRecord
from ml_assets.reporting.chart_style import (
    BLUE,
    DARK_BLUE,
    GREY,
    HIGHLIGHT,
    INK,
    PALE_BLUE,
    legend,
    new_figure,
    to_png,
)
from ml_assets.trips.month import Month
from ml_assets.trips.target import TARGET

MAX_DRAWN = float(TARGET.upper)
"""Upper end of duration axes: the longest kept trip."""

_FAINT = 0.45
"""Opacity of the bars without a distance."""


def leaderboard_bars(
    rows: Sequence[ModelRecord],
    months: Sequence[Month],
    *,
    best: str | None = None,
    synthetic: bool = False,
    caveat: str | None = None,
) -> bytes:
    """Draw the test RMSE of every row, best on top, baselines grey, the best model highlighted.

    The upper bar of a row is its RMSE with the metered distance, the lower, paler one without a
    distance; the order weighs both.

    Args:
        best: Name of the row to highlight, if any.
        synthetic: Whether the trips are of the embedded sample; adds the subtitle.
        caveat: Note to show with the figures, if any.
    """
    ordered = leaderboard(rows)[::-1]
    title = "RMSE on the test month"
    lines = len(ordered) + len(ordered) // 2  # room for two bars
    figure, (axes,) = new_figure(title, months, synthetic, lines=lines, caveat=caveat)
    colours = [
        HIGHLIGHT if row.model == best else GREY if row.kind == "baseline" else BLUE
        for row in ordered
    ]
    errors = {"stated": [row.test.rmse for row in ordered]}
    if any(row.usual_rmse is not None for row in ordered):
        errors["usual"] = [row.usual_rmse or 0.0 for row in ordered]
    places, height = np.arange(len(ordered)), 0.8 / len(errors)
    for number, (mode, values) in enumerate(errors.items()):
        above = height / 2 * (len(errors) - 1) - number * height
        bars = axes.barh(places + above, values, height, color=colours)
        texts = [f"{value:.2f}" if value else "" for value in values]
        numbers = axes.bar_label(bars, texts, label_type="center", color="white")
        for bar, label, colour in zip(bars, numbers, colours, strict=True):
            bar.set_alpha(1.0 if mode == "stated" else _FAINT)
            label.set_color(INK if colour == GREY or mode == "usual" else "white")
    axes.set_yticks(places, [row.model for row in ordered])
    axes.margins(x=0.1)
    meaning = (
        f"\nupper bar {MODES['stated']}, lower bar {MODES['usual']};\nordered by both"
        if "usual" in errors
        else ""
    )
    axes.set_xlabel(f"RMSE, {TARGET.unit} (lower is better){meaning}")
    labels = {"best model": HIGHLIGHT, "model": BLUE, "baseline": GREY}
    legend(figure, {name: colour for name, colour in labels.items() if colour in colours})
    return to_png(figure)


def predicted_versus_actual(
    actual: npt.ArrayLike,
    predicted: npt.ArrayLike,
    months: Sequence[Month],
    *,
    model: str,
    synthetic: bool = False,
    caveat: str | None = None,
) -> bytes:
    """Draw the density of trips by actual and predicted minutes, with the diagonal.

    Args:
        actual: Durations in minutes, shape (rows,).
        predicted: Predicted minutes, shape (rows,); clipped to 0 to 60.
    """
    end = MAX_DRAWN
    title = f"{model}: predicted versus actual"
    figure, (axes,) = new_figure(title, months, synthetic, height=5.6, caveat=caveat)
    density = axes.hexbin(
        np.clip(np.asarray(actual, dtype=float), 0, end),
        np.clip(np.asarray(predicted, dtype=float), 0, end),
        gridsize=48,
        extent=(0, end, 0, end),
        bins="log",
        mincnt=1,
        cmap=LinearSegmentedColormap.from_list("trips", [PALE_BLUE, DARK_BLUE]),
        linewidths=0.1,
    )
    axes.plot([0, end], [0, end], color=HIGHLIGHT, linewidth=1.5, label="predicted = actual")
    axes.set(xlim=(0, end), ylim=(0, end), aspect="equal")
    axes.set_xlabel(f"actual, {TARGET.unit}")
    axes.set_ylabel(f"predicted, {TARGET.unit}")
    legend(figure)
    figure.colorbar(density, ax=axes, label="trips in the cell")
    return to_png(figure)


def error_by_hour(
    pickup_hour: npt.ArrayLike,
    actual: npt.ArrayLike,
    predicted: npt.ArrayLike,
    months: Sequence[Month],
    *,
    model: str,
    synthetic: bool = False,
    caveat: str | None = None,
) -> bytes:
    """Draw mean absolute error and bias (mean of predicted - actual) by hour of the pick-up.

    Args:
        pickup_hour: 0 to 23, shape (rows,).
        actual: Durations in minutes, shape (rows,).
        predicted: Predicted minutes, shape (rows,).
    """
    hour = np.asarray(pickup_hour, dtype=np.int64)
    error = np.asarray(predicted, dtype=float) - np.asarray(actual, dtype=float)
    trips = np.bincount(hour, minlength=24)
    # An hour without trips has no error: NaN is not drawn, 0 would look like a perfect prediction.
    with np.errstate(invalid="ignore"):
        mean_absolute = np.bincount(hour, np.abs(error), minlength=24) / trips
        bias = np.bincount(hour, error, minlength=24) / trips
    title = f"{model}: error by hour of pick-up"
    figure, (axes,) = new_figure(title, months, synthetic, caveat=caveat)
    axes.bar(range(24), mean_absolute, color=BLUE, label="mean absolute error")
    axes.plot(range(24), bias, color=HIGHLIGHT, marker="o", markersize=4, label="bias")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xticks(range(0, 24, 2))
    axes.set_xlabel("hour of pick-up, New York time")
    axes.set_ylabel(TARGET.unit)
    legend(figure)
    return to_png(figure)


def feature_importance(
    importance: Mapping[str, float],
    months: Sequence[Month],
    *,
    model: str,
    unit: str = "importance",
    max_features: int = 20,
    synthetic: bool = False,
) -> bytes:
    """Draw the most important features, largest on top; negative values point left.

    Args:
        importance: Importance by feature name, in ``unit``.
        months: The training months.
    """
    strongest = sorted(importance.items(), key=lambda item: abs(item[1]))[-max_features:]
    omitted = len(importance) - len(strongest)
    title = f"{model}: feature importance"
    figure, (axes,) = new_figure(title, months, synthetic, lines=len(strongest))
    bars = axes.barh([name for name, _ in strongest], [value for _, value in strongest], color=BLUE)
    axes.bar_label(bars, fmt="%.3g", padding=4, color=INK)
    axes.margins(x=0.12)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel(f"{unit} ({omitted} less important features omitted)" if omitted else unit)
    return to_png(figure)


def tuning_history(
    trial_rmse: Sequence[float | None],
    months: Sequence[Month],
    *,
    model: str,
    synthetic: bool = False,
) -> bytes:
    """Draw the validation RMSE of each trial, and the best so far.

    Args:
        trial_rmse: Minutes, in the order of the trials; None for a pruned or failed one.
        months: The validation months.
    """
    rmse = np.array([np.nan if value is None else value for value in trial_rmse], dtype=float)
    number = np.arange(1, len(rmse) + 1)
    figure, (axes,) = new_figure(f"{model}: tuning, {len(rmse)} trials", months, synthetic)
    axes.plot(number, rmse, "o", color=BLUE, markersize=5, label="trial")
    best = np.fmin.accumulate(rmse)
    axes.step(number, best, where="post", color=HIGHLIGHT, label="best so far")
    failed = np.isnan(rmse)
    if failed.any():
        # At the lower edge, since these trials have no RMSE.
        axes.plot(
            number[failed], np.zeros(failed.sum()), "x", color=INK, markersize=5, clip_on=False,
            transform=axes.get_xaxis_transform(), label="pruned or failed",
        )  # fmt: skip
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("trial")
    axes.set_ylabel(f"RMSE on the validation month, {TARGET.unit}")
    legend(figure)
    return to_png(figure)


def rejected_by_reason(
    rejected: Mapping[str, int],
    published: int,
    months: Sequence[Month],
    *,
    synthetic: bool = False,
) -> bytes:
    """Draw the rejected rows by reason, with their share of the ``published`` rows in the files."""
    ordered = sorted(rejected.items(), key=lambda item: item[1])
    total = sum(rejected.values())
    share = total / published if published else 0.0
    title = f"{total:,} of {published:,} rows rejected ({share:.1%})"
    figure, (axes,) = new_figure(title, months, synthetic, lines=len(ordered))
    bars = axes.barh([reason for reason, _ in ordered], [rows for _, rows in ordered], color=BLUE)
    axes.bar_label(
        bars,
        [f"{rows:,} ({100 * rows / max(published, 1):.3g} %)" for _, rows in ordered],
        padding=4,
        color=INK,
    )
    axes.margins(x=0.18)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("rows")
    return to_png(figure)


def trips_of_month(
    pickups: npt.NDArray[np.datetime64], month: Month, *, synthetic: bool = False
) -> bytes:
    """Draw trips by day of a month (weekends highlighted) and by hour of the day.

    Args:
        pickups: Pick-up times, naive New York wall time, shape (rows,); times outside the month
            are ignored.
    """
    start, end = np.datetime64(month.start, "h"), np.datetime64(month.end, "h")
    hours = np.asarray(pickups).astype("datetime64[h]")
    since_start = (hours[(hours >= start) & (hours < end)] - start).astype(np.int64)
    days = np.arange(1, (end - start).astype(np.int64) // 24 + 1)
    per_day = np.bincount(since_start // 24, minlength=len(days))
    per_hour = np.bincount(since_start % 24, minlength=24)

    title = f"{len(since_start):,} trips"
    figure, (by_day, by_hour) = new_figure(title, [month], synthetic, height=5.6, panels=2)
    weekday = [(month.start.weekday() + int(day) - 1) % 7 for day in days]
    colours = [HIGHLIGHT if number >= 5 else BLUE for number in weekday]
    by_day.bar(days, per_day, color=colours)
    by_day.set_xticks(days[::2])
    by_day.set_xlabel("day of the month")
    by_day.set_ylabel("trips")
    legend(figure, {"week-end": HIGHLIGHT, "weekday": BLUE})
    by_hour.bar(range(24), per_hour, color=BLUE)
    by_hour.set_xticks(range(0, 24, 2))
    by_hour.set_xlabel("hour of pick-up, New York time")
    by_hour.set_ylabel("trips")
    return to_png(figure)
