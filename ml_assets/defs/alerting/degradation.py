"""The sensor that sends alerts about degradation that retraining did not fix."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC

import dagster as dg
from pydantic import BaseModel

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.messages import Degradation, degraded, unreadable
from ml_assets.alerts.notifier import Notifier
from ml_assets.defs.alerting.decisions import summarize
from ml_assets.defs.cursor import load_cursor, skip
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.records import ChampionDecision
from ml_assets.monitoring.drift.records import DriftRecord
from ml_assets.monitoring.performance.records import PerformanceRecord
from ml_assets.monitoring.retrain_rule import decide
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.secrets import scrub
from ml_assets.storage.record_store import UnreadableRecord
from ml_assets.trips.month import utc_now

DEGRADATION = "alert_on_degradation"
_MAX_KINDS = 100


class AlertCursor(BaseModel):
    """Cursor: the kinds of the alerts that were sent."""

    kinds: list[str] = []


@dataclass(frozen=True)
class Measured:
    """A measure, the asset that computes it, and its record."""

    name: str
    asset: str
    record: DriftRecord | PerformanceRecord

    @property
    def contents(self) -> dict[str, str]:
        """Checksums of the published files, by month, of months not used in the training."""
        record = self.record
        entries = record.new_months if isinstance(record, DriftRecord) else record.new_scores
        return {entry.month: entry.raw_sha256 for entry in entries}


_MEASURES: tuple[tuple[str, str, type[DriftRecord] | type[PerformanceRecord]], ...] = (
    ("drift", "feature_drift", DriftRecord),
    ("decay", "prediction_performance", PerformanceRecord),
)


def degradation_alert_sensor(
    notifier: Notifier, seconds: int, description: str
) -> dg.SensorDefinition:
    """Build the sensor that alerts once per month of unresolved degradation."""

    @dg.sensor(
        name=DEGRADATION,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def alert_on_degradation(
        context: dg.SensorEvaluationContext, trip_store: TripStoreResource
    ) -> dg.SensorResult:
        sent = load_cursor(AlertCursor, context.cursor).kinds
        notify = replace(notifier, logger=context.log)
        try:
            alerts = _alerts(trip_store, notify)
        except (UnreadableRecord, OSError) as error:  # alert_on_decisions reports such decisions
            return dg.SensorResult(skip_reason=scrub(str(error)))
        new = [alert for alert in alerts if alert.kind not in sent]
        outcomes = [f"{alert.kind}: {notify.send(alert)}" for alert in new]
        present = {alert.kind for alert in alerts}
        kept = [kind for kind in sent if kind in present or not kind.startswith("unreadable")]
        kinds = [*kept, *(alert.kind for alert in new)][-_MAX_KINDS:]
        reason = " | ".join(outcomes) or f"{len(alerts)} unresolved, nothing new to report"
        return skip(reason, AlertCursor(kinds=kinds))

    return alert_on_degradation


def _alerts(trip_store: TripStoreResource, notifier: Notifier) -> list[Alert]:
    """Return the alerts that apply now, whether they were sent before or not.

    Raises:
        UnreadableRecord: when a decision cannot be read.
        OSError: when the home cannot be read.
    """
    records, ui_url = trip_store.records(), notifier.settings.ui_url
    decisions = DecisionLog(records.home, records.dataset).all()
    alerts = []
    for name, asset, kind in _MEASURES:
        try:
            record = records.find(asset, kind)
        except UnreadableRecord as error:
            message = scrub(str(error))
            alerts.append(unreadable(f"record of {asset}", asset, ui_url, message, notifier.now()))
            continue
        if record is None:
            continue
        found = unresolved_degradation(Measured(name, asset, record), decisions)
        if found is not None:
            alerts.append(degraded(found, ui_url))
    return alerts


def unresolved_degradation(
    measured: Measured, decisions: Sequence[ChampionDecision]
) -> Degradation | None:
    """Return the degradation that would trigger retraining, had it not been trained on already.

    Args:
        measured: Newest measurement of the champion.
        decisions: Every decision, oldest first.

    Returns:
        None when it is within its limits, when another version is champion, or when a training on
        the months' current content has not happened yet.
    """
    record = measured.record
    applied = [decision for decision in decisions if decision.applied]
    trainings = [decision for decision in applied if decision.kind == "training"]
    if not trainings or applied[-1].registry_version != record.version:
        return None
    last = trainings[-1]
    decision = decide(record.monthly_values, None, utc_now())  # no cool-down: time does not matter
    latest = str(decision.breached[-1]) if decision.retrain else ""
    if not latest or not _trained_on(last, measured, latest):
        return None
    return Degradation(
        measure=measured.name,
        asset=measured.asset,
        dataset=record.dataset,
        version=record.version or "",
        latest=latest,
        sentence=decision.reason,
        since=decision.breached[0].start.replace(tzinfo=UTC),
        training=summarize(last),
    )


def _trained_on(last: ChampionDecision, measured: Measured, month: str) -> bool:
    """Whether a training was evaluated on this month's current content, or on a later month."""
    before = {use.month: use.raw_sha256 for use in last.months}
    content = measured.contents[month]
    return last.test_month >= month and before.get(month, content) == content
