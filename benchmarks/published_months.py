"""The trips that benchmarks run on: real published months where they are, else the sample."""

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow.parquet as pq

from ml_assets.trips.cleaning import kept_trips, read_published
from ml_assets.trips.month import Month
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

TAXI = "green"
VARIABLE = "ML_ASSETS_REAL_TRIPS"
FIRST_MONTH = Month(2023, 1)
LAST_MONTH = Month(2023, 9)
_REPOSITORY = Path(__file__).resolve().parent.parent


def real_trips() -> Path | None:
    """The folder of real months (``ML_ASSETS_REAL_TRIPS``); None when it lacks the first one."""
    default = _REPOSITORY.parent / "shared" / "data" / "green"
    folder = Path(os.environ.get(VARIABLE) or default)
    return folder if (folder / f"{TAXI}_tripdata_{FIRST_MONTH}.parquet").is_file() else None


@dataclass(frozen=True)
class PublishedMonths:
    """A folder of published files, real or synthetic."""

    folder: Path
    synthetic: bool

    @classmethod
    def open(cls, scratch: Path) -> "PublishedMonths":
        """The real months; without them the sample's, written to ``scratch``."""
        real = real_trips()
        if real is not None:
            return cls(real, synthetic=False)
        from ml_assets.trips.month import months_between

        for month in months_between(FIRST_MONTH, LAST_MONTH):
            write_sample_month(scratch, month, TAXI, 1.0)
        return cls(scratch, synthetic=True)

    def describe(self) -> str:
        """For the reader of a figure."""
        if self.synthetic:
            return f"SYNTHETIC sample (no real months; set {VARIABLE})"
        return f"real published {TAXI} months"

    def path(self, month: Month) -> Path:
        """The month's file.

        Raises:
            FileNotFoundError: when it is not there; says which variable names the folder.
        """
        path = self.folder / f"{TAXI}_tripdata_{month}.parquet"
        if not path.is_file():
            raise FileNotFoundError(f"{path.name} is not in the folder that {VARIABLE} names")
        return path

    def published(self, month: Month) -> pl.DataFrame:
        """The month as the project reads it."""
        path = self.path(month)
        return read_published(path, TAXI, month, path.name)

    def kept(self, *months: Month) -> pd.DataFrame:
        """Kept trips of the months in order: request columns and minutes."""
        frames = [kept_trips(self.published(month), month) for month in months]
        frame = pl.concat(frames).select(*REQUEST_COLUMNS, TARGET.name)
        return pd.DataFrame({name: frame[name].to_numpy() for name in frame.columns})


def write_sample_month(folder: Path, month: Month, taxi: str, rows_scale: float) -> Path:
    """Make up one month and write it under the published name."""
    from ml_assets.trips.sample import generate_month

    path = folder / f"{taxi}_tripdata_{month}.parquet"
    pq.write_table(generate_month(month, taxi, rows_scale), path, compression="zstd")
    return path
