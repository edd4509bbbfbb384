"""Whether months of yellow size train in bounded memory: ``python -m benchmarks scale``."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Section
from benchmarks.options import Options
from benchmarks.peak_of_stage import JOBS
from benchmarks.published_months import write_sample_month
from benchmarks.subprocesses import last_json, run_alone
from ml_assets.training.families import DEFAULT_FAMILIES
from ml_assets.trips.month import Month, months_between

TAXI = "yellow"
FIRST = Month(2023, 1)

MAX_GROWTH = 1.3
"""Peak with more months, by that with few: what a row costs that XGBoost reads in parts, and one
larger month."""

TREES = 5
"""Trees of XGBoost on all rows: the peak does not depend on their number, and the time does."""

MAX_STAGE_GIGABYTES = 4.0
"""Predicting, monitoring and backtesting a year of 3 M rows a month."""

MAX_GIGABYTES = 8.0
MAX_MINUTES = {4: 25.0, 12: 75.0}
"""All seven families with their default tuning, on two cores."""

NOTES = [
    "`backtest` is of lasso, the champion's parameters and the baselines, on 100,000 rows a fold.",
    "By `ml-assets run` in a process of its own, on months that were ingested before; XGBoost on "
    "all rows by the functions of its asset. The peak is the kernel's VmHWM of that process.",
    "At a tenth of the size, `--max-rows` bounds the fits as each family's own number does at full "
    "size.",
]


@dataclass(frozen=True)
class Home:
    """Ingested months of one size.

    Attributes:
        rows_scale: Rows of a month in those of the green sample.
        title: Size of a month in words.
    """

    folder: Path
    rows_scale: float
    title: str

    @property
    def variables(self) -> dict[str, str]:
        """Settings of a process on this home."""
        return {
            "ML_ASSETS_TRIPS": str(self.folder / "published"),
            "ML_ASSETS_TAXI": TAXI,
            "ML_ASSETS_HOME": str(self.folder / "home"),
        }

    def ingest(self, months: int) -> None:
        """Write the months, and ingest those that are not stored yet."""
        published = self.folder / "published"
        published.mkdir(parents=True, exist_ok=True)
        for month in months_between(FIRST, FIRST.shift(months - 1)):
            if not (published / f"{TAXI}_tripdata_{month}.parquet").is_file():
                write_sample_month(published, month, TAXI, self.rows_scale)
        self.run(months, "--ingest-only")

    def run(self, months: int, *options: str) -> dict[str, Any]:
        """Run the command on the first months; return its results, seconds and peak."""
        span = ["--first", str(FIRST), "--last", str(FIRST.shift(months - 1))]
        arguments = ["-m", "benchmarks.peak_of_run", "run", *span, "--json", *options]
        _, output = run_alone(arguments, self.variables)
        models = json.loads(output.strip().splitlines()[-2])["models"]
        rmse = {each["model"]: round(each["test_rmse"], 4) for each in models}
        return {**last_json(output), "test_rmse": rmse}

    def train_all_rows(self, months: int) -> dict[str, Any]:
        """Train XGBoost with few trees on all rows of the first months; return rows and peak."""
        span = [str(FIRST), str(FIRST.shift(months - 1))]
        arguments = ["-m", "benchmarks.peak_of_stage", "all_rows", *span, str(TREES)]
        _, output = run_alone(arguments, self.variables)
        found: dict[str, Any] = last_json(output)
        return found


def measure(options: Options) -> Section:
    """Train on few and on many months; with ``thorough``, on months of the published size."""
    tenth = Home(options.scratch / "tenth", 25.0, "300,000 rows a month")
    figures = [
        _growth(tenth, options, 4, 12),
        _growth_of_all_rows(tenth, options, 8, 12),
    ]
    if options.thorough:
        full = Home(options.scratch / "full", 250.0, "3 M rows a month")
        for months, minutes in MAX_MINUTES.items():
            figures += _whole_run(full, options, months, minutes)
        figures += [_after_training(full, options, asset, 12) for asset in JOBS]
        figures.append(_growth_of_all_rows(full, options, 4, 14))
    return Section(figures, "SYNTHETIC sample, yellow (by design: any size can be made)", NOTES)


def _growth(home: Home, options: Options, few: int, many: int) -> Figure:
    """Compare the peaks of bounded fits on few and on many months."""
    command = ["--models", "extra_trees,lasso", "--max-rows", "100000"]
    title = " ".join(command)
    measured = {}
    for months in (few, many):
        options.say(f"{title}: {months} months of {home.title}")
        home.ingest(months)
        measured[months] = home.run(months, "--trials", "0", *command)
    return _ratio(title, home, measured)


def _growth_of_all_rows(home: Home, options: Options, few: int, many: int) -> Figure:
    """Compare the peaks of XGBoost on all rows of few and of many months."""
    measured = {}
    for months in (few, many):
        options.say(f"XGBoost on all rows: {months} months of {home.title}")
        home.ingest(months)
        measured[months] = home.train_all_rows(months)
    return _ratio(f"XGBoost on all rows, {TREES} trees", home, measured)


def _ratio(title: str, home: Home, measured: dict[int, dict[str, Any]]) -> Figure:
    few, many = sorted(measured)
    first, last = (measured[months]["peak_megabytes"] for months in (few, many))
    detail = {f"{months}_months": each for months, each in measured.items()}
    return Figure(
        f"peak memory of {title}: {many} months of {home.title}",
        f"the same for {few} months",
        last / first,
        MAX_GROWTH,
        detail=detail,
    )


def _after_training(home: Home, options: Options, asset: str, months: int) -> Figure:
    """Measure the peak of what a champion is needed for, on all months."""
    options.say(f"{asset}: {months} months of {home.title}")
    shutil.rmtree(home.folder / "home" / asset, ignore_errors=True)  # months measured before
    span = [str(FIRST), str(FIRST.shift(months - 1))]
    arguments = ["-m", "benchmarks.peak_of_stage", asset, *span]
    seconds, output = run_alone(arguments, home.variables)
    detail = {**last_json(output), "seconds": seconds}
    return Figure(
        f"{asset}, {months} months of {home.title}: peak memory",
        "gigabytes",
        detail["peak_megabytes"] / 1000,
        MAX_STAGE_GIGABYTES,
        unit="GB",
        detail=detail,
    )


def _whole_run(home: Home, options: Options, months: int, minutes: float) -> list[Figure]:
    """Measure a run of all families with their default tuning."""
    home.ingest(months)
    options.say(f"all families: {months} months of {home.title}")
    measured = home.run(months, "--models", ",".join(each.name for each in DEFAULT_FAMILIES))
    name = f"all seven families, {months} months of {home.title}"
    return [
        Figure(
            f"{name}: minutes",
            "a clock",
            measured["seconds"] / 60,
            minutes,
            unit="min",
            detail=measured,
        ),
        Figure(
            f"{name}: peak memory",
            "gigabytes",
            measured["peak_megabytes"] / 1000,
            MAX_GIGABYTES,
            unit="GB",
            detail=measured,
        ),
    ]
