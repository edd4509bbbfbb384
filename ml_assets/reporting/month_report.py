"""The essentials of a month from the kept records: its trips, the champion's error, the drift."""

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import BaseModel, Field

from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.evaluation.records import DROPOFF_ZONE, PICKUP_ZONE, BinnedErrors, SliceRecord
from ml_assets.monitoring import MEASURED
from ml_assets.monitoring.data_profile.records import DataProfile
from ml_assets.monitoring.drift.records import DriftRecord
from ml_assets.monitoring.performance.records import MonthErrors, PerformanceRecord, Score
from ml_assets.trips.month import Month

WORST: Final = 3
"""How many slices and zones with the largest error are named."""

MIN_ZONE_TRIPS: Final = 100
"""Zones with fewer trips are not named: their error is mostly noise."""


class Trips(BaseModel):
    """The published trips of a month.

    Attributes:
        rejected: Rejected rows by reason, the most frequent first; none with 0 rows.
        empty_columns: Columns without any value.
    """

    published: int
    kept: int
    rejected: dict[str, int]
    empty_columns: list[str]


class Worst(BaseModel):
    """A slice or zone with a large error: its RMSE in minutes, and its trips."""

    name: str
    rmse: float
    trips: int


class ChampionError(BaseModel):
    """The champion's error on the month.

    Attributes:
        rmse, mae: Minutes, with the metered distances; those that end with ``_usual`` are without.
        coverage: Share of the trips in the intervals; None if unknown.
        relative_error: Relative error of requests as they are made, which has the limit.
        limit: None without a reference.
        seen: Whether it was trained or tuned on the month, which makes the error optimistic.
        worst: Slices, then zones, with the largest RMSE with the metered distances.
    """

    model: str
    version: str
    trips: int
    rmse: float
    mae: float
    rmse_usual: float | None
    mae_usual: float | None
    coverage: float | None
    coverage_usual: float | None
    relative_error: float
    limit: float | None
    seen: bool
    worst: list[Worst] = Field(default_factory=list)


class Drift(BaseModel):
    """Population stability indexes of a month, by feature, the largest first.

    Attributes:
        outcomes: Those of the durations, which have no limit.
        reference: The training months that it is compared with.
    """

    indexes: dict[str, float]
    outcomes: dict[str, float]
    limit: float
    reference: list[str]
    training_month: bool


class Decision(BaseModel):
    """A decision on the champion that was tested on the month."""

    decision_id: str
    promoted: bool
    reason: str


class MonthReport(BaseModel):
    """What is known about a month; None for what was not measured.

    Attributes:
        missing: Why a part is None, by part.
    """

    month: str
    dataset: str
    synthetic: bool
    trips: Trips | None = None
    champion: ChampionError | None = None
    drift: Drift | None = None
    decisions: list[Decision] = Field(default_factory=list)
    missing: dict[str, str] = Field(default_factory=dict)


def month_report(
    month: Month,
    dataset: str,
    synthetic: bool,
    *,
    profile: DataProfile | None = None,
    performance: PerformanceRecord | None = None,
    errors: MonthErrors | None = None,
    drift: DriftRecord | None = None,
    decisions: Sequence[ChampionDecision] = (),
    zone_names: Mapping[int, str] | None = None,
) -> MonthReport:
    """Put together what the records say about a month.

    Args:
        profile: The month's data profile.
        performance: Scores of the champion by month.
        errors: Where the current champion is wrong on this month.
        drift: Drift of the months from the current champion's training months.
        decisions: Decisions on this dataset, oldest first.
        zone_names: Names of the zones by number.
    """
    report = MonthReport(month=str(month), dataset=dataset, synthetic=synthetic)
    missing: dict[str, str] = {}
    if profile is None:
        missing["trips"] = "the month has no data profile: ingest it, or materialize data_profile"
    else:
        report.trips = _trips(profile)
    score = _score(performance, str(month))
    if performance is not None and score is not None:
        report.champion = _champion(performance, score, errors, zone_names or {})
    else:
        missing["champion"] = _why_not_measured(performance, str(month), "prediction_performance")
    entry = (
        next((each for each in drift.months if each.month == str(month)), None) if drift else None
    )
    if drift is not None and entry is not None:
        ranked = sorted(entry.psi.items(), key=lambda item: -item[1])
        report.drift = Drift(
            indexes=dict(ranked),
            outcomes=entry.outcome_psi,
            limit=drift.limit,
            reference=drift.reference,
            training_month=entry.in_reference,
        )
    else:
        missing["drift"] = _why_not_measured(drift, str(month), "feature_drift")
    report.decisions = [
        Decision(decision_id=each.decision_id, promoted=each.promoted, reason=each.reason)
        for each in decisions
        if each.test_month == str(month)
    ]
    report.missing = missing
    return report


def _trips(profile: DataProfile) -> Trips:
    rejected = sorted(profile.rejected.items(), key=lambda item: -item[1])
    return Trips(
        published=profile.rows,
        kept=profile.kept,
        rejected={reason: count for reason, count in rejected if count},
        empty_columns=[column.name for column in profile.columns if column.all_missing],
    )


def _score(performance: PerformanceRecord | None, month: str) -> Score | None:
    if performance is None:
        return None
    scores = performance.scores_of(performance.champion)
    return next((score for score in scores if score.month == month), None)


def _champion(
    performance: PerformanceRecord,
    score: Score,
    errors: MonthErrors | None,
    zone_names: Mapping[int, str],
) -> ChampionError:
    return ChampionError(
        model=score.model,
        version=score.version,
        trips=score.trips,
        rmse=score.rmse,
        mae=score.mae,
        rmse_usual=score.rmse_usual,
        mae_usual=score.mae_usual,
        coverage=score.coverage,
        coverage_usual=score.coverage_usual,
        relative_error=performance.error_of(score),
        limit=performance.limit_of(score.champion),
        seen=score.seen,
        worst=[]
        if errors is None
        else [
            *_worst_slices(errors.stated.slices),
            *_worst_zones(errors.profile.stated, PICKUP_ZONE, "from", zone_names),
            *_worst_zones(errors.profile.stated, DROPOFF_ZONE, "to", zone_names),
        ],
    )


def _worst_slices(slices: Sequence[SliceRecord]) -> list[Worst]:
    ranked = sorted(slices, key=lambda part: -part.metrics.rmse)
    return [
        Worst(name=part.slice, rmse=part.metrics.rmse, trips=part.metrics.rows)
        for part in ranked[:WORST]
    ]


def _worst_zones(
    errors: BinnedErrors, group: str, preposition: str, names: Mapping[int, str]
) -> list[Worst]:
    zones = errors.groups[group]
    enough = [
        Worst(
            name=f"{preposition} {names.get(int(zone), f'zone {zone:g}')}", rmse=rmse, trips=trips
        )
        for zone, rmse, trips in zip(zones.values, zones.rmse, zones.trips, strict=True)
        if trips >= MIN_ZONE_TRIPS
    ]
    return sorted(enough, key=lambda each: -each.rmse)[:WORST]


def _why_not_measured(
    record: PerformanceRecord | DriftRecord | None, month: str, asset: str
) -> str:
    if record is None:
        return f"nothing was measured yet: materialize {asset}"
    if record.status != MEASURED:
        return record.why
    if month in record.skipped:
        return record.skipped[month]
    return f"{asset} has not measured this month against version {record.version}"
