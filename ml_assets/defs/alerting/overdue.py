"""The alert sensors, and the sensors of overdue assets and of retries.

Without a channel there are none. Each reports only what happens after its first tick.
"""

from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.scheduler.instigation import InstigatorType, SensorInstigatorData
from pydantic import AliasChoices, BaseModel, Field

from ml_assets.alerts.messages import overdue
from ml_assets.alerts.notifier import Notifier
from ml_assets.config.alert_settings import AlertSettings, read_alert_settings
from ml_assets.config.settings import Settings
from ml_assets.defs.alerting.champion import (
    DECISIONS,
    DEGRADATION,
    decisions_sensor,
    degradation_alert_sensor,
)
from ml_assets.defs.alerting.runs import (
    FAILED_RUNS,
    SUCCEEDED_RUNS,
    failed_runs_sensor,
    succeeded_runs_sensor,
)
from ml_assets.defs.common import WATCHED, latest_materialization, load_cursor, skip
from ml_assets.trips.month import Clock, utc_now

OVERDUE_ASSETS, RETRY = "alert_on_overdue_assets", "retry_alerts"
_DESCRIPTIONS = {
    FAILED_RUNS: "Alert on each failed run: a failed step, a blocking check, or a process that "
    "was killed and is not retried; repeated failures are deduplicated.",
    OVERDUE_ASSETS: "Alert when new months or promotion decisions stop coming "
    "(their freshness policies).",
    DECISIONS: "Alert when retraining was rejected 2, 4, 8 … times in a row, and when the "
    "champion was changed manually.",
    DEGRADATION: "Alert when the champion has decayed or its data have drifted, and retraining on "
    "these months did not help.",
    RETRY: "Resend alerts that no channel accepted, and report how often deduplicated failures "
    "were repeated.",
}
_NAMES = {*_DESCRIPTIONS, SUCCEEDED_RUNS}
_MINIMUM_INTERVAL_SECONDS = 60
_LONG_INTERVAL_SECONDS = 300


def alert_sensors(
    settings: Settings, alerts: AlertSettings | None = None, now: Clock = utc_now
) -> list[dg.SensorDefinition]:
    """Build the sensors for these settings: none without a channel.

    ``alerts`` come from the environment unless given.

    Raises:
        SettingsError: for the first alert variable with an invalid value.
    """
    given = read_alert_settings() if alerts is None else alerts
    if not given.on:
        return []
    notifier = Notifier(given, settings.local_home, now)
    # Each tick reads all decisions, which is fast in a local folder and slow on a server.
    seconds = _MINIMUM_INTERVAL_SECONDS if settings.home_is_local else _LONG_INTERVAL_SECONDS
    sensors = [
        failed_runs_sensor(notifier, _DESCRIPTIONS[FAILED_RUNS]),
        overdue_sensor(notifier),
        decisions_sensor(notifier, seconds, _DESCRIPTIONS[DECISIONS]),
        degradation_alert_sensor(notifier, _LONG_INTERVAL_SECONDS, _DESCRIPTIONS[DEGRADATION]),
        retry_sensor(notifier),
    ]
    return [*sensors, succeeded_runs_sensor(notifier)] if given.on_success else sensors


def reset_alert_cursors(instance: dg.DagsterInstance) -> None:
    """Reset the alert sensors' cursors, so that they skip the time without a channel.

    Without a channel the sensors do not exist, but Dagster keeps their cursors.
    """
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        data = state.instigator_data
        if state.name in _NAMES and isinstance(data, SensorInstigatorData) and data.cursor:
            instance.update_instigator_state(state.with_data(data._replace(cursor=None)))


class FreshnessCursor(BaseModel):
    """Cursor: assets that were overdue at the last tick and reported."""

    reported: list[str] = Field(default=[], validation_alias=AliasChoices("reported", "told"))


def overdue_sensor(notifier: Notifier) -> dg.SensorDefinition:
    """Build the sensor that alerts once on each asset that has become overdue."""

    @dg.sensor(
        name=OVERDUE_ASSETS,
        minimum_interval_seconds=_LONG_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=_DESCRIPTIONS[OVERDUE_ASSETS],
    )
    def alert_on_overdue_assets(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before = load_cursor(FreshnessCursor, context.cursor)
        notify = replace(notifier, logger=context.log)
        late = overdue_since(context.instance)
        outcomes = []
        for name, since in sorted(late.items()):
            if name in before.reported:
                continue
            latest = latest_materialization(context.instance, name)
            last = latest and datetime.fromtimestamp(latest.timestamp, UTC)
            alert = overdue(name, notifier.settings.ui_url, since, last, WATCHED[name])
            outcomes.append(f"{name} is overdue: {notify.send(alert)}")
        reason = " | ".join(outcomes) or f"{len(late)} overdue, nothing new to report"
        return skip(reason, FreshnessCursor(reported=sorted(late)))

    return alert_on_overdue_assets


def overdue_since(instance: dg.DagsterInstance) -> dict[str, datetime]:
    """Return the watched assets that fail their freshness policy by the daemon, and since when."""
    records = instance.get_freshness_state_records([dg.AssetKey(name) for name in WATCHED])
    return {
        key.to_user_string(): record.updated_at
        for key, record in records.items()
        if record.freshness_state == FreshnessState.FAIL
    }


def retry_sensor(notifier: Notifier) -> dg.SensorDefinition:
    """Build the sensor that sends pending alerts."""

    @dg.sensor(
        name=RETRY,
        minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=_DESCRIPTIONS[RETRY],
    )
    def retry_alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        outcomes = replace(notifier, logger=context.log).retry_pending()
        return dg.SkipReason(" | ".join(outcomes) or "no pending alerts")

    return retry_alerts
