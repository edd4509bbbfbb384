"""The embedded, synthetic months: offline, the same on every machine, as if published on time."""

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from ml_assets.ingestion.source import (
    ChangedDuringDownload,
    Progress,
    PublishedMonth,
    published_filename,
)
from ml_assets.ingestion.staging import landing
from ml_assets.trips.calendar import latest_published_month, new_york_date
from ml_assets.trips.month import Month
from ml_assets.trips.sample import SAMPLE_SEED, generate_month

SAMPLE_VERSION = "1"
"""Raise it whenever the generator would make other rows: that republishes every month.

(A changed ``SAMPLE_SEED`` does so by itself.)
"""


class SampleSource:
    """Months made up by ``ml_assets.trips.sample``; whoever shows them says "synthetic sample".

    Args:
        taxi: ``green`` or ``yellow``.
        rows_scale: how many rows to make, as a share of the usual number.
        today: tells the date (New York's), which decides which months count as published.
    """

    name = "sample"
    synthetic = True

    def __init__(
        self, taxi: str, rows_scale: float = 1.0, today: Callable[[], date] = new_york_date
    ) -> None:
        self.taxi = taxi
        self._rows_scale = rows_scale
        self._today = today

    def published(self, months: Iterable[Month]) -> dict[Month, PublishedMonth]:
        """Those of the months that the TLC could have published by today."""
        newest = latest_published_month(self._today())
        return {month: self._listed(month) for month in months if month <= newest}

    def near_misses(self, months: Iterable[Month]) -> dict[Month, str]:
        """None: every month has its own name."""
        return {}

    def fetch(
        self, published: PublishedMonth, destination: Path, progress: Progress | None = None
    ) -> None:
        """Generate one month; the bytes depend on nothing but month, taxi, scale and version."""
        now = self._listed(published.month)
        if published.version != now.version:
            raise ChangedDuringDownload(
                f"{published.location} is now made as version {now.version}, not "
                f"{published.version}: list the months again, then fetch"
            )
        table = generate_month(published.month, self.taxi, self._rows_scale)
        with landing(published, destination) as file:
            pq.write_table(table, file, compression="zstd")
            if progress is not None:
                progress(file.tell(), file.tell())

    def _listed(self, month: Month) -> PublishedMonth:
        version = f"sample-{SAMPLE_VERSION}-seed-{SAMPLE_SEED}"
        if self._rows_scale != 1.0:
            version += f"-scale-{self._rows_scale:g}"
        location = f"sample:{published_filename(self.taxi, month)}"
        return PublishedMonth(month, self.taxi, location, version, None)
