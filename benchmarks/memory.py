"""Whether more months need more memory before the fit: the peaks of few and of many months."""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Section
from benchmarks.options import Options
from benchmarks.published_months import write_sample_month
from benchmarks.subprocesses import last_json, run_alone
from ml_assets.trips.cleaning import read_published
from ml_assets.trips.month import Month, months_between

TAXI = "yellow"
FIRST = Month(2023, 1)
MAX_RATIO = 1.15
MAX_MONTHS_MORE = 2.0
STAGES = {
    "ingestion": "ingestion with its checks",
    "training_set": "everything before the fit (ingestion, training set, their checks)",
}
NOTES = [
    "Through the graph's own jobs, a new process and home for each number of months, in turn; "
    "medians count. The peak is the kernel's VmHWM, since ru_maxrss would be at least that of the "
    "process which started it.",
    "The ratio alone is weak, as most of the peak is libraries; so the growth is also shown in "
    "months: how many decoded months the further ones added to the peak (all of them, if all were "
    "held).",
    "The slack of two months: the largest of many months is larger than the largest of few, "
    "allocators keep some of what was freed, and Dagster holds each month's events.",
    "A single pair of peaks differs by some tens of megabytes from run to run, which is one to "
    "three months of this size; hence the medians.",
    "load_trips makes the table that a fit needs whole. Its multiple is what it adds to the peak "
    "after a month was loaded once, by the size of the result (request columns and minutes).",
]


@dataclass(frozen=True)
class Size:
    """How large the months are, and how many of them are compared."""

    rows_scale: float
    few: int
    many: int
    rounds: int
    title: str


TENTH = Size(25.0, 4, 12, 3, "300,000 rows a month")
FULL = Size(250.0, 2, 6, 1, "3 M rows a month")
"""The published yellow files have about three million rows."""


def measure(options: Options) -> Section:
    """Make months up; take few and many of them through each stage; compare the peaks."""
    figures = _at_size(TENTH, options, stages=("ingestion", "training_set"), loads=True)
    if options.thorough:
        figures += _at_size(FULL, options, stages=("training_set",), loads=False)
    return Section(figures, "SYNTHETIC sample, yellow (by design: any size can be made)", NOTES)


def _at_size(size: Size, options: Options, stages: tuple[str, ...], *, loads: bool) -> list[Figure]:
    folder = options.scratch / f"published_{size.rows_scale:g}"
    folder.mkdir()
    options.say(f"making {size.many} months of {size.title}")
    decoded = _write_months(folder, size)
    figures: list[Figure] = []
    for stage in stages:
        peaks: dict[int, list[dict[str, float]]] = {size.few: [], size.many: []}
        for turn in range(options.rounds_or(size.rounds)):
            for count, measured in peaks.items():
                home = options.scratch / f"{stage}_{size.rows_scale:g}_{count}_{turn}"
                measured.append(_peak(stage, folder, home, count))
                stage_title = f"{stage} of {count} months of {size.title}"
                options.say(f"{stage_title}: {measured[-1]['peak_megabytes']:.0f} MB")
        figures += _compared(stage, size, peaks, decoded)
    if loads:
        options.say(f"load_trips of {size.many} months")
        home = options.scratch / f"training_set_{size.rows_scale:g}_{size.many}_0"
        figures.append(_loaded(size, _peak("load_trips", folder, home, size.many)))
    return figures


def _write_months(folder: Path, size: Size) -> float:
    """Write them; returns the decoded size of the last one, in megabytes."""
    month, path = FIRST, folder
    for month in months_between(FIRST, FIRST.shift(size.many - 1)):
        path = write_sample_month(folder, month, TAXI, size.rows_scale)
    return read_published(path, TAXI, month, path.name).estimated_size("mb")


def _compared(
    stage: str, size: Size, peaks: dict[int, list[dict[str, float]]], month_megabytes: float
) -> list[Figure]:
    few, many = (
        statistics.median(peak["peak_megabytes"] for peak in peaks[count])
        for count in (size.few, size.many)
    )
    detail: dict[str, Any] = {
        f"{count}_months": [_rounded(peak) for peak in measured]
        for count, measured in peaks.items()
    }
    shown = detail | {"month_decoded_megabytes": round(month_megabytes, 1)}
    return [
        Figure(
            f"{STAGES[stage]}: peak memory of {size.many} months, {size.title}",
            f"the same for {size.few} months",
            many / few,
            # At full size a month weighs as much as all libraries: only the months count there.
            MAX_RATIO if size is TENTH else None,
            detail=shown,
        ),
        Figure(
            f"{STAGES[stage]}: growth of the peak from {size.few} to {size.many} months, "
            f"{size.title}",
            "one decoded month",
            (many - few) / month_megabytes,
            MAX_MONTHS_MORE,
            unit="months",
            detail=shown,
        ),
    ]


def _loaded(size: Size, peak: dict[str, float]) -> Figure:
    added = peak["peak_megabytes"] - peak["before_megabytes"]
    return Figure(
        f"load_trips: memory for {size.many} months, {size.title}",
        "the decoded training columns",
        added / peak["decoded_megabytes"],
        detail=_rounded(peak),
    )


def _peak(stage: str, folder: Path, home: Path, count: int) -> dict[str, float]:
    variables = {
        "ML_ASSETS_TRIPS": str(folder),
        "ML_ASSETS_TAXI": TAXI,
        "ML_ASSETS_HOME": str(home),
    }
    arguments = [stage, str(FIRST), str(FIRST.shift(count - 1))]
    _, output = run_alone(["-m", "benchmarks.peak_of_stage", *arguments], variables)
    return {name: float(value) for name, value in last_json(output).items()}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in values.items()}
