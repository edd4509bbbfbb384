"""Requests as the service passes them to the request log."""

import time
from datetime import UTC, datetime

import numpy as np

from ml_assets.pipeline.predict import Predictions
from ml_assets.serving.request_log.writer import LoggedRequest, RequestLog

AT = datetime(2026, 11, 25, 14, 30, 0, 250_000, tzinfo=UTC)
PICKUP = datetime(2026, 11, 25, 9, 30)
FULL_DISK = "/dev/full"


def one(number: int = 0, at: datetime = AT) -> LoggedRequest:
    request = (74, 75, 2.5 + number, PICKUP, None if number % 2 else 2.0)
    minutes, miles = (np.array([value]) for value in (12.25, request[2]))
    predictions = Predictions(minutes, minutes - 3.75, minutes + 4.75, np.array([True]), miles)
    return LoggedRequest(f"r{number}", at, "3", 1.5, [request], predictions)


def columns(length: int) -> dict[str, np.ndarray]:
    return {
        "PULocationID": np.arange(length, dtype=float) % 265 + 1,
        "DOLocationID": np.full(length, 75),
        "trip_distance": np.linspace(0.1, 9.9, length),
        "pickup_datetime": np.full(length, PICKUP, "datetime64[us]"),
        "passenger_count": np.full(length, np.nan),
    }


def many(length: int, at: datetime = AT) -> LoggedRequest:
    requests, minutes = columns(length), np.linspace(5, 50, length)
    stated = np.full(length, True)
    predictions = Predictions(minutes, None, None, stated, requests["trip_distance"])
    return LoggedRequest("list", at, "3", 20.0, requests, predictions)


def wait_until(true, seconds: float = 20) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def settled(log: RequestLog, written: int) -> None:
    wait_until(lambda: log.written >= written)
    assert log.written == written
