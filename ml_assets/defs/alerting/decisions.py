"""The sensor that tells people of decisions on the champion."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import dagster as dg
from pydantic import BaseModel

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.champion_messages import (
    Decided,
    changed_by_hand,
    is_told,
    refused_in_a_row,
    unreadable,
)
from ml_assets.alerts.notifier import Notifier
from ml_assets.defs.cursor import load_cursor
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.records import ChampionDecision
from ml_assets.promotion.decision_log import DecisionLog, position
from ml_assets.secrets import scrub
from ml_assets.storage.record_store import UnreadableRecord

DECISIONS = "alert_on_decisions"
_ON_ITS_WAY = timedelta(hours=1)
"""So long a decision that was not carried out yet may still be."""


class DecisionCursor(BaseModel):
    """Cursor: the newest decision that was looked at, on these trips.

    Attributes:
        dataset: What the trips are of; empty before the first look that could read decisions.
        sequence: Its number.
        decided_at: When that decision was made.
        decision_id: Its id.
        unreadable: What was told of a file that cannot be read; empty when all can.
    """

    dataset: str = ""
    sequence: int = 0
    decided_at: str = ""
    decision_id: str = ""
    unreadable: str = ""


def decisions_sensor(teller: Notifier, seconds: int, description: str) -> dg.SensorDefinition:
    """Tell of decisions that people should know of."""

    @dg.sensor(
        name=DECISIONS,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def alert_on_decisions(
        context: dg.SensorEvaluationContext, trip_store: TripStoreResource
    ) -> dg.SensorResult:
        telling = replace(teller, logger=context.log)
        records, seen = trip_store.records(), load_cursor(DecisionCursor, context.cursor)
        try:
            made = DecisionLog(records.home, records.dataset).all()
        except UnreadableRecord as error:
            return _unreadable(telling, seen, scrub(str(error)))
        except OSError as error:
            return dg.SensorResult(skip_reason=scrub(str(error)))
        if seen.dataset != records.dataset:
            newest = (
                _seen(records.dataset, made[-1])
                if made
                else DecisionCursor(dataset=records.dataset)
            )
            return _looked("begins with the decisions to come", newest)
        outcomes, last = _tell_new(telling, made, seen)
        return _looked(" | ".join(outcomes) or "no decision that people must know of", last)

    return alert_on_decisions


def _tell_new(
    telling: Notifier, made: Sequence[ChampionDecision], seen: DecisionCursor
) -> tuple[list[str], DecisionCursor]:
    """Tell of the decisions after those that were seen; what became of it, and what is seen now."""
    outcomes = []
    seen = seen.model_copy(update={"unreadable": ""})
    for number, decision in enumerate(made, start=1):
        if position(decision) <= (seen.sequence, seen.decided_at, seen.decision_id):
            continue
        on_its_way = not decision.carried_out and telling.now() - when(decision) < _ON_ITS_WAY
        if on_its_way:
            break
        alert = decision_alert(made[:number], telling.settings.ui_url)
        if alert is not None:
            outcomes.append(f"decision {decision.decision_id}: {telling.tell(alert)}")
        seen = _seen(seen.dataset, decision)
    return outcomes, seen


def decision_alert(made: Sequence[ChampionDecision], ui_url: str) -> Alert | None:
    """What to tell of the last of these decisions; None for nothing."""
    last = made[-1]
    if not last.carried_out:
        return None
    if last.kind in ("rollback", "override"):
        return changed_by_hand(decided(last), ui_url, rolled_back=last.kind == "rollback")
    refused = consecutive_rejections(made)
    if is_told(len(refused)):
        return refused_in_a_row([decided(each) for each in refused], ui_url)
    return None


def consecutive_rejections(made: Sequence[ChampionDecision]) -> list[ChampionDecision]:
    """The trainings since the last promotion by one, oldest first.

    What was not carried out is no decision yet, and what a person decided is no training.
    """
    trainings = [each for each in made if each.kind == "training" and each.carried_out]
    refused = takewhile(lambda decision: not decision.promoted, reversed(trainings))
    return [*refused][::-1]


def _unreadable(telling: Notifier, seen: DecisionCursor, fault: str) -> dg.SensorResult:
    """Tell of a decision that cannot be read, once, and go on where it was when it can be."""
    if fault == seen.unreadable:
        return dg.SensorResult(skip_reason=fault)
    alert = unreadable("decision", "champion_model", telling.settings.ui_url, fault, telling.now())
    told = telling.send_deduplicated(alert)
    return _looked(f"{fault}: {told}", seen.model_copy(update={"unreadable": fault}))


def decided(decision: ChampionDecision) -> Decided:
    """A decision as messages tell it."""
    return Decided(
        decision_id=decision.decision_id,
        at=when(decision),
        run_id=decision.dagster_run_id,
        reason=decision.reason,
        serves=f"{decision.champion}, version {decision.registry_version},"
        if decision.champion
        else None,
        before=decision.previous_version,
        judged_month=decision.judged_month,
    )


def when(decision: ChampionDecision) -> datetime:
    """When it was made."""
    if not decision.decided_at:  # the first decisions did not say when
        return datetime.min.replace(tzinfo=UTC)
    return datetime.fromisoformat(decision.decided_at)


def _seen(dataset: str, decision: ChampionDecision) -> DecisionCursor:
    return DecisionCursor(
        dataset=dataset,
        sequence=decision.sequence,
        decided_at=decision.decided_at,
        decision_id=decision.decision_id,
    )


def _looked(reason: str, seen: DecisionCursor) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=seen.model_dump_json())
