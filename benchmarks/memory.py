"""Whether ingestion needs more memory for more months: the peaks of 4 and of 12 months."""

from pathlib import Path

import polars as pl

from benchmarks.figures import Figure, Section
from benchmarks.published_months import write_sample_month
from benchmarks.subprocesses import last_json, run_alone
from ml_assets.trips.cleaning import read_published
from ml_assets.trips.month import Month, months_between

TAXI = "yellow"
ROWS_SCALE = 25.0  # about 300,000 rows a month: a tenth of the published yellow files
FIRST = Month(2023, 1)
FEW, MANY = 4, 12
MOST_RATIO = 1.15
MOST_MONTHS_MORE = 2.0
NOTES = [
    "Through the graph's `ingest_trips` job, a new process and home each; the peak is the kernel's "
    "VmHWM, since ru_maxrss would be at least that of the process which started it.",
    "The ratio alone is weak, as most of the peak is libraries; so the growth is also shown in "
    "months: how many decoded months the 8 further ones added to the peak (8 if all were held).",
    "Months have about 300,000 rows, a tenth of the published yellow files.",
]


def measure(scratch: Path) -> Section:
    """Make the months up, ingest 4 and 12 of them, compare the peaks."""
    folder = scratch / "published"
    folder.mkdir()
    for month in months_between(FIRST, FIRST.shift(MANY - 1)):
        path = write_sample_month(folder, month, TAXI, ROWS_SCALE)
    frame = read_published(path, TAXI, month, path.name)
    month_megabytes = frame.select(pl.all()).estimated_size("mb")
    peaks = {count: _ingest(scratch / f"home_{count}", folder, count) for count in (FEW, MANY)}
    few, many = peaks[FEW]["peak_megabytes"], peaks[MANY]["peak_megabytes"]
    detail = {
        f"peaks_of_{count}_months": {name: round(value, 1) for name, value in peak.items()}
        for count, peak in peaks.items()
    } | {"month_decoded_megabytes": round(month_megabytes, 1), "rows_of_the_last": frame.height}
    return Section(
        [
            Figure(
                f"peak memory of ingesting {MANY} months",
                f"the same for {FEW} months",
                many / few,
                MOST_RATIO,
                detail=detail,
            ),
            Figure(
                f"growth of the peak from {FEW} to {MANY} months, in months",
                "one decoded month",
                (many - few) / month_megabytes,
                MOST_MONTHS_MORE,
                unit="months",
                detail=detail,
            ),
        ],
        "SYNTHETIC sample, yellow (by design: any size can be made)",
        NOTES,
    )


def _ingest(home: Path, folder: Path, count: int) -> dict[str, float]:
    variables = {
        "ML_ASSETS_TRIPS": str(folder),
        "ML_ASSETS_TAXI": TAXI,
        "ML_ASSETS_HOME": str(home),
    }
    months = [str(FIRST), str(FIRST.shift(count - 1))]
    _, output = run_alone(["-m", "benchmarks.peak_of_ingestion", *months], variables)
    return {name: float(value) for name, value in last_json(output).items()}
