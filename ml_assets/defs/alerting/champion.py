"""Sensors of alerts about the champion: promotion decisions, and unresolved degradation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import dagster as dg
from pydantic import BaseModel

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.messages import (
    DecisionSummary,
    Degradation,
    degraded,
    manual_change,
    repeated_rejections,
    should_notify,
    unreadable,
)
from ml_assets.alerts.notifier import Notifier
from ml_assets.defs.common import load_cursor, skip
from ml_assets.defs.monitoring.retrain_sensors import MEASURES
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.monitoring.drift.records import DriftRecord
from ml_assets.monitoring.performance.records import PerformanceRecord
from ml_assets.monitoring.retrain_rule import decide
from ml_assets.promotion.decision_log import position
from ml_assets.secrets import scrub
from ml_assets.storage.record_store import UnreadableRecord
from ml_assets.trips.month import utc_now

DECISIONS = "alert_on_decisions"
_PENDING_FOR = timedelta(hours=1)
"""How long a decision that is not applied yet may still be."""


class DecisionCursor(BaseModel):
    """Cursor: the newest decision processed, for one dataset.

    Attributes:
        dataset: The dataset; empty before the first tick that could read decisions.
        unreadable: The error reported for an unreadable file; empty when all can be read.
    """

    dataset: str = ""
    sequence: int = 0
    decided_at: str = ""
    decision_id: str = ""
    unreadable: str = ""


def decisions_sensor(notifier: Notifier, seconds: int, description: str) -> dg.SensorDefinition:
    """Build the sensor that sends alerts about decisions."""

    @dg.sensor(
        name=DECISIONS,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def alert_on_decisions(
        context: dg.SensorEvaluationContext, trip_store: TripStoreResource
    ) -> dg.SensorResult:
        notify = replace(notifier, logger=context.log)
        records, cursor = trip_store.records(), load_cursor(DecisionCursor, context.cursor)
        try:
            decisions = trip_store.decisions().all()
        except UnreadableRecord as error:
            return _unreadable(notify, cursor, scrub(str(error)))
        except OSError as error:
            return dg.SensorResult(skip_reason=scrub(str(error)))
        if cursor.dataset != records.dataset:
            newest = (
                _cursor_at(records.dataset, decisions[-1])
                if decisions
                else DecisionCursor(dataset=records.dataset)
            )
            return skip("starts with the next decision", newest)
        outcomes, cursor = _notify_new(notify, decisions, cursor)
        return skip(" | ".join(outcomes) or "no new decision to report", cursor)

    return alert_on_decisions


def _notify_new(
    notifier: Notifier, decisions: Sequence[ChampionDecision], cursor: DecisionCursor
) -> tuple[list[str], DecisionCursor]:
    """Send alerts about the decisions after the cursor; returns the outcomes and the new cursor."""
    outcomes = []
    cursor = cursor.model_copy(update={"unreadable": ""})
    for number, decision in enumerate(decisions, start=1):
        if position(decision) <= (cursor.sequence, cursor.decided_at, cursor.decision_id):
            continue
        pending = not decision.applied and notifier.now() - decided_at(decision) < _PENDING_FOR
        if pending:
            break
        alert = decision_alert(decisions[:number], notifier.settings.ui_url)
        if alert is not None:
            outcomes.append(f"decision {decision.decision_id}: {notifier.send(alert)}")
        cursor = _cursor_at(cursor.dataset, decision)
    return outcomes, cursor


def decision_alert(decisions: Sequence[ChampionDecision], ui_url: str) -> Alert | None:
    """Return the alert about the last of these decisions; None when there is nothing to report."""
    last = decisions[-1]
    if not last.applied:
        return None
    if last.kind in ("rollback", "override"):
        return manual_change(summarize(last), ui_url, rolled_back=last.kind == "rollback")
    rejections = consecutive_rejections(decisions)
    if should_notify(len(rejections)):
        return repeated_rejections([summarize(each) for each in rejections], ui_url)
    return None


def consecutive_rejections(decisions: Sequence[ChampionDecision]) -> list[ChampionDecision]:
    """Return the trainings since the last one that was promoted, oldest first.

    Decisions that are not applied and manual decisions do not count.
    """
    trainings = [each for each in decisions if each.kind == "training" and each.applied]
    rejected = takewhile(lambda decision: not decision.promoted, reversed(trainings))
    return [*rejected][::-1]


def _unreadable(notifier: Notifier, cursor: DecisionCursor, error: str) -> dg.SensorResult:
    """Report an unreadable decision once; the cursor keeps its position until it can be read."""
    if error == cursor.unreadable:
        return dg.SensorResult(skip_reason=error)
    ui_url = notifier.settings.ui_url
    alert = unreadable("decision", "champion_model", ui_url, error, notifier.now())
    outcome = notifier.send_deduplicated(alert)
    return skip(f"{error}: {outcome}", cursor.model_copy(update={"unreadable": error}))


def summarize(decision: ChampionDecision) -> DecisionSummary:
    """Convert a decision for use in messages."""
    return DecisionSummary(
        decision_id=decision.decision_id,
        at=decided_at(decision),
        run_id=decision.dagster_run_id,
        reason=decision.reason,
        champion=f"{decision.champion}, version {decision.registry_version},"
        if decision.champion
        else None,
        previous_version=decision.previous_version,
        test_month=decision.test_month,
    )


def decided_at(decision: ChampionDecision) -> datetime:
    """Return when it was made; the earliest time for old decisions without a date."""
    if not decision.decided_at:
        return datetime.min.replace(tzinfo=UTC)
    return datetime.fromisoformat(decision.decided_at)


def _cursor_at(dataset: str, decision: ChampionDecision) -> DecisionCursor:
    return DecisionCursor(
        dataset=dataset,
        sequence=decision.sequence,
        decided_at=decision.decided_at,
        decision_id=decision.decision_id,
    )


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
    decisions = trip_store.decisions().all()
    alerts = []
    for measure in MEASURES:
        asset = measure.asset
        try:
            record = records.find(asset, measure.record)
        except UnreadableRecord as error:
            message = scrub(str(error))
            alerts.append(unreadable(f"record of {asset}", asset, ui_url, message, notifier.now()))
            continue
        if record is None:
            continue
        found = unresolved_degradation(Measured(measure.name, asset, record), decisions)
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
