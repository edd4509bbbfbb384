"""Published months with a planted fault: sample months, spoiled in one way each."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from ml_assets.trips.month import Month
from ml_assets.trips.sample import generate_month

Fault = Callable[[pl.DataFrame], pl.DataFrame]

PICKUP, DROPOFF = "lpep_pickup_datetime", "lpep_dropoff_datetime"
MINUTES = (pl.col(DROPOFF) - pl.col(PICKUP)).dt.total_microseconds() / 60e6


@cache
def sample_month(month: str) -> pl.DataFrame:
    """A sample month of green trips, as published."""
    frame = pl.from_arrow(generate_month(Month.parse(month)))
    assert isinstance(frame, pl.DataFrame)
    return frame


def publish(folder: Path, month: str, frame: pl.DataFrame) -> None:
    """Put a month where a folder source finds it."""
    pq.write_table(frame.to_arrow(), folder / f"green_tripdata_{month}.parquet")


def lasting(minutes: pl.Expr) -> pl.Expr:
    """Drop-offs so many minutes after the pick-ups."""
    return (pl.col(PICKUP) + pl.duration(microseconds=(minutes * 60e6).cast(pl.Int64))).alias(
        DROPOFF
    )


def share_of_rows(share: float) -> pl.Expr:
    """Rows spread evenly over the file, so many of them."""
    return pl.int_range(pl.len()) * 37 % 100 < round(share * 100)


def repeated(frame: pl.DataFrame) -> pl.DataFrame:
    unique = frame.filter(share_of_rows(0.6))
    return pl.concat([unique, unique.head(frame.height - unique.height)])


def renumbered_zones(frame: pl.DataFrame) -> pl.DataFrame:
    zones = ("PULocationID", "DOLocationID")
    return frame.with_columns((266 - pl.col(zone)).alias(zone) for zone in zones)


def of_another_year(frame: pl.DataFrame) -> pl.DataFrame:
    columns = (pl.when(share_of_rows(0.1)).then(pl.col(name).dt.offset_by("-1y")).otherwise(name)
               for name in (PICKUP, DROPOFF))  # fmt: skip
    return frame.with_columns(*columns)


def shifted(hours: int, share: float = 1.0) -> Fault:
    """Times moved by some hours in the first rows of the file, up to a share of them."""

    def fault(frame: pl.DataFrame) -> pl.DataFrame:
        moved = pl.int_range(pl.len()) < share * pl.len()
        return frame.with_columns(
            pl.when(moved).then(pl.col(name).dt.offset_by(f"{hours}h")).otherwise(name).alias(name)
            for name in (PICKUP, DROPOFF)
        )

    return fault


FAULTS: dict[str, Fault] = {
    "times written as UTC": shifted(4),
    "times an hour late": shifted(1),
    "times half a day early": shifted(-12),
    "a third of the times as UTC": shifted(4, share=1 / 3),
    "40 % of the rows repeated": repeated,
    "all distances 0": lambda frame: frame.with_columns(trip_distance=pl.lit(0.0)),
    "all durations within a minute": lambda frame: frame.with_columns(
        lasting(10 + pl.int_range(pl.len()) % 60 / 60)
    ),
    "distance made from the duration": lambda frame: frame.with_columns(
        trip_distance=MINUTES.clip(0) * 0.2
    ),
    "one row in twenty": lambda frame: frame.filter(share_of_rows(0.05)),
    "no rows": lambda frame: frame.clear(),
    "every row rejected": lambda frame: frame.with_columns(lasting(pl.lit(0.2))),
    "60 % under a minute": lambda frame: frame.with_columns(
        pl.when(share_of_rows(0.6)).then(lasting(pl.lit(0.2))).otherwise(pl.col(DROPOFF))
    ),
    "zones renumbered": renumbered_zones,
    "every second row missing": lambda frame: frame.filter(share_of_rows(0.5)),
    "cut off after the 20th": lambda frame: frame.filter(pl.col(PICKUP).dt.day() <= 20),
    "kilometres for miles": lambda frame: frame.with_columns(pl.col("trip_distance") * 1.609),
    "half as long again": lambda frame: frame.with_columns(lasting(MINUTES * 1.6)),
    "no passengers counted": lambda frame: frame.with_columns(
        pl.lit(None, frame.schema["passenger_count"]).alias("passenger_count")
    ),
    "10 % of another year": of_another_year,
    "a tenth over an hour": lambda frame: frame.with_columns(
        pl.when(share_of_rows(0.1)).then(lasting(pl.lit(90.0))).otherwise(pl.col(DROPOFF))
    ),
    "a column of another kind": lambda frame: frame.with_columns(
        pl.col("payment_type").cast(pl.String)
    ),
    "a column gone": lambda frame: frame.drop("tip_amount"),
    "a column new": lambda frame: frame.with_columns(driver_id=pl.lit(1)),
}
