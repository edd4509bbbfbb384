"""Sensors of automation conditions, and the run tag with the reason of a run."""

from collections.abc import Mapping

import dagster as dg

from ml_assets.defs.common import MONITORING, PREDICTIONS

REASON_TAG = "started_because"
"""Run tag with the reason in one sentence of at most 200 characters. The key is short, since the
Runs page truncates key and value together."""
_FORMER_REASON_TAG = "ml_assets/started_because"

MONITORING_SENSOR = "monitoring_automation"
SCORING_SENSOR = "score_new_months"
_SECONDS = 30
_MAX_REASON = 200
_BACKFILL_TAG = "dagster/backfill"


def reason_tag(reason: str) -> dict[str, str]:
    """Return the tag with the reason of a run."""
    short = reason if len(reason) <= _MAX_REASON else f"{reason[: _MAX_REASON - 1]}…"
    return {REASON_TAG: short}


def run_reason_of(tags: Mapping[str, str]) -> str:
    """Return the reason of the run with these tags."""
    for tag in (REASON_TAG, _FORMER_REASON_TAG):
        if tag in tags:
            return tags[tag]
    if "dagster/sensor_name" in tags:
        return f"sensor {tags['dagster/sensor_name']}"
    if "dagster/schedule_name" in tags:
        return f"schedule {tags['dagster/schedule_name']}"
    if _BACKFILL_TAG in tags:
        return f"materialized in the UI (backfill {tags[_BACKFILL_TAG]})"
    return "manual"


def monitoring_sensor() -> dg.AutomationConditionSensorDefinition:
    """Build the sensor that evaluates the conditions of ``defs.monitoring.assets``."""
    return dg.AutomationConditionSensorDefinition(
        name=MONITORING_SENSOR,
        target=dg.AssetSelection.groups(MONITORING),
        run_tags=reason_tag("months or the champion changed"),
        minimum_interval_seconds=_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Measure drift and the champion's error when months or the champion changed "
        "and no run on them is in progress.",
    )


def scoring_sensor() -> dg.AutomationConditionSensorDefinition:
    """Build the sensor that evaluates the condition of ``defs.predictions.assets``."""
    return dg.AutomationConditionSensorDefinition(
        name=SCORING_SENSOR,
        target=dg.AssetSelection.groups(PREDICTIONS),
        run_tags=reason_tag("a month came in"),
        minimum_interval_seconds=_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Score each new or republished month with the current champion.",
    )
