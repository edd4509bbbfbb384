"""Monitoring: feature drift, the champion's error on new months, and when to retrain."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, TypeVar

from ml_assets.storage.trip_store import CorruptMonth, MonthNotFound
from ml_assets.trips.month import Month

Status = Literal["measured", "no_champion", "dataset_mismatch", "scoring_failed", "no_reference"]
"""Whether months were measured, or why not: ``scoring_failed`` is a champion that no longer
predicts, ``no_reference`` one without a stored month."""

MEASURED: Final = "measured"

Measurement = TypeVar("Measurement")


class TooFewTrips(ValueError):
    """A month with too few trips to measure; the message has both numbers."""


def measure_months(
    months: Iterable[Month],
    measure: Callable[[Month], Measurement],
    rejected: Mapping[Month, str] | None,
) -> tuple[list[Measurement], dict[str, str]]:
    """Measure months one at a time; also return why others were skipped.

    Skipped are the months that a data rule rejects, damaged ones and those with too few trips.
    """
    measured: list[Measurement] = []
    skipped: dict[str, str] = {}
    for month in months:
        if rejected and month in rejected:
            skipped[str(month)] = f"rejected by a data rule: {rejected[month]}"
            continue
        try:
            measured.append(measure(month))
        except (CorruptMonth, MonthNotFound, TooFewTrips) as error:
            skipped[str(month)] = str(error)
    return measured, skipped
