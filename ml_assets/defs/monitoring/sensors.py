"""The sensor that keeps the measures of drift and decay current."""

import dagster as dg

from ml_assets.defs.groups import MONITORING
from ml_assets.defs.run_reason import reason_tag

NAME = "monitoring_automation"
_SECONDS = 30


def monitoring_sensor() -> dg.AutomationConditionSensorDefinition:
    """Evaluates the assets' own automation conditions; see ``defs.monitoring.assets``."""
    return dg.AutomationConditionSensorDefinition(
        name=NAME,
        target=dg.AssetSelection.groups(MONITORING),
        run_tags=reason_tag("months or the champion changed"),
        minimum_interval_seconds=_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Measure drift and the champion's error once months or the champion changed "
        "and nothing of it is under way.",
    )
