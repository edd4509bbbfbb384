"""Small frames of the synthetic sample, and requests with extreme values."""

import io
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ml_assets.trips.cleaning import kept_trips, read_published
from ml_assets.trips.month import Month
from ml_assets.trips.sample import generate_month

SCALE = 0.15
"""Share of the sample's 9,500 rows per month."""


@cache
def trips_of(number: int) -> pd.DataFrame:
    """The kept trips of a month of 2023, about 1,400; cached, so do not modify the frame."""
    month = Month(2023, number)
    file = io.BytesIO()
    pq.write_table(generate_month(month, "green", SCALE), file)
    file.seek(0)
    return kept_trips(read_published(file, "green", month, "sample"), month).to_pandas()


@cache
def train_trips() -> pd.DataFrame:
    """Two months to fit on."""
    return pd.concat([trips_of(1), trips_of(2)], ignore_index=True)


def validation_trips() -> pd.DataFrame:
    """The following month."""
    return trips_of(3)


def odd_requests() -> pd.DataFrame:
    """One request for each extreme value of a field; the other fields are ordinary."""
    ordinary = {
        "PULocationID": 74.0,
        "DOLocationID": 75.0,
        "trip_distance": 1.5,
        "pickup_datetime": pd.Timestamp("2023-05-02 08:30"),
        "passenger_count": 1.0,
    }
    odd: dict[str, list[Any]] = {
        "PULocationID": [0, 264, 265, 999, -1, np.nan, np.inf, 1e308],
        "DOLocationID": [0, 264, 265, 999, -1, np.nan, np.inf, 1e308],
        "trip_distance": [0, np.nan, np.inf, -np.inf, 1e308, -5, 1e-300, 201_421],
        "passenger_count": [np.nan, 0, -3, 1e9, np.inf],
        "pickup_datetime": [pd.NaT, pd.Timestamp("1700-01-01"), pd.Timestamp("2262-01-01")],
    }
    rows = [{**ordinary, name: value} for name, values in odd.items() for value in values]
    return pd.DataFrame(rows)
