"""The champion's error on stored months, with and without distances, each scored once."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline as FittedPipeline

from ml_assets.evaluation.error_profile import profile_errors
from ml_assets.evaluation.interval_coverage import measure_intervals
from ml_assets.evaluation.metrics import measure, measure_slices, pair_codes
from ml_assets.evaluation.records import DEFAULT_SHARE_STATED
from ml_assets.monitoring import MEASURED, TooFewTrips, measure_months
from ml_assets.monitoring.performance.records import (
    KeptErrors,
    ModeErrors,
    MonthErrors,
    PerformanceRecord,
    Reference,
    Score,
)
from ml_assets.pipeline.conformal_intervals import seen_pairs
from ml_assets.pipeline.predict import predict_modes, without_distance
from ml_assets.secrets import ShownError, error_text
from ml_assets.storage.model_version import ModelVersion
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.training_set import COLUMNS, concat_months
from ml_assets.trips.month import Month
from ml_assets.trips.target import TARGET

TABLE = "trip_features"

MAX_MONTHS = 6
"""How many of the newest stored months are scored: the five that the retraining rule considers and
one more. The champion's test month is scored as well, however old."""

MIN_TRIPS = 100
"""With fewer trips the error is mostly noise."""

_MIN_SPREAD_MINUTES = 0.01
"""Lower bound of the standard deviation, for a month of trips with equal durations."""

Pipeline = Any
"""A fitted pipeline, from request columns to minutes."""


class ScoringFailed(ShownError, RuntimeError):
    """The champion cannot be loaded or does not predict finite minutes."""


def measure_performance(
    store: TripStore,
    champion: ModelVersion,
    load: Callable[[], Pipeline],
    earlier: PerformanceRecord | None = None,
    allowance: float | None = None,
    share_stated: float = DEFAULT_SHARE_STATED,
    rejected: Mapping[Month, str] | None = None,
    errors: KeptErrors | None = None,
) -> PerformanceRecord:
    """Score the champion on the newest stored months and on its test month.

    Months are read one at a time, and only those not scored before. A republished month is scored
    again, and so is one that an old version scored with the metered distances only.

    Args:
        load: Loads the champion's pipeline; called only when a month must be scored.
        earlier: The previous record, whose scores and references are kept.
        allowance: How far the relative error may exceed the reference, from a backtest.
        share_stated: Share of requests that state their distance, by which the errors are weighted.
        rejected: Months that a data rule rejects, with the reason; they are skipped, as their
            labels are not reliable.
        errors: Where the errors by zone, hour, distance and slice are kept; a month without kept
            ones is scored again. None keeps none.

    Raises:
        ScoringFailed: The champion cannot be loaded or does not predict finite minutes.
    """
    record = earlier or PerformanceRecord(dataset=store.dataset, synthetic=store.synthetic)
    scorer = _Scorer(store, champion, load, record, errors)
    stored = store.months(TABLE)
    months = set(stored[-MAX_MONTHS:])
    months |= {month for month in stored if str(month) == champion.test_month}
    scores, skipped = measure_months(sorted(months), scorer.score, rejected)
    before = record.scores
    record = record.add_score(*scores)
    if errors is not None:
        names = {(score.champion, score.month) for score in record.scores}
        errors.remove(each for each in before if (each.champion, each.month) not in names)
    record = record.model_copy(
        update={
            "status": MEASURED,
            "why": "",
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": champion.version,
            "run_id": champion.run_id,
            "model": champion.model,
            "allowance": allowance,
            "share_stated": share_stated,
            "skipped": skipped,
        }
    )
    reference = record.references.get(champion.identity)
    if reference is None or reference.relative_error_usual is None:  # by an old version
        reference = _reference(champion, scores) or reference
    if reference is None:
        return record
    references = {**record.references, champion.identity: reference}
    return record.model_copy(update={"references": references})


def make_score(
    champion: ModelVersion,
    month: str,
    raw_sha256: str,
    actual: npt.ArrayLike,
    predicted: npt.ArrayLike,
    predicted_usual: npt.ArrayLike,
) -> Score:
    """Compute the score of given predictions.

    Args:
        actual: Minutes of every kept trip of the month, shape (n,).
        predicted: Minutes with the metered distances in the same order, shape (n,).
        predicted_usual: Minutes without distances in the same order, shape (n,).

    Raises:
        ValueError: The two differ in length or have non-finite values.
    """
    metrics, usual = measure(actual, predicted), measure(actual, predicted_usual)
    spread = max(float(np.std(np.asarray(actual, dtype=np.float64))), _MIN_SPREAD_MINUTES)
    return Score(
        version=champion.version,
        model=champion.model,
        month=month,
        raw_sha256=raw_sha256,
        trips=metrics.rows,
        rmse=metrics.rmse,
        mae=metrics.mae,
        relative_error=metrics.rmse / spread,
        seen=champion.has_seen(month),
        run_id=champion.run_id,
        rmse_usual=usual.rmse,
        mae_usual=usual.mae,
        relative_error_usual=usual.rmse / spread,
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
    fitted = isinstance(pipeline, FittedPipeline)
    if fitted:
        zones = (trips[name].to_numpy() for name in ("PULocationID", "DOLocationID"))
        seen = seen_pairs(pipeline, *zones)
        if seen is not None:
            pairs, knows_pairs = np.unique(pair_codes(trips)[seen]), True

    def mode(rows: pd.DataFrame, minutes: npt.NDArray[np.float64]) -> ModeErrors:
        slices = measure_slices(rows, minutes, pairs)
        return ModeErrors(
            slices=[s for s in slices if knows_pairs or not s.slice.startswith("pair/")],
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


class _Scorer:
    """Scores months; loads the pipeline only when a month was not scored before."""

    def __init__(
        self,
        store: TripStore,
        champion: ModelVersion,
        load: Callable[[], Pipeline],
        earlier: PerformanceRecord,
        errors: KeptErrors | None,
    ) -> None:
        self._store = store
        self._champion = champion
        self._load = load
        self._earlier = earlier
        self._errors = errors
        self._pipeline: Pipeline | None = None

    def score(self, month: Month) -> Score:
        lineage, rows = self._store.lineage(TABLE, month)
        known = self._earlier.find((self._champion.identity, str(month), lineage.raw_sha256, rows))
        if known is not None and known.rmse_usual is not None and self._has_errors(known):
            return known
        if rows < MIN_TRIPS:
            raise TooFewTrips(f"{rows} trips, a score needs at least {MIN_TRIPS}")
        trips = concat_months([self._store.read_table(TABLE, month, COLUMNS)], rows)
        predicted = self._predict(trips)
        score = make_score(
            self._champion, str(month), lineage.raw_sha256, trips[TARGET.name], *predicted
        )
        if self._errors is None:
            return score
        found = measure_month_errors(
            self._champion,
            self._pipeline,
            trips,
            *predicted,
            month=str(month),
            raw_sha256=lineage.raw_sha256,
        )
        coverage, coverage_usual = found.coverages
        score = score.model_copy(update={"coverage": coverage, "coverage_usual": coverage_usual})
        self._errors.write(score, found)
        return score

    def _has_errors(self, known: Score) -> bool:
        """Whether the errors of a score are kept, or need not be."""
        return self._errors is None or self._errors.find(known) is not None

    def _predict(self, trips: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Predict minutes with and without distances, shape (2, n).

        Raises:
            ScoringFailed: That fails, or they are not all finite.
        """
        try:
            if self._pipeline is None:
                self._pipeline = self._load()
            predicted = predict_modes(self._pipeline, trips)
        except Exception as error:
            raise ScoringFailed(
                f"the champion ({self._champion}) can no longer be scored ({error_text(error)})"
            ) from error
        minutes = np.asarray(predicted, dtype=np.float64)
        if not np.isfinite(minutes).all():
            raise ScoringFailed(
                f"the champion ({self._champion}) can no longer be scored: not all minutes are "
                "finite"
            )
        return minutes


def _reference(champion: ModelVersion, scores: Sequence[Score]) -> Reference | None:
    """Return the champion's relative errors on its test month; None when that was not scored.

    A champion that was refitted on all months has seen its test month. Then the test RMSE from the
    registry, which was measured before the refit, takes the place of the measured one.
    """
    test = next((score for score in scores if score.month == champion.test_month), None)
    if test is None:
        return None
    error, usual = test.relative_error, test.relative_error_usual
    if champion.test_month in champion.training_months and champion.test_rmse is not None:
        error *= champion.test_rmse / test.rmse
        usual = None
        if champion.test_rmse_usual is not None:
            usual = champion.test_rmse_usual * test.relative_error / test.rmse
    seen = (
        *champion.training_months,
        *(m for m in champion.validation_months if m != champion.test_month),
    )
    return Reference(
        version=champion.version,
        month=champion.test_month,
        relative_error=error,
        relative_error_usual=usual,
        newest_fitted=max(seen, default=""),
    )
