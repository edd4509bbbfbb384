"""Chart and table of a backtest: error by test month."""

from typing import Any

from matplotlib.axes import Axes

from ml_assets.backtesting.records import CHAMPION, BacktestEntry, BacktestRecord
from ml_assets.evaluation.leaderboard import Row
from ml_assets.reporting.chart_style import GREY, HIGHLIGHT, INK, new_figure, to_png
from ml_assets.trips.month import Month
from ml_assets.trips.target import TARGET

FAMILY_STYLES = (
    ("#1f4fd8", "o"),
    ("#00a3a3", "s"),
    ("#1a8f1a", "^"),
    ("#8a2be2", "v"),
    ("#6b3e12", "D"),
    ("#e0b400", "P"),
    ("#111111", "x"),
    ("#d6308a", "*"),
)
"""Colour and marker of each family: lines of similar families run close together."""

DASHES = ("solid", "dashed", "dotted")
"""Line styles of the baselines, which share one colour."""

MAX_TICKS = 14


def backtest_lines(made: BacktestRecord) -> bytes:
    """Draw the error by test month: relative error of the models above, RMSE of all below.

    The champion is highlighted, with its mean ± noise as a band. Baselines are grey and only in the
    lower panel, since their errors are much higher. Months without a test leave a gap. The vertical
    axes do not start at 0.

    Returns:
        A PNG.
    """
    title = f"{made.dataset}: error by month, trained on the {made.train_months} months before"
    tested = made.months
    figure, axes = new_figure(title, tested, made.synthetic, height=7.6, panels=2)
    relative, minutes = axes
    of_models = [model for model in made.models if made.series(model)[0].kind != "baseline"]
    _draw(relative, made, of_models, "relative_error")
    _draw(minutes, made, made.models, "rmse")
    mean, noise = made.mean_relative_error, made.relative_error_noise
    if mean is not None and noise is not None:
        band: dict[str, Any] = {"color": HIGHLIGHT, "alpha": 0.2, "linewidth": 0}
        minutes.fill_between([], [], [], label="champion ± noise", **band)
        relative.axhspan(mean - noise, mean + noise, **band)
    relative.set_ylabel("RMSE / RMSE of\nthe month's mean")
    minutes.set_ylabel(f"RMSE, {TARGET.unit}")
    for panel in axes:
        _label_months(panel, tested)
    handles, labels = minutes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return to_png(figure)


def backtest_table(made: BacktestRecord) -> list[Row]:
    """Tabulate the RMSE of every model by month in minutes, and the champion's relative error.

    A cell is empty where a model was not tested.
    """
    rows: list[Row] = []
    for month in made.months:
        of_month = {e.model: e for e in made.entries if e.month == str(month)}
        row: Row = {"month": str(month)}
        for model in made.models:
            row[model] = round(of_month[model].rmse, 3) if model in of_month else ""
        champion = of_month.get(CHAMPION)
        if champion is not None:
            row["champion_relative_error"] = round(champion.relative_error, 3)
        row["trips"] = next(iter(of_month.values())).trips
        rows.append(row)
    return rows


def _draw(axes: Axes, made: BacktestRecord, models: list[str], figure: str) -> None:
    families, baselines = 0, 0
    for model in models:
        series = made.series(model)
        kind = series[0].kind
        style: dict[str, Any] = {"linewidth": 1.3, "markersize": 5}
        label = model
        if kind == "champion":
            style |= {"color": HIGHLIGHT, "linewidth": 2.6, "marker": "o", "zorder": 5}
            label = f"champion ({made.champion})"
        elif kind == "baseline":
            style |= {"color": GREY, "linestyle": DASHES[baselines % len(DASHES)]}
            baselines += 1
        else:
            colour, marker = FAMILY_STYLES[families % len(FAMILY_STYLES)]
            style |= {"color": colour, "marker": marker}
            families += 1
        months, values = _with_gaps(series, figure, made.months)
        axes.plot(months, values, label=label, **style)


def _with_gaps(
    series: list[BacktestEntry], figure: str, months: list[Month]
) -> tuple[list[int], list[float]]:
    """Return the positions of all calendar months and their values, NaN where there is none."""
    first = _position(months[0])
    values = {_position(Month.parse(entry.month)): getattr(entry, figure) for entry in series}
    positions = list(range(_position(months[-1]) - first + 1))
    return positions, [values.get(first + at, float("nan")) for at in positions]


def _label_months(axes: Axes, months: list[Month]) -> None:
    if not months:
        return
    count = _position(months[-1]) - _position(months[0]) + 1
    step = -(-count // MAX_TICKS)
    ticks = list(range(0, count, step))
    axes.set_xticks(ticks, [str(months[0].shift(at)) for at in ticks], rotation=30, ha="right")
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)


def _position(month: Month) -> int:
    return month.year * 12 + month.number
