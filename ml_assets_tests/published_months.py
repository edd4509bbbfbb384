"""Small months in the published schema: durations follow the distance and the two zones."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml_assets.ingestion.source import published_filename
from ml_assets.trips.month import Month

_PREFIX = {"green": "lpep", "yellow": "tpep"}


def published_month(
    month: Month, rows: int = 200, taxi: str = "green", **overrides: Any
) -> pa.Table:
    """A month as the TLC published it in January 2023, every row of which is kept.

    Args:
        month: Pick-ups lie in it, in order of time; it also seeds the numbers.
        rows: So many trips.
        taxi: ``green`` or ``yellow``.
        overrides: Columns to replace or add, by name (``pickup`` and ``dropoff`` stand for the
            taxi's own names); ``None`` leaves a column out.
    """
    random = np.random.default_rng(month.year * 12 + month.number)
    seconds = np.sort(random.integers(0, 27 * 24 * 3600, rows))
    miles = random.gamma(2.0, 1.5, rows).round(2)
    zones = random.choice([41, 74, 75, 166], (2, rows))
    by_zones = 5.0 * (zones[0] % 3) + 4.0 * (zones[1] % 2)
    noise = random.normal(0, 1, rows)
    lengths = np.clip(3 + 2 * miles + by_zones + noise, 1.5, 59).round(2)
    pickups = [month.start + timedelta(seconds=int(at)) for at in seconds]
    dropoffs = [at + timedelta(minutes=float(n)) for at, n in zip(pickups, lengths, strict=True)]
    columns: dict[str, Any] = {
        "VendorID": pa.array(random.integers(1, 3, rows)),
        "pickup": pa.array(pickups, pa.timestamp("us")),
        "dropoff": pa.array(dropoffs, pa.timestamp("us")),
        "store_and_fwd_flag": pa.array(["N"] * rows, pa.string()),
        "RatecodeID": pa.array(np.ones(rows)),
        "PULocationID": pa.array(zones[0]),
        "DOLocationID": pa.array(zones[1]),
        "passenger_count": pa.array(random.integers(1, 6, rows).astype(float)),
        "trip_distance": pa.array(miles),
        "fare_amount": pa.array((3 + lengths / 2).round(2)),
        "tip_amount": pa.array(np.zeros(rows)),
        "total_amount": pa.array((4.5 + lengths / 2).round(2)),
        "payment_type": pa.array(np.ones(rows)),
    }
    columns |= {"ehail_fee": pa.nulls(rows)} if taxi == "green" else {"airport_fee": np.zeros(rows)}
    columns |= overrides
    named = {
        f"{_PREFIX[taxi]}_{name}_datetime" if name in ("pickup", "dropoff") else name: values
        for name, values in columns.items()
        if values is not None
    }
    return pa.table({name: _column(values) for name, values in named.items()})


def publish(folder: Path, month: Month, table: pa.Table | None = None, taxi: str = "green") -> Path:
    """Write a month (by default ``published_month(month)``) under its published name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / published_filename(taxi, month)
    pq.write_table(published_month(month, taxi=taxi) if table is None else table, path)
    return path


def _column(values: Any) -> pa.Array:
    return values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
