"""The sensor that has each new month scored by the champion of that time."""

import dagster as dg

from ml_assets.defs.groups import PREDICTIONS
from ml_assets.defs.run_reason import reason_tag

NAME = "score_new_months"
_SECONDS = 30


def scoring_sensor() -> dg.AutomationConditionSensorDefinition:
    """Evaluates the asset's own automation condition; see ``defs.predictions.assets``."""
    return dg.AutomationConditionSensorDefinition(
        name=NAME,
        target=dg.AssetSelection.groups(PREDICTIONS),
        run_tags=reason_tag("a month came in"),
        minimum_interval_seconds=_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Score each month that comes in, or comes in anew, with the champion that "
        "serves then.",
    )
