"""Monitoring: feature drift, the champion's error on new months, and when to retrain."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, TypeVar

from ml_assets.storage.former_names import StoredRecord
from ml_assets.storage.model_version import identity
from ml_assets.storage.trip_store import CorruptMonth, MonthNotFound
from ml_assets.trips.month import Month

Status = Literal["measured", "no_champion", "dataset_mismatch", "scoring_failed", "no_reference"]
"""Whether months were measured, or why not: ``scoring_failed`` is a champion that no longer
predicts, ``no_reference`` one without a stored month."""

MEASURED: Final = "measured"


class MonthlyRecord(StoredRecord):
    """Measurements of a champion on months.

    Attributes:
        why: Why nothing could be measured, in one sentence.
        measured_at: Time of the measurement, ISO 8601 with offset.
        version: The champion's registry version; None without a champion.
    """

    dataset: str
    synthetic: bool
    status: Status = MEASURED
    why: str = ""
    measured_at: str = ""
    version: str | None = None
    run_id: str = ""
    model: str | None = None

    @property
    def champion(self) -> str:
        """Identity of the current champion, unique across registries; empty without one."""
        return identity(self.version or "", self.run_id)


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
