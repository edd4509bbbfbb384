"""Stated distances that tell nothing: none at all, or far off what is usual between two zones."""

from dataclasses import dataclass
from math import log

import numpy as np
import numpy.typing as npt
import polars as pl

from ml_assets.pipeline.features import MAX_MILES, MIN_MILES
from ml_assets.pipeline.zone_map import learn_map
from ml_assets.trips.rules import REQUEST_COLUMNS, ZONE_CODES

OUTLIER_RATIO = 3.0
"""So many times as far as usual, or as near, is far off. Of metered green trips in 2023 it is 1.5
to 1.8 %, most of them within one zone."""


@dataclass(frozen=True)
class DistanceCounts:
    """Requests by their stated distance.

    Attributes:
        requests: All.
        none: Those that state 0, or what only a faulty meter tells.
        far_off: Of the others, those far off the usual distance of their two zones.
    """

    requests: int = 0
    none: int = 0
    far_off: int = 0

    def __add__(self, other: "DistanceCounts") -> "DistanceCounts":
        return DistanceCounts(
            self.requests + other.requests, self.none + other.none, self.far_off + other.far_off
        )

    @property
    def shares(self) -> tuple[float, float]:
        """Of none and of far off, among all requests."""
        requests = max(self.requests, 1)
        return self.none / requests, self.far_off / requests


class ExpectedMiles:
    """How far trips between two zones usually go, as models learn it; also of pairs never seen."""

    def __init__(self, trips: pl.DataFrame) -> None:
        """Learn from trips with the columns of requests."""
        pair, miles, stated = _read(trips)
        known = np.where(stated, np.log(np.where(stated, miles, 1.0)), np.nan)
        learned = learn_map(pair // ZONE_CODES, pair % ZONE_CODES, known)
        self._log_miles = learned.usual_log_miles

    def count(self, requests: pl.DataFrame) -> DistanceCounts:
        """Count requests with odd distances."""
        pair, miles, stated = _read(requests)
        off = np.abs(np.log(miles[stated]) - self._log_miles[pair[stated]])
        far = int(np.count_nonzero(off > log(OUTLIER_RATIO)))
        return DistanceCounts(requests.height, int(np.count_nonzero(~stated)), far)


def _read(
    trips: pl.DataFrame,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Pair of zones, miles, and whether these are plausible."""
    pickup, dropoff = (trips[name].cast(pl.Int64).to_numpy() for name in REQUEST_COLUMNS[:2])
    miles = trips["trip_distance"].cast(pl.Float64).to_numpy()
    return pickup * ZONE_CODES + dropoff, miles, (miles >= MIN_MILES) & (miles <= MAX_MILES)
