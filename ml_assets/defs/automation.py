"""Sensors of automation conditions, and the tag that says why a run was started."""

from collections.abc import Mapping

import dagster as dg

from ml_assets.defs.common import MONITORING, PREDICTIONS

REASON_TAG = "started_because"
"""Set by whatever launches a run: a sentence for people, of at most 200 characters. The key is
short, since the Runs page cuts key and value together."""
_FORMER_REASON_TAG = "ml_assets/started_because"

MONITORING_SENSOR = "monitoring_automation"
SCORING_SENSOR = "score_new_months"
_SECONDS = 30
_LONGEST_REASON = 200
_BY_PRESS = "dagster/backfill"


def reason_tag(reason: str) -> dict[str, str]:
    """The tag that tells why a run is launched."""
    short = reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 1]}…"
    return {REASON_TAG: short}


def run_reason_of(tags: Mapping[str, str]) -> str:
    """Why the run with these tags was started, for people."""
    for tag in (REASON_TAG, _FORMER_REASON_TAG):
        if tag in tags:
            return tags[tag]
    if "dagster/sensor_name" in tags:
        return f"sensor {tags['dagster/sensor_name']}"
    if "dagster/schedule_name" in tags:
        return f"schedule {tags['dagster/schedule_name']}"
    if _BY_PRESS in tags:
        return f"Materialize was pressed (backfill {tags[_BY_PRESS]})"
    return "by hand"


def monitoring_sensor() -> dg.AutomationConditionSensorDefinition:
    """Evaluates the assets' own automation conditions; see ``defs.monitoring.assets``."""
    return dg.AutomationConditionSensorDefinition(
        name=MONITORING_SENSOR,
        target=dg.AssetSelection.groups(MONITORING),
        run_tags=reason_tag("months or the champion changed"),
        minimum_interval_seconds=_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Measure drift and the champion's error once months or the champion changed "
        "and nothing of it is under way.",
    )


def scoring_sensor() -> dg.AutomationConditionSensorDefinition:
    """Evaluates the asset's own automation condition; see ``defs.predictions.assets``."""
    return dg.AutomationConditionSensorDefinition(
        name=SCORING_SENSOR,
        target=dg.AssetSelection.groups(PREDICTIONS),
        run_tags=reason_tag("a month came in"),
        minimum_interval_seconds=_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Score each month that comes in, or comes in anew, with the champion that "
        "serves then.",
    )
