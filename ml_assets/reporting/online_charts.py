"""What the service has answered, to look at: how much, which minutes, how fast, day by day."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

from ml_assets.monitoring.online.records import OnlineDay, OnlineRecord
from ml_assets.reporting.figure import BLUE, GREY, HIGHLIGHT, INK, canvas, legend, png
from ml_assets.trips.month import Month

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN_DAYS = 60
_LEAST_DAYS = 7
_MOST_TICKS = 12
_COLOURS = (BLUE, GREY, "#00a3a3", "#8a2be2", "#6b3e12")
"""Of versions, one after the other."""


def online_days(record: OnlineRecord) -> bytes | None:
    """Answers, mean predicted minutes and latency by day and version; None without a day.

    A day on which nothing was answered leaves a gap.
    """
    if not record.days:
        return None
    names = _calendar(record.days)
    days = [entry for entry in record.days if entry.day in names]
    months = sorted({Month.parse(day[:7]) for day in names})
    title = "What the prediction service answered"
    figure, panels = canvas(title, months, record.synthetic, height=6.5, panels=3)
    answers, minutes, latency = panels
    versions = sorted({entry.version for entry in days}, key=_number)
    for number, version in enumerate(versions):
        own = [entry for entry in days if entry.version == version]
        colour = _COLOURS[number % len(_COLOURS)]
        places = [names.index(entry.day) for entry in own]
        below = [_below(days, entry, versions[:number]) for entry in own]
        amounts = [entry.answers for entry in own]
        answers.bar(places, amounts, bottom=below, color=colour, label=f"version {version}")
        minutes.plot(places, [e.mean_minutes for e in own], color=colour, marker="o", markersize=4)
        _draw_latency(latency, own, places)
    latency.plot([], [], color=INK, marker="o", markersize=4, label="half are faster")
    latency.plot([], [], color=HIGHLIGHT, marker="v", markersize=4, label="99 % are faster")
    answers.set_ylabel("answers")
    minutes.set_ylabel("mean predicted\nminutes")
    latency.set_ylabel("milliseconds\na call")
    latency.set_ylim(0)
    for axes in panels:
        _label_days(axes, names)
        axes.tick_params(labelbottom=axes is latency)
    legend(figure)
    return png(figure)


def _draw_latency(axes: "Axes", days: Sequence[OnlineDay], places: Sequence[int]) -> None:
    for name, colour, marker in (
        ("p50_milliseconds", INK, "o"),
        ("p99_milliseconds", HIGHLIGHT, "v"),
    ):
        values = [getattr(entry, name) or float("nan") for entry in days]
        axes.plot(places, values, color=colour, marker=marker, markersize=4, linewidth=1.2)


def _below(days: Sequence[OnlineDay], of: OnlineDay, versions: Sequence[str]) -> int:
    """Answers of that day by the versions drawn before."""
    return sum(e.answers for e in days if e.day == of.day and e.version in versions)


def _calendar(days: Sequence[OnlineDay]) -> list[str]:
    """All days from the first that is shown to the last."""
    last = date.fromisoformat(max(entry.day for entry in days))
    shown = [str(last - timedelta(days=back)) for back in reversed(range(_SHOWN_DAYS))]
    return shown[shown.index(min(entry.day for entry in days if entry.day >= shown[0])) :]


def _number(version: str) -> tuple[int, str]:
    return (int(version) if version.isdigit() else 0, version)


def _label_days(axes: "Axes", names: Sequence[str]) -> None:
    ticks = list(range(0, len(names), -(-len(names) // _MOST_TICKS)))
    axes.set_xticks(ticks, [names[at] for at in ticks], rotation=30, ha="right")
    axes.set_xlim(-0.6, max(len(names), _LEAST_DAYS) - 0.4)
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)
