"""Charts over time: drift, error and backtest by month, and the request log by day."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from matplotlib.axes import Axes

from ml_assets.backtesting.records import CHAMPION, BacktestEntry, BacktestRecord
from ml_assets.evaluation.leaderboard import MODES, Row
from ml_assets.monitoring.drift.histograms import FEATURES
from ml_assets.monitoring.drift.records import DriftRecord
from ml_assets.monitoring.online.records import OnlineDay, OnlineRecord
from ml_assets.monitoring.performance.records import PerformanceRecord, scored_months
from ml_assets.reporting.chart_style import BLUE, GREY, HIGHLIGHT, INK, legend, new_figure, to_png
from ml_assets.trips.month import Month
from ml_assets.trips.target import TARGET

_STYLES = (
    ("#1f4fd8", "o"),
    ("#00a3a3", "s"),
    ("#1a8f1a", "^"),
    ("#8a2be2", "v"),
    ("#6b3e12", "D"),
    ("#111111", "x"),
)
"""Colour and marker of each feature, since most lines run close to 0."""

_INDEX_TICKS = (0, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20)
_MAX_LINEAR = 1.0
_MAX_TICKS = 14
_GAP = float("nan")


def drift_lines(record: DriftRecord) -> bytes | None:
    """Draw the stability index of each feature by month, with the limit.

    The champion's training months are shaded. Months without a measurement leave a gap. The axis is
    logarithmic above 0.1 when a feature is far over the limit.

    Returns:
        A PNG; None without a month.
    """
    entries = record.months
    if not entries:
        return None
    months = [Month.parse(entry.month) for entry in entries]
    title = f"{record.dataset}: drift from the training months of version {record.version}"
    figure, (axes,) = new_figure(title, months, record.synthetic, height=5.2)
    for feature, (colour, marker) in zip(FEATURES, _STYLES, strict=True):
        values = {Month.parse(e.month): e.psi.get(feature.name, _GAP) for e in entries}
        positions, heights = _with_gaps(values, months)
        style: dict[str, Any] = {"color": colour, "marker": marker, "label": feature.name}
        axes.plot(positions, heights, markersize=5, linewidth=1.3, **style)
    _shade(axes, [_at(Month.parse(e.month), months) for e in entries if e.in_reference])
    axes.axhline(record.limit, color=HIGHLIGHT, linestyle="dashed", label="limit")
    _scale_index(axes, max(1.2 * record.limit, *(1.15 * entry.worst[1] for entry in entries)))
    axes.set_ylabel("population stability index")
    _label_months(axes, months)
    axes.set_xlim(-0.5, _at(months[-1], months) + 0.5)
    legend(figure)
    return to_png(figure)


def error_lines(record: PerformanceRecord) -> bytes | None:
    """Draw the relative error of each champion by month, with the limit.

    Hollow points are months that the champion had seen. Errors with and without a distance are
    weighted as for the limit; the current champion has a second line, its error without a distance.
    The axis does not start at 0.

    Returns:
        A PNG; None without a score.
    """
    if not record.scores:
        return None
    months = scored_months(record.scores)
    title = f"{record.dataset}: error of each champion, relative to the month's mean"
    figure, (axes,) = new_figure(title, months, record.synthetic, height=4.8)
    champions = list(dict.fromkeys(score.champion for score in record.scores))
    champions.sort(key=lambda champion: max(s.month for s in record.scores_of(champion)))
    if record.champion in champions:
        champions.remove(record.champion)
        champions.append(record.champion)
    for champion in champions:
        _draw_champion(axes, record, champion, months)
    if champions[:-1]:
        axes.plot([], [], color=GREY, linewidth=1.2, label="earlier versions")
    if any(score.seen for score in record.scores):
        axes.scatter([], [], s=36, color="white", edgecolors=INK, label="had seen the month")
    axes.set_ylabel("RMSE / RMSE of\nthe month's mean")
    _label_months(axes, months)
    axes.set_xlim(-0.5, _at(months[-1], months) + 0.5)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return to_png(figure)


def _draw_champion(
    axes: Axes, record: PerformanceRecord, champion: str, months: Sequence[Month]
) -> None:
    scores = record.scores_of(champion)
    current = champion == record.champion
    colour = BLUE if current else GREY
    values = {Month.parse(score.month): record.error_of(score) for score in scores}
    positions, heights = _with_gaps(values, months)
    label = f"champion: version {record.version} ({scores[-1].model})" if current else None
    axes.plot(positions, heights, color=colour, linewidth=2.2 if current else 1.2, label=label)
    for seen, face in ((False, colour), (True, "white")):
        places = [_at(Month.parse(score.month), months) for score in scores if score.seen == seen]
        errors = [record.error_of(score) for score in scores if score.seen == seen]
        axes.scatter(places, errors, s=36, color=face, edgecolors=colour, zorder=4)
    limit, reference = record.limit_of(champion), record.references.get(champion)
    if not current or limit is None or reference is None:
        return
    usual = {
        Month.parse(score.month): score.relative_error_usual
        for score in scores
        if score.relative_error_usual is not None
    }
    axes.axhline(limit, color=HIGHLIGHT, linestyle="dashed", label="limit")
    if usual:
        style: dict[str, Any] = {"color": BLUE, "linewidth": 1.2, "linestyle": "dashdot"}
        axes.plot(*_with_gaps(usual, months), label=MODES["usual"], **style)
    test = Month.parse(reference.month)
    if test in values:
        style = {"color": INK, "linewidth": 1.0, "linestyle": "dotted"}
        axes.axvline(_at(test, months), label="test month", **style)


def _scale_index(axes: Axes, top: float) -> None:
    """Scale the axis from 0 to ``top``, logarithmic above the lowest tick for high values."""
    if top > _MAX_LINEAR:
        axes.set_yscale("symlog", linthresh=_INDEX_TICKS[1])
        axes.set_yticks([tick for tick in _INDEX_TICKS if tick <= top], minor=False)
        axes.set_yticks([], minor=True)
        axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(0, top)


def _shade(axes: Axes, places: Sequence[int]) -> None:
    for number, place in enumerate(places):
        label = "training months" if number == 0 else None
        axes.axvspan(place - 0.5, place + 0.5, color=INK, alpha=0.07, linewidth=0, label=label)


def _with_gaps(
    values: dict[Month, float], months: Sequence[Month]
) -> tuple[list[int], list[float]]:
    """Return the positions of all calendar months and their values, NaN where there is none."""
    count = _at(months[-1], months) + 1
    value_at = {_at(month, months): value for month, value in values.items()}
    return list(range(count)), [value_at.get(place, _GAP) for place in range(count)]


def _label_months(axes: Axes, months: Sequence[Month]) -> None:
    count = _at(months[-1], months) + 1
    ticks = list(range(0, count, -(-count // _MAX_TICKS)))
    axes.set_xticks(ticks, [str(months[0].shift(at)) for at in ticks], rotation=30, ha="right")
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)


def _at(month: Month, months: Sequence[Month]) -> int:
    """Return the position of a month after the first one."""
    first = months[0]
    return (month.year - first.year) * 12 + month.number - first.number


_MAX_DAYS = 60
_MIN_DAYS = 7
_MAX_MODEL_TICKS = 12
_COLOURS = (BLUE, GREY, "#00a3a3", "#8a2be2", "#6b3e12")
"""Colours of versions, in order."""


def online_days(record: OnlineRecord) -> bytes | None:
    """Draw predictions, mean predicted minutes and latency by day and version.

    A day without predictions leaves a gap.

    Returns:
        A PNG; None without a day.
    """
    if not record.days:
        return None
    names = _calendar(record.days)
    days = [entry for entry in record.days if entry.day in names]
    months = sorted({Month.parse(day[:7]) for day in names})
    title = "Predictions of the service"
    figure, panels = new_figure(title, months, record.synthetic, height=6.5, panels=3)
    predictions, minutes, latency = panels
    versions = sorted({entry.version for entry in days}, key=_number)
    for number, version in enumerate(versions):
        own = [entry for entry in days if entry.version == version]
        colour = _COLOURS[number % len(_COLOURS)]
        places = [names.index(entry.day) for entry in own]
        below = [_below(days, entry, versions[:number]) for entry in own]
        amounts = [entry.answers for entry in own]
        predictions.bar(places, amounts, bottom=below, color=colour, label=f"version {version}")
        minutes.plot(places, [e.mean_minutes for e in own], color=colour, marker="o", markersize=4)
        _draw_latency(latency, own, places)
    latency.plot([], [], color=INK, marker="o", markersize=4, label="median")
    latency.plot([], [], color=HIGHLIGHT, marker="v", markersize=4, label="99th percentile")
    predictions.set_ylabel("predictions")
    minutes.set_ylabel(f"mean predicted\n{TARGET.unit}")
    latency.set_ylabel("milliseconds\nper call")
    latency.set_ylim(0)
    for axes in panels:
        _label_days(axes, names)
        axes.tick_params(labelbottom=axes is latency)
    legend(figure)
    return to_png(figure)


def _draw_latency(axes: Axes, days: Sequence[OnlineDay], places: Sequence[int]) -> None:
    for name, colour, marker in (
        ("p50_milliseconds", INK, "o"),
        ("p99_milliseconds", HIGHLIGHT, "v"),
    ):
        values = [getattr(entry, name) or float("nan") for entry in days]
        axes.plot(places, values, color=colour, marker=marker, markersize=4, linewidth=1.2)


def _below(days: Sequence[OnlineDay], of: OnlineDay, versions: Sequence[str]) -> int:
    """Return the predictions of that day by the versions drawn below."""
    return sum(e.answers for e in days if e.day == of.day and e.version in versions)


def _calendar(days: Sequence[OnlineDay]) -> list[str]:
    """Return all calendar days from the first drawn entry to the last."""
    last = date.fromisoformat(max(entry.day for entry in days))
    drawn = [str(last - timedelta(days=back)) for back in reversed(range(_MAX_DAYS))]
    return drawn[drawn.index(min(entry.day for entry in days if entry.day >= drawn[0])) :]


def _number(version: str) -> tuple[int, str]:
    return (int(version) if version.isdigit() else 0, version)


def _label_days(axes: Axes, names: Sequence[str]) -> None:
    ticks = list(range(0, len(names), -(-len(names) // _MAX_MODEL_TICKS)))
    axes.set_xticks(ticks, [names[at] for at in ticks], rotation=30, ha="right")
    axes.set_xlim(-0.6, max(len(names), _MIN_DAYS) - 0.4)
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)


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


def backtest_lines(made: BacktestRecord) -> bytes:
    """Draw the error by test month: relative error of the models above, RMSE of all below.

    Errors with and without a distance are weighted as for the noise.

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
    _draw(relative, made, of_models, lambda entry: entry.request_relative_error(made.share))
    _draw(minutes, made, made.models, lambda entry: entry.request_rmse(made.share))
    mean, noise = made.mean_relative_error, made.relative_error_noise
    if mean is not None and noise is not None:
        band: dict[str, Any] = {"color": HIGHLIGHT, "alpha": 0.2, "linewidth": 0}
        minutes.fill_between([], [], [], label="champion ± noise", **band)
        relative.axhspan(mean - noise, mean + noise, **band)
    relative.set_ylabel("RMSE / RMSE of\nthe month's mean")
    requests = "" if made.share == 1 else f",\n{made.share:.0%} of distances stated"
    minutes.set_ylabel(f"RMSE, {TARGET.unit}{requests}")
    for panel in axes:
        if tested:
            _label_months(panel, tested)
    handles, labels = minutes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return to_png(figure)


def backtest_table(made: BacktestRecord) -> list[Row]:
    """Tabulate the RMSE of every model by month in minutes, and the champion's relative error.

    The RMSE is with the metered distance, in the column ``champion_rmse_usual`` without a distance;
    the relative error weighs both.

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
            row["champion_relative_error"] = round(champion.request_relative_error(made.share), 3)
            usual = champion.rmse_usual
            row["champion_rmse_usual"] = "" if usual is None else round(usual, 3)
        row["trips"] = next(iter(of_month.values())).trips
        rows.append(row)
    return rows


def _draw(
    axes: Axes,
    made: BacktestRecord,
    models: list[str],
    error: Callable[[BacktestEntry], float],
) -> None:
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
        values = {Month.parse(entry.month): error(entry) for entry in series}
        axes.plot(*_with_gaps(values, made.months), label=label, **style)
