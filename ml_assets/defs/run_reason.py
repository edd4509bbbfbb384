"""Why a run was started: told by its tags, recorded with the decision that it leads to."""

from collections.abc import Mapping

REASON_TAG = "started_because"
"""Set by whatever launches a run: a sentence for people, of at most 200 characters. The key is
short, since the Runs page cuts key and value together."""
_FORMER_REASON_TAG = "ml_assets/started_because"

_LONGEST_REASON = 200
_BY_PRESS = "dagster/backfill"


def reason_tag(reason: str) -> dict[str, str]:
    """The tag that tells why a run is launched."""
    short = reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 1]}…"
    return {REASON_TAG: short}


def why_started(tags: Mapping[str, str]) -> str:
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
