"""The sensor that tells people of a champion that retraining could not help."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC

import dagster as dg
from pydantic import BaseModel

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.champion_messages import Degraded, degraded, unreadable
from ml_assets.alerts.notifier import Notifier, utc_now
from ml_assets.defs.alerting.decisions import decided
from ml_assets.defs.cursor import load_cursor
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.records import ChampionDecision
from ml_assets.monitoring.drift.records import DriftRecord
from ml_assets.monitoring.performance.records import PerformanceRecord
from ml_assets.monitoring.retrain_rule import judge
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.secrets import scrub
from ml_assets.storage.record_store import UnreadableRecord

DEGRADATION = "alert_on_degradation"
_MAX_TOLD = 100


class AlertCursor(BaseModel):
    """Cursor: the kinds of the alerts that were told."""

    kinds: list[str] = []


@dataclass(frozen=True)
class Measured:
    """A measure, the asset that takes it, and its record."""

    name: str
    asset: str
    record: DriftRecord | PerformanceRecord

    @property
    def contents(self) -> dict[str, str]:
        """Checksums of the published files of the months that the champion does not know."""
        record = self.record
        entries = record.new_months if isinstance(record, DriftRecord) else record.new_scores
        return {entry.month: entry.raw_sha256 for entry in entries}


_MEASURES: tuple[tuple[str, str, type[DriftRecord] | type[PerformanceRecord]], ...] = (
    ("drift", "feature_drift", DriftRecord),
    ("decay", "prediction_performance", PerformanceRecord),
)


def degradation_alert_sensor(
    teller: Notifier, seconds: int, description: str
) -> dg.SensorDefinition:
    """Tell once of each month that leaves a champion beyond its limit for good."""

    @dg.sensor(
        name=DEGRADATION,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def alert_on_degradation(
        context: dg.SensorEvaluationContext, trip_store: TripStoreResource
    ) -> dg.SensorResult:
        told = load_cursor(AlertCursor, context.cursor).kinds
        telling = replace(teller, logger=context.log)
        try:
            found = _alerts(trip_store, telling)
        except (UnreadableRecord, OSError) as error:  # of a decision alert_on_decisions tells
            return dg.SensorResult(skip_reason=scrub(str(error)))
        new = [alert for alert in found if alert.kind not in told]
        outcomes = [f"{alert.kind}: {telling.tell(alert)}" for alert in new]
        present = {alert.kind for alert in found}
        kept = [kind for kind in told if kind in present or not kind.startswith("unreadable")]
        kinds = [*kept, *(alert.kind for alert in new)][-_MAX_TOLD:]
        return dg.SensorResult(
            skip_reason=" | ".join(outcomes) or f"{len(found)} beyond help, nothing new to tell",
            cursor=AlertCursor(kinds=kinds).model_dump_json(),
        )

    return alert_on_degradation


def _alerts(trip_store: TripStoreResource, telling: Notifier) -> list[Alert]:
    """What is to be told, whether it was before or not.

    Raises:
        UnreadableRecord: when a decision cannot be read.
        OSError: when the home cannot be.
    """
    records, ui_url = trip_store.records(), telling.settings.ui_url
    made = DecisionLog(records.home, records.dataset).all()
    alerts = []
    for name, asset, kind in _MEASURES:
        try:
            record = records.find(asset, kind)
        except UnreadableRecord as error:
            fault = scrub(str(error))
            alerts.append(unreadable(f"record of {asset}", asset, ui_url, fault, telling.now()))
            continue
        found = (
            None if record is None else unresolved_degradation(Measured(name, asset, record), made)
        )
        if found is not None:
            alerts.append(degraded(found, ui_url))
    return alerts


def unresolved_degradation(measured: Measured, made: Sequence[ChampionDecision]) -> Degraded | None:
    """A champion that the rule would retrain for, had its months not been trained on already.

    Args:
        measured: Of what serves, as it was measured last.
        made: Every decision, oldest first.

    Returns:
        None when it is within its limits, when another version serves by now, or when a training
        on what the months hold now is still to come.
    """
    record = measured.record
    carried_out = [decision for decision in made if decision.carried_out]
    trainings = [decision for decision in carried_out if decision.kind == "training"]
    if not trainings or carried_out[-1].registry_version != record.version:
        return None
    last = trainings[-1]
    verdict = judge(record.windows, None, utc_now())  # time does not matter without a cool-down
    if not verdict.retrain or not _knew(last, measured, latest := str(verdict.breached[-1])):
        return None
    return Degraded(
        measure=measured.name,
        asset=measured.asset,
        dataset=record.dataset,
        version=record.version or "",
        latest=latest,
        sentence=verdict.sentence,
        since=verdict.breached[0].start.replace(tzinfo=UTC),
        training=decided(last),
    )


def _knew(last: ChampionDecision, measured: Measured, month: str) -> bool:
    """Whether a training was judged on this month, as it is now, or on a later one."""
    before = {use.month: use.raw_sha256 for use in last.months}
    content = measured.contents[month]
    return last.judged_month >= month and before.get(month, content) == content
