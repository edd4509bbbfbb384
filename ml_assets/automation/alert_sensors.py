"""Sensors that tell people what they must know; without a channel they do nothing.

Each begins with the present: nothing is told of what happened before it was first switched on.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import dagster as dg
from dagster._core.definitions.freshness import FreshnessState
from pydantic import BaseModel, ValidationError

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.messages import Decided, changed_by_hand, overdue, refused_twice
from ml_assets.alerts.secrets import without_secrets
from ml_assets.alerts.settings import AlertSettings, read_alert_settings
from ml_assets.alerts.telling import Teller
from ml_assets.assets.freshness import WATCHED
from ml_assets.automation.alert_on_runs import (
    FAILED_RUNS,
    failed_runs_sensor,
    succeeded_runs_sensor,
)
from ml_assets.automation.new_months import Clock, utc_now
from ml_assets.modeling.decision_log import DecisionLog
from ml_assets.modeling.records import ChampionDecision
from ml_assets.resources.trips import TripStoreResource
from ml_assets.settings import Settings
from ml_assets.storage.record_store import UnreadableRecord

OVERDUE_ASSETS, DECISIONS = "alert_on_overdue_assets", "alert_on_decisions"
OFF = "off"
"""Cursor of a sensor without a channel: one that is switched on begins anew."""

_DESCRIPTIONS = {
    FAILED_RUNS: "Tell of each run that failed, by a step, a blocking check, or as its process "
    "was killed for good; repeated failures are folded into one.",
    OVERDUE_ASSETS: "Tell when months or decisions on the champion do not come any more "
    "(their freshness policies).",
    DECISIONS: "Tell when retraining was refused twice in a row, and when a person changed the "
    "champion.",
}
_MINIMUM_INTERVAL_SECONDS = 60
_SELDOM_SECONDS = 300
_OFF_SECONDS = 3600
_TRY_AGAIN = timedelta(hours=1)
"""For so long what no channel took is tried again, tick by tick."""


def alert_sensors(
    settings: Settings, alerts: AlertSettings | None = None, now: Clock = utc_now
) -> list[dg.SensorDefinition]:
    """The sensors for these settings; ``alerts`` come from the environment unless given.

    Raises:
        SettingsError: for the first variable of alerts whose value is not allowed.
    """
    given = read_alert_settings() if alerts is None else alerts
    if not given.on:
        return [_off(name, description) for name, description in _DESCRIPTIONS.items()]
    teller = Teller(given, settings.local_home, now)
    # Each look reads the decisions: next to nothing in a folder at hand, not so on a server.
    seconds = _MINIMUM_INTERVAL_SECONDS if settings.home_is_local else _SELDOM_SECONDS
    sensors = [
        failed_runs_sensor(teller, _DESCRIPTIONS[FAILED_RUNS]),
        overdue_sensor(teller),
        decisions_sensor(teller, seconds),
    ]
    return [*sensors, succeeded_runs_sensor(teller)] if given.on_success else sensors


def _off(name: str, description: str) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        minimum_interval_seconds=_OFF_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def alerts_are_off() -> dg.SensorResult:
        reason = "alerts are off: set ML_ASSETS_ALERT_EMAIL_TO or ML_ASSETS_ALERT_WEBHOOK"
        return dg.SensorResult(skip_reason=reason, cursor=OFF)

    return alerts_are_off


Cursor = TypeVar("Cursor", bound=BaseModel)


class Overdue(BaseModel):
    """Cursor: assets that were overdue at the last look, and told."""

    told: list[str] = []


def overdue_sensor(teller: Teller) -> dg.SensorDefinition:
    """Tell once of each asset that has become overdue."""

    @dg.sensor(
        name=OVERDUE_ASSETS,
        minimum_interval_seconds=_SELDOM_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=_DESCRIPTIONS[OVERDUE_ASSETS],
    )
    def alert_on_overdue_assets(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before = _parsed(Overdue, context.cursor) or Overdue()
        telling = replace(teller, logger=context.log)
        late = overdue_since(context.instance)
        settled, outcomes = [], []
        for name, since in sorted(late.items()):
            if name in before.told:
                settled.append(name)
                continue
            last = _last_materialized(context.instance, name)
            alert = overdue(name, teller.settings.ui_url, since, last, WATCHED[name])
            told = telling.tell(alert)
            outcomes.append(f"{name} is overdue: {told}")
            if told.done or teller.now() - since > _TRY_AGAIN:
                settled.append(name)
        reason = " | ".join(outcomes) or f"{len(late)} overdue, nothing new to tell"
        return dg.SensorResult(skip_reason=reason, cursor=Overdue(told=settled).model_dump_json())

    return alert_on_overdue_assets


def overdue_since(instance: dg.DagsterInstance) -> dict[str, datetime]:
    """Watched assets that fail their freshness policy, and since when, as the daemon sees it."""
    records = instance.get_freshness_state_records([dg.AssetKey(name) for name in WATCHED])
    return {
        key.to_user_string(): record.updated_at
        for key, record in records.items()
        if record.freshness_state == FreshnessState.FAIL
    }


class Seen(BaseModel):
    """Cursor: the newest decision that was looked at, on these trips."""

    dataset: str
    decided_at: str = ""
    decision_id: str = ""


def decisions_sensor(teller: Teller, seconds: int) -> dg.SensorDefinition:
    """Tell of decisions that people should know of."""

    @dg.sensor(
        name=DECISIONS,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=_DESCRIPTIONS[DECISIONS],
    )
    def alert_on_decisions(
        context: dg.SensorEvaluationContext, trip_store: TripStoreResource
    ) -> dg.SensorResult:
        records = trip_store.records()
        try:
            made = DecisionLog(records.home, records.dataset).all()
        except (UnreadableRecord, OSError) as error:
            return dg.SensorResult(skip_reason=without_secrets(str(error)))
        seen = _parsed(Seen, context.cursor)
        if seen is None or seen.dataset != records.dataset:
            newest = _seen(records.dataset, made[-1]) if made else Seen(dataset=records.dataset)
            return _looked("begins with the decisions to come", newest)
        telling = replace(teller, logger=context.log)
        outcomes: list[str] = []
        for number, decision in enumerate(made):
            if (decision.decided_at, decision.decision_id) <= (seen.decided_at, seen.decision_id):
                continue
            fresh = teller.now() - _when(decision) < _TRY_AGAIN
            if fresh and not decision.carried_out:  # it may be on the way
                break
            alert = decision_alert(made[: number + 1], teller.settings.ui_url)
            told = telling.tell(alert) if alert is not None else None
            if told is not None:
                outcomes.append(f"decision {decision.decision_id}: {told}")
                if fresh and not told.done:
                    break
            seen = _seen(records.dataset, decision)
        return _looked(" | ".join(outcomes) or "no decision that people must know of", seen)

    return alert_on_decisions


def decision_alert(made: Sequence[ChampionDecision], ui_url: str) -> Alert | None:
    """What to tell of the last of these decisions; None for nothing."""
    last = made[-1]
    if not last.carried_out:
        return None
    if last.kind in ("rollback", "override"):
        return changed_by_hand(_decided(last), ui_url, rolled_back=last.kind == "rollback")
    trainings = [decision for decision in made if decision.kind == "training"][-2:]
    if len(trainings) == 2 and not any(decision.promoted for decision in trainings):
        return refused_twice(_decided(trainings[0]), _decided(trainings[1]), ui_url)
    return None


def _decided(decision: ChampionDecision) -> Decided:
    return Decided(
        decision_id=decision.decision_id,
        at=_when(decision),
        run_id=decision.dagster_run_id,
        reason=decision.reason,
        serves=f"{decision.champion}, version {decision.registry_version},"
        if decision.champion
        else None,
        before=decision.previous_version,
        judged_month=decision.judged_month,
    )


def _when(decision: ChampionDecision) -> datetime:
    if not decision.decided_at:  # the first decisions did not say when
        return datetime.min.replace(tzinfo=UTC)
    return datetime.fromisoformat(decision.decided_at)


def _seen(dataset: str, decision: ChampionDecision) -> Seen:
    return Seen(dataset=dataset, decided_at=decision.decided_at, decision_id=decision.decision_id)


def _looked(reason: str, seen: Seen) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=seen.model_dump_json())


def _parsed(kind: type[Cursor], text: str | None) -> Cursor | None:
    """A cursor as the last tick left it; None for another's, a damaged one, or none."""
    try:
        return kind.model_validate_json(text or "")
    except ValidationError:
        return None


def _last_materialized(instance: dg.DagsterInstance, name: str) -> datetime | None:
    event = instance.get_latest_materialization_event(dg.AssetKey(name))
    return None if event is None else datetime.fromtimestamp(event.timestamp, UTC)
