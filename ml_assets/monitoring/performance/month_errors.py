"""Where a champion is wrong, by month: kept beside its scores, one small record each.

They are measured with the score, so that a month is not predicted again for them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field
from sklearn.pipeline import Pipeline

from ml_assets.evaluation.error_profile import ErrorProfile, profile_errors
from ml_assets.evaluation.interval_coverage import measure_intervals
from ml_assets.evaluation.metrics import measure_slices, pair_codes
from ml_assets.evaluation.records import IntervalRecord, SliceRecord
from ml_assets.monitoring.performance.records import Score
from ml_assets.pipeline.conformal_intervals import seen_pairs
from ml_assets.pipeline.predict import without_distance
from ml_assets.storage import filesystem
from ml_assets.storage.former_names import StoredRecord
from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.record_store import RecordStore, UnreadableRecord

_PAIRS = "pair/"


class ModeErrors(StoredRecord):
    """Errors by slice and coverage of the intervals in one mode of a request.

    Attributes:
        interval: None for a model without intervals.
    """

    slices: list[SliceRecord] = Field(default_factory=list)
    interval: IntervalRecord | None = None


class MonthErrors(StoredRecord):
    """Where one registered version is wrong on one month.

    Attributes:
        profile: Errors in fixed bins.
        stated, usual: Slices and intervals, with the metered distances and without distances.
    """

    version: str
    profile: ErrorProfile
    stated: ModeErrors
    usual: ModeErrors

    @property
    def coverages(self) -> tuple[float | None, float | None]:
        """Shares of the trips in the intervals, with the metered distances and without."""
        stated, usual = self.stated.interval, self.usual.interval
        return (
            None if stated is None else stated.coverage,
            None if usual is None else usual.coverage,
        )


def measure_month_errors(
    champion: ModelVersion,
    pipeline: Any,
    trips: pd.DataFrame,
    predicted: npt.NDArray[np.float64],
    predicted_usual: npt.NDArray[np.float64],
    *,
    month: str,
    raw_sha256: str,
) -> MonthErrors:
    """Measure where a champion's predictions of a month are wrong.

    Args:
        pipeline: Its fitted pipeline, with or without intervals.
        trips: Request columns and ``duration_minutes``, one row per kept trip.
        predicted: Minutes with the metered distances, shape (rows,).
        predicted_usual: Minutes without distances, shape (rows,).

    Raises:
        ValueError: The numbers of rows differ, or a prediction is not finite.
    """
    requests = without_distance(trips)
    pairs, knows_pairs = np.array([], dtype=np.int64), False
    fitted = isinstance(pipeline, Pipeline)
    if fitted:
        zones = (trips[name].to_numpy() for name in ("PULocationID", "DOLocationID"))
        seen = seen_pairs(pipeline, *zones)
        if seen is not None:
            pairs, knows_pairs = np.unique(pair_codes(trips)[seen]), True

    def mode(rows: pd.DataFrame, minutes: npt.NDArray[np.float64]) -> ModeErrors:
        slices = measure_slices(rows, minutes, pairs)
        return ModeErrors(
            slices=[s for s in slices if knows_pairs or not s.slice.startswith(_PAIRS)],
            interval=measure_intervals(pipeline, rows, minutes, pairs if knows_pairs else None)
            if fitted
            else None,
        )

    return MonthErrors(
        version=champion.version,
        profile=profile_errors(
            trips,
            predicted,
            predicted_usual,
            model=champion.model,
            month=month,
            raw_sha256=raw_sha256,
            run_id=champion.run_id,
        ),
        stated=mode(trips, predicted),
        usual=mode(requests, predicted_usual),
    )


@dataclass(frozen=True)
class KeptErrors:
    """The kept errors of champions by month, in the records of ``prediction_performance``."""

    records: RecordStore

    def find(self, score: Score) -> MonthErrors | None:
        """Return the errors that were measured with a score; None without readable ones."""
        try:
            found = self.records.find(_name(score), MonthErrors)
        except UnreadableRecord:
            return None  # measured and written again
        if found is None:
            return None
        profile = found.profile
        return found if (profile.raw_sha256, profile.trips) == score.key[2:] else None

    def write(self, score: Score, errors: MonthErrors) -> None:
        """Keep the errors of a score, in place of those of an earlier file of its month."""
        self.records.write(_name(score), errors)

    def remove(self, scores: Iterable[Score]) -> None:
        """Remove the errors of scores that are no longer kept."""
        for score in scores:
            path = self.records.path(_name(score))
            if filesystem.exists(path):
                filesystem.remove(path)


def _name(score: Score) -> str:
    return f"prediction_performance/errors/{score.month}/{score.champion.replace('@', '-')}"
