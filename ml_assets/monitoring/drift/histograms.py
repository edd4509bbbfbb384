"""Histograms of a month's request features and durations, and the stability index of two.

Each month is counted once on a fine grid. The counts of the reference months then determine which
values share a bin, so only one month is in memory at a time.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ml_assets.trips.request_columns import REQUEST_COLUMNS, ZONE_CODES
from ml_assets.trips.target import TARGET
from ml_assets.trips.zones import borough_by_location

Counts = npt.NDArray[np.int64]
MonthCounts = Mapping[str, Counts]

MIN_SHARE = 0.002
"""Zones and pairs of boroughs with less than this share of the reference trips share one bin: 0.2 %
of the 60,000 green trips of a month are 120, enough for a stable ratio of shares. 45 of the 265
pick-up zones and 100 of the drop-off zones keep a bin of their own."""

DISTANCE_BINS = 10
"""Quantile bins of the reference trips; zero distances fall into the first."""

HOURS_A_WEEK = 168
_MONDAY_OFFSET = 72
"""1970-01-01 was a Thursday; this shift makes hour 0 of the week Monday 0:00 to 1:00."""

_STEPS_A_MILE = 100
_MAX_STEPS = 60 * _STEPS_A_MILE
"""Distances are published in hundredths of a mile; more than 60 miles is a meter fault."""

_MAX_PASSENGERS = 9

_STEPS_A_MINUTE = 10
_MAX_MINUTE_STEPS = 120 * _STEPS_A_MINUTE
"""Kept trips last 60 minutes at most; the rest of the grid is for other limits."""

OTHERS: Final = "others"
"""Name of the bin of the rare values."""

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Feature:
    """A request feature whose distribution is monitored.

    Attributes:
        name: Name in records, charts and checks.
        count: Maps the trips of a month to trips per value, always of the same length.
        bin_index: Maps the reference counts to the bin of each value, numbered from 0.
        label: Maps a value to its name in a chart.
    """

    name: str
    count: Callable[[pl.DataFrame], Counts]
    bin_index: Callable[[Counts], Counts]
    label: Callable[[int], str] = str

    def bin_labels(self, bin_index: Counts) -> list[str]:
        """Return the name of each bin: that of its value, of its range, or ``others``.

        Args:
            bin_index: The bin of each value, as ``self.bin_index`` gave it, shape (values,).
        """
        labels = []
        for number in range(int(bin_index.max()) + 1):
            values = np.flatnonzero(bin_index == number)
            if len(values) == 1:
                labels.append(self.label(int(values[0])))
            elif self.bin_index is quantile_bins:
                labels.append(_range(self.label, bin_index, values))
            else:
                labels.append(OTHERS)
        return labels


def _range(label: Callable[[int], str], bin_index: Counts, values: Counts) -> str:
    """Name a bin of adjacent values: from the first to below the next bin's first."""
    first, after = int(values[0]), int(values[-1]) + 1
    if after == len(bin_index):
        return f"{label(first)} or more"
    return f"{label(first)} to {label(after)}"


def count_month(trips: pl.DataFrame, features: "Iterable[Feature] | None" = None) -> MonthCounts:
    """Count the trips per value of every feature.

    Args:
        trips: Request columns, and ``duration_minutes`` for the features in ``OUTCOMES``.
        features: ``FEATURES``, unless others are given.
    """
    return {each.name: each.count(trips) for each in (FEATURES if features is None else features)}


def sum_counts(months: Iterable[MonthCounts]) -> MonthCounts:
    """Sum the counts of one or more months."""
    total: dict[str, Counts] = {}
    for counts in months:
        for name, values in counts.items():
            total[name] = total[name] + values if name in total else values
    return total


def bin_counts(counts: Counts, bin_index: Counts) -> Counts:
    """Sum counts per value to counts per bin.

    Args:
        counts: Trips per value, shape (values,).
        bin_index: The bin of each value, shape (values,).
    """
    return np.bincount(bin_index, weights=counts, minlength=int(bin_index.max()) + 1).astype(
        np.int64
    )


def rare_values_pooled(reference: Counts) -> Counts:
    """Give each value with at least ``MIN_SHARE`` of the trips its own bin and pool the others."""
    frequent = reference >= max(MIN_SHARE * reference.sum(), 1)
    return np.where(frequent, np.cumsum(frequent), 0)


def quantile_bins(reference: Counts) -> Counts:
    """Split the ordered values into at most ``DISTANCE_BINS`` bins of about equal counts."""
    below = np.concatenate([[0], np.cumsum(reference)[:-1]]) / max(reference.sum(), 1)
    part = np.floor(below * DISTANCE_BINS).clip(0, DISTANCE_BINS - 1)
    return np.unique(part, return_inverse=True)[1].astype(np.int64)


def identity_bins(reference: Counts) -> Counts:
    """Give each value its own bin."""
    return np.arange(len(reference))


def _zones(column: str) -> Callable[[pl.DataFrame], Counts]:
    def count(trips: pl.DataFrame) -> Counts:
        return np.bincount(trips[column].to_numpy(), minlength=ZONE_CODES)

    return count


def _borough_pairs(trips: pl.DataFrame) -> Counts:
    names, borough = np.unique(borough_by_location(), return_inverse=True)
    pickup, dropoff = (borough[trips[name].to_numpy()] for name in REQUEST_COLUMNS[:2])
    return np.bincount(pickup * len(names) + dropoff, minlength=len(names) ** 2)


def hours_of_week(trips: pl.DataFrame) -> Counts:
    """Count trips by the hour of the week of their pick-up, from Monday 0:00."""
    hours = trips["pickup_datetime"].dt.epoch("s").to_numpy() // 3600
    return np.bincount((hours + _MONDAY_OFFSET) % HOURS_A_WEEK, minlength=HOURS_A_WEEK)


def _distances(trips: pl.DataFrame) -> Counts:
    """Count trips by their miles; requests that leave them out do not count."""
    steps = np.rint(trips["trip_distance"].drop_nulls().to_numpy() * _STEPS_A_MILE)
    return np.bincount(steps.clip(0, _MAX_STEPS).astype(np.int64), minlength=_MAX_STEPS + 1)


def _passengers(trips: pl.DataFrame) -> Counts:
    """Count trips with 0 to 9 passengers; the last value is "unknown", as models read it."""
    passengers = trips["passenger_count"].fill_null(-1).to_numpy()
    counted = (passengers >= 0) & (passengers <= _MAX_PASSENGERS)
    codes = np.where(counted, passengers, _MAX_PASSENGERS + 1).astype(np.int64)
    return np.bincount(codes, minlength=_MAX_PASSENGERS + 2)


def _durations(trips: pl.DataFrame) -> Counts:
    steps = np.rint(trips[TARGET.name].to_numpy() * _STEPS_A_MINUTE)
    return np.bincount(
        steps.clip(0, _MAX_MINUTE_STEPS).astype(np.int64), minlength=_MAX_MINUTE_STEPS + 1
    )


def _borough_pair_label(code: int) -> str:
    names = np.unique(borough_by_location())
    return f"{names[code // len(names)]} to {names[code % len(names)]}"


def _hour_label(hour: int) -> str:
    return f"{_DAYS[hour // 24]} {hour % 24}:00"


def _passenger_label(passengers: int) -> str:
    return str(passengers) if passengers <= _MAX_PASSENGERS else "unknown"


FEATURES: Final = (
    Feature("pickup_zone", _zones("PULocationID"), rare_values_pooled),
    Feature("dropoff_zone", _zones("DOLocationID"), rare_values_pooled),
    Feature("borough_pair", _borough_pairs, rare_values_pooled, _borough_pair_label),
    Feature("hour_of_week", hours_of_week, identity_bins, _hour_label),
    Feature("trip_distance", _distances, quantile_bins, lambda step: f"{step / _STEPS_A_MILE:g}"),
    Feature("passenger_count", _passengers, identity_bins, _passenger_label),
)
"""The monitored features: every field of a request, and the pair of boroughs."""

OUTCOMES: Final = (
    Feature(TARGET.name, _durations, quantile_bins, lambda step: f"{step / _STEPS_A_MINUTE:g}"),
)
"""What is known only after a trip. Its drift is shown, and starts no retraining: what it means for
predictions is what their error measures."""


_PSEUDO_COUNT = 0.5


def population_stability_index(reference: Counts, month: Counts) -> float:
    r"""Compute the population stability index, less its expectation under no drift.

    .. math:: \sum_i (q_i - p_i) \ln(q_i / p_i) - (B - 1) (1 / N + 1 / M)

    for shares p of N reference trips and q of M trips in B bins: the index of Siddiqi (2006),
    *Credit Risk Scorecards*, Wiley, chapter 8, less its expectation under equal distributions
    (Yurdakul 2018, *Statistical Properties of Population Stability Index*, Western Michigan
    University: approximately χ² with B - 1 degrees of freedom times (1/N + 1/M)). Half a trip is
    added to every bin (Jeffreys prior), since an empty bin would make the index infinite; with few
    trips this shrinks the shares together and biases the index towards 0.

    Args:
        reference: Trips per bin, shape (B,).
        month: Trips per bin, shape (B,).

    Returns:
        The index, 0 where it does not exceed its expectation. By convention, below 0.1 is no
        significant shift and above 0.25 a major one.
    """
    trips, others = int(reference.sum()), int(month.sum())
    used = reference + month > 0
    bins = int(np.count_nonzero(used))
    if bins < 2 or not trips or not others:
        return 0.0
    p = (reference[used] + _PSEUDO_COUNT) / (trips + _PSEUDO_COUNT * bins)
    q = (month[used] + _PSEUDO_COUNT) / (others + _PSEUDO_COUNT * bins)
    moved = float(np.sum((q - p) * np.log(q / p)))
    return max(moved - (bins - 1) * (1 / trips + 1 / others), 0.0)
