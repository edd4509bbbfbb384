"""A request log as the service writes it, with requests for given trips."""

from datetime import UTC, date, datetime, time
from pathlib import Path

import numpy as np
import polars as pl

from ml_assets.pipeline.predict import Predictions
from ml_assets.requests.parse import columns_of, states_distance
from ml_assets.serving.request_log.writer import LoggedRequest, RequestLog
from ml_assets.trips.request_columns import REQUEST_COLUMNS


def at(day: date, hour: int = 12) -> datetime:
    return datetime.combine(day, time(hour), UTC)


def serve(
    folder: Path,
    day: date,
    trips: pl.DataFrame,
    *,
    version: str = "1",
    minutes: float = 10.0,
    calls: int = 1,
    milliseconds: float = 2.0,
    capacity: int = 1_000_000,
) -> RequestLog:
    """Log predictions for trips in a number of calls on a day, and close the log."""
    log = RequestLog(folder, capacity)
    for number in range(calls):
        part = trips.gather_every(calls, number).select(REQUEST_COLUMNS)
        requests, predicted = columns_of(part), np.full(part.height, minutes)
        stated = states_distance(requests["trip_distance"])
        miles = np.where(stated, requests["trip_distance"], 2.0)
        predictions = Predictions(predicted, None, None, stated, miles)
        log.add(LoggedRequest(f"c{number}", at(day), version, milliseconds, requests, predictions))
    log.close(60)
    return log
