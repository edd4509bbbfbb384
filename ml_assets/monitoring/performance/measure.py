"""The serving champion's error on months with labels, scored once each."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.evaluation.metrics import measure
from ml_assets.monitoring.performance.records import (
    PerformanceRecord,
    Reference,
    Score,
)
from ml_assets.monitoring.status import MEASURED
from ml_assets.pipeline.predict import predict_trips
from ml_assets.secrets import ShownError, error_text
from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.trip_store import CorruptMonth, MonthNotFound, TripStore
from ml_assets.training.training_set import COLUMNS, concat_months
from ml_assets.trips.month import Month
from ml_assets.trips.rules import TARGET

TABLE = "trip_features"

MAX_MONTHS = 6
"""So many of the newest stored months are scored: the five that the rule on retraining looks at and
one before them. The month that judged the champion is scored as well, however old."""

MIN_TRIPS = 100
"""The error on fewer trips is mostly chance."""

_MIN_SPREAD_MINUTES = 0.01
"""A month all of whose trips last the same has no spread to compare with."""

Pipeline = Any
"""A fitted pipeline, from request columns to minutes."""


class ScoringFailed(ShownError, RuntimeError):
    """The champion does not predict; says why."""


def measure_performance(
    store: TripStore,
    champion: ModelVersion,
    load: Callable[[], Pipeline],
    earlier: PerformanceRecord | None = None,
    allowance: float | None = None,
    refused: Mapping[Month, str] | None = None,
) -> PerformanceRecord:
    """Score the champion on the newest stored months and on the one that judged it.

    One month is in memory at a time, and only months that it was not scored on before are read. A
    month that was published anew is scored again.

    Args:
        store: Where the months lie.
        champion: Of the store's dataset.
        load: Loads its pipeline; called when a month has to be scored.
        earlier: The record before, whose scores and references are kept.
        allowance: By how much the relative error may exceed the reference, from a backtest.
        refused: Months that nothing is to be learned from, and why: their labels are not trusted.

    Raises:
        ScoringFailed: when it cannot be loaded, or does not predict finite minutes.
    """
    record = earlier or PerformanceRecord(dataset=store.dataset, synthetic=store.synthetic)
    bench = _Bench(store, champion, load, record)
    stored = store.months(TABLE)
    wanted = set(stored[-MAX_MONTHS:])
    wanted |= {month for month in stored if str(month) == champion.judged_month}
    skipped: dict[str, str] = {}
    scores = []
    for month in sorted(wanted):
        if refused and month in refused:
            skipped[str(month)] = f"a data rule refuses it: {refused[month]}"
            continue
        try:
            scores.append(bench.score(month))
        except (CorruptMonth, MonthNotFound, TooFewTrips) as error:
            skipped[str(month)] = str(error)
    record = record.add_score(*scores).model_copy(
        update={
            "status": MEASURED,
            "why": "",
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": champion.version,
            "run_id": champion.run_id,
            "model": champion.model,
            "allowance": allowance,
            "skipped": skipped,
        }
    )
    reference = record.references.get(champion.identity) or _reference(champion, scores)
    if reference is None:
        return record
    references = {**record.references, champion.identity: reference}
    return record.model_copy(update={"references": references})


def score_of(
    champion: ModelVersion,
    month: str,
    raw_sha256: str,
    actual: npt.ArrayLike,
    predicted: npt.ArrayLike,
) -> Score:
    """The score of predictions that somebody has already made.

    Args:
        champion: Whose they are.
        month: ``YYYY-MM``.
        raw_sha256: Of the month's published file.
        actual: Minutes of every kept trip of the month, shape (n,).
        predicted: Minutes in the same order.

    Raises:
        ValueError: when the two differ in length or hold what is no finite number.
    """
    found = measure(actual, predicted)
    spread = max(float(np.std(np.asarray(actual, dtype=np.float64))), _MIN_SPREAD_MINUTES)
    return Score(
        version=champion.version,
        model=champion.model,
        month=month,
        raw_sha256=raw_sha256,
        trips=found.rows,
        rmse=found.rmse,
        mae=found.mae,
        relative_error=found.rmse / spread,
        seen=champion.has_seen(month),
        run_id=champion.run_id,
    )


class TooFewTrips(ValueError):
    """A month that tells nothing; says how many trips it has and how many it takes."""


class _Bench:
    """Scores months, and loads the pipeline when the first of them was not scored before."""

    def __init__(
        self,
        store: TripStore,
        champion: ModelVersion,
        load: Callable[[], Pipeline],
        earlier: PerformanceRecord,
    ) -> None:
        self._store = store
        self._champion = champion
        self._load = load
        self._earlier = earlier
        self._pipeline: Pipeline | None = None

    def score(self, month: Month) -> Score:
        lineage, rows = self._store.lineage(TABLE, month)
        known = self._earlier.find((self._champion.identity, str(month), lineage.raw_sha256, rows))
        if known is not None:
            return known
        if rows < MIN_TRIPS:
            raise TooFewTrips(f"{rows} trips: an error on fewer than {MIN_TRIPS} is chance")
        trips = self._trips(month, rows)
        predicted = self._predict(trips)
        return score_of(self._champion, str(month), lineage.raw_sha256, trips[TARGET], predicted)

    def _trips(self, month: Month, rows: int) -> pd.DataFrame:
        return concat_months([self._store.read_table(TABLE, month, COLUMNS)], rows)

    def _predict(self, trips: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Minutes of the trips.

        Raises:
            ScoringFailed: when there are none.
        """
        try:
            if self._pipeline is None:
                self._pipeline = self._load()
            predicted = predict_trips(self._pipeline, trips)
        except Exception as error:
            raise ScoringFailed(
                f"the champion ({self._champion}) can no longer be scored ({error_text(error)})"
            ) from error
        minutes = np.asarray(predicted, dtype=np.float64)
        if not np.isfinite(minutes).all():
            raise ScoringFailed(
                f"the champion ({self._champion}) can no longer be scored: not all minutes finite"
            )
        return minutes


def _reference(champion: ModelVersion, scores: Sequence[Score]) -> Reference | None:
    """What the champion is held against: its relative error on the month that judged it.

    One that was fitted again on all months has seen that month: then the figure of the judged fit
    is taken, which the registry keeps, over the month's own spread.
    """
    judged = next((score for score in scores if score.month == champion.judged_month), None)
    if judged is None:
        return None
    error = judged.relative_error
    if champion.judged_month in champion.fitted_on and champion.test_rmse is not None:
        error *= champion.test_rmse / judged.rmse
    seen = (*champion.fitted_on, *(m for m in champion.tuned_on if m != champion.judged_month))
    return Reference(
        version=champion.version,
        month=champion.judged_month,
        relative_error=error,
        newest_fitted=max(seen, default=""),
    )
