"""Sensors that notify people of what they must know; without a channel there are none.

Each begins with the present: nothing is told of what happened before it was first switched on.
"""

from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.scheduler.instigation import InstigatorType, SensorInstigatorData
from pydantic import BaseModel

from ml_assets.alerts.notifier import Notifier
from ml_assets.alerts.run_messages import overdue
from ml_assets.config.alert_settings import AlertSettings, read_alert_settings
from ml_assets.config.settings import Settings
from ml_assets.defs.alerting.decisions import DECISIONS, decisions_sensor
from ml_assets.defs.alerting.degradation import DEGRADATION, degradation_alert_sensor
from ml_assets.defs.alerting.runs import (
    FAILED_RUNS,
    SUCCEEDED_RUNS,
    failed_runs_sensor,
    succeeded_runs_sensor,
)
from ml_assets.defs.common import WATCHED
from ml_assets.defs.cursor import load_cursor
from ml_assets.defs.ingestion.sensors import Clock, utc_now

OVERDUE_ASSETS, AGAIN = "alert_on_overdue_assets", "retry_alerts"
_DESCRIPTIONS = {
    FAILED_RUNS: "Tell of each run that failed, by a step, a blocking check, or as its process "
    "was killed for good; repeated failures are folded into one.",
    OVERDUE_ASSETS: "Tell when months or decisions on the champion do not come any more "
    "(their freshness policies).",
    DECISIONS: "Tell when retraining was refused 2, 4, 8 … times in a row, and when a person "
    "changed the champion.",
    DEGRADATION: "Tell when the champion has decayed or its data have drifted, and retraining on "
    "these months did not help.",
    AGAIN: "Tell what no channel took when it happened, and how often what was folded has "
    "repeated.",
}
_NAMES = {*_DESCRIPTIONS, SUCCEEDED_RUNS}
_MINIMUM_INTERVAL_SECONDS = 60
_SELDOM_SECONDS = 300


def alert_sensors(
    settings: Settings, alerts: AlertSettings | None = None, now: Clock = utc_now
) -> list[dg.SensorDefinition]:
    """The sensors for these settings: none without a channel.

    ``alerts`` come from the environment unless given.

    Raises:
        SettingsError: for the first variable of alerts whose value is not allowed.
    """
    given = read_alert_settings() if alerts is None else alerts
    if not given.on:
        return []
    teller = Notifier(given, settings.local_home, now)
    # Each look reads the decisions: next to nothing in a folder at hand, not so on a server.
    seconds = _MINIMUM_INTERVAL_SECONDS if settings.home_is_local else _SELDOM_SECONDS
    sensors = [
        failed_runs_sensor(teller, _DESCRIPTIONS[FAILED_RUNS]),
        overdue_sensor(teller),
        decisions_sensor(teller, seconds, _DESCRIPTIONS[DECISIONS]),
        degradation_alert_sensor(teller, _SELDOM_SECONDS, _DESCRIPTIONS[DEGRADATION]),
        waiting_sensor(teller),
    ]
    return [*sensors, succeeded_runs_sensor(teller)] if given.on_success else sensors


def forget_alert_cursors(instance: dg.DagsterInstance) -> None:
    """Make the alert sensors begin with the present once a channel is configured again.

    Without a channel they do not exist, but Dagster keeps their cursors.
    """
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        data = state.instigator_data
        if state.name in _NAMES and isinstance(data, SensorInstigatorData) and data.cursor:
            instance.update_instigator_state(state.with_data(data._replace(cursor=None)))


class FreshnessCursor(BaseModel):
    """Cursor: assets that were overdue at the last look, and told."""

    told: list[str] = []


def overdue_sensor(teller: Notifier) -> dg.SensorDefinition:
    """Tell once of each asset that has become overdue."""

    @dg.sensor(
        name=OVERDUE_ASSETS,
        minimum_interval_seconds=_SELDOM_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=_DESCRIPTIONS[OVERDUE_ASSETS],
    )
    def alert_on_overdue_assets(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before = load_cursor(FreshnessCursor, context.cursor)
        telling = replace(teller, logger=context.log)
        late = overdue_since(context.instance)
        outcomes = []
        for name, since in sorted(late.items()):
            if name in before.told:
                continue
            last = _last_materialized(context.instance, name)
            alert = overdue(name, teller.settings.ui_url, since, last, WATCHED[name])
            outcomes.append(f"{name} is overdue: {telling.tell(alert)}")
        reason = " | ".join(outcomes) or f"{len(late)} overdue, nothing new to tell"
        return dg.SensorResult(
            skip_reason=reason, cursor=FreshnessCursor(told=sorted(late)).model_dump_json()
        )

    return alert_on_overdue_assets


def overdue_since(instance: dg.DagsterInstance) -> dict[str, datetime]:
    """Watched assets that fail their freshness policy, and since when, as the daemon sees it."""
    records = instance.get_freshness_state_records([dg.AssetKey(name) for name in WATCHED])
    return {
        key.to_user_string(): record.updated_at
        for key, record in records.items()
        if record.freshness_state == FreshnessState.FAIL
    }


def waiting_sensor(teller: Notifier) -> dg.SensorDefinition:
    """Tell what waits to be told."""

    @dg.sensor(
        name=AGAIN,
        minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=_DESCRIPTIONS[AGAIN],
    )
    def retry_alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        outcomes = replace(teller, logger=context.log).retry_pending()
        return dg.SkipReason(" | ".join(outcomes) or "nothing waits to be told")

    return retry_alerts


def _last_materialized(instance: dg.DagsterInstance, name: str) -> datetime | None:
    event = instance.get_latest_materialization_event(dg.AssetKey(name))
    return None if event is None else datetime.fromtimestamp(event.timestamp, UTC)
