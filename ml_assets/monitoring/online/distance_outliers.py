"""Outliers among the stated distances: missing, or far from the expected one of the zone pair."""

from dataclasses import dataclass
from math import log

import numpy as np
import numpy.typing as npt
import polars as pl

from ml_assets.pipeline.features import MAX_MILES, MIN_MILES
from ml_assets.pipeline.zone_map import fit_zone_map
from ml_assets.trips.request_columns import REQUEST_COLUMNS, ZONE_CODES

OUTLIER_RATIO = 3.0
"""A distance above this multiple of the expected one, or below its inverse, is an outlier. In 2023,
1.5 to 1.8 % of metered green trips are, most of them within one zone."""


@dataclass(frozen=True)
class DistanceCounts:
    """Counts of requests by their stated distance.

    Attributes:
        requests: All requests.
        missing: Requests with a distance of 0 or an implausible one.
        outliers: Requests with a plausible distance far from the expected one of their zone pair.
    """

    requests: int = 0
    missing: int = 0
    outliers: int = 0

    def __add__(self, other: "DistanceCounts") -> "DistanceCounts":
        return DistanceCounts(
            self.requests + other.requests,
            self.missing + other.missing,
            self.outliers + other.outliers,
        )

    @property
    def shares(self) -> tuple[float, float]:
        """Shares of missing distances and of outliers among all requests."""
        requests = max(self.requests, 1)
        return self.missing / requests, self.outliers / requests


class ExpectedMiles:
    """Expected miles between two zones as models learn them, also for pairs without trips."""

    def __init__(self, trips: pl.DataFrame) -> None:
        """Learn the expected miles from trips with the request columns."""
        pair, miles, stated = _read(trips)
        known = np.where(stated, np.log(np.where(stated, miles, 1.0)), np.nan)
        learned = fit_zone_map(pair // ZONE_CODES, pair % ZONE_CODES, known)
        self._log_miles = learned.usual_log_miles

    def count(self, requests: pl.DataFrame) -> DistanceCounts:
        """Count requests with missing distances and outliers."""
        pair, miles, stated = _read(requests)
        off = np.abs(np.log(miles[stated]) - self._log_miles[pair[stated]])
        far = int(np.count_nonzero(off > log(OUTLIER_RATIO)))
        return DistanceCounts(requests.height, int(np.count_nonzero(~stated)), far)


def _read(
    trips: pl.DataFrame,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the zone pair, the miles, and whether these are plausible."""
    pickup, dropoff = (trips[name].cast(pl.Int64).to_numpy() for name in REQUEST_COLUMNS[:2])
    miles = trips["trip_distance"].cast(pl.Float64).to_numpy()
    return pickup * ZONE_CODES + dropoff, miles, (miles >= MIN_MILES) & (miles <= MAX_MILES)
