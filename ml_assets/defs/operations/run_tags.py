"""Run tags: the reason of a run, and tags for programs, hidden in the UI by their prefix.

Runs of earlier versions have the same tags under other, visible keys, and are still found by them.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

REASON_TAG = "started_because"
"""Run tag with the reason in one sentence of at most 200 characters. The key is short, since the
Runs page truncates key and value together."""
_MAX_REASON = 200
_FORMER_REASON_TAG = "ml_assets/started_because"
_BACKFILL_TAG = "dagster/backfill"
_HIDDEN = ".dagster/ml_assets."

HOST_TAG = f"{_HIDDEN}host"
PROCESS_TAG = f"{_HIDDEN}process"
RUN_TAG = f"{_HIDDEN}process_of_run"
"""Id of the run to which the other two tags belong: Dagster copies all tags to a retry."""

REQUEST_KEY_TAG = f"{_HIDDEN}request_key"
"""The same for all attempts at one request, each of which has its own run key."""

FAILURE_TAG = f"{_HIDDEN}failure"
TRANSIENT = "transient"
"""Value of :data:`FAILURE_TAG` when the failed run may succeed at another time."""

TRIGGER_TAG = f"{_HIDDEN}retrain_trigger"
"""The measure that triggered a retraining: drift or decay."""
TRIGGER_MONTH_TAG = f"{_HIDDEN}retrain_trigger_month"
"""The newest measured month at that time."""

_FORMER = {
    HOST_TAG: "ml_assets/host",
    PROCESS_TAG: "ml_assets/process",
    REQUEST_KEY_TAG: "ml_assets/asked_for",
    FAILURE_TAG: "ml_assets/failure",
    TRIGGER_TAG: "ml_assets/degradation",
    TRIGGER_MONTH_TAG: "ml_assets/degradation_latest",
}
_FORMER_VALUES = {(FAILURE_TAG, "passing"): TRANSIENT}


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


def tag_value(tags: Mapping[str, str], tag: str) -> str | None:
    """Return a tag's value, also under its former key or name; None without either.

    Args:
        tag: One of this module's keys.
    """
    value = tags.get(tag, tags.get(_FORMER.get(tag, tag)))
    return value if value is None else _FORMER_VALUES.get((tag, value), value)


def runs_with_tag(
    instance: dg.DagsterInstance, tag: str, value: str | Sequence[str], limit: int | None = None
) -> list[dg.RunRecord]:
    """Return the runs with a tag, the newest first; those with its former key, all older, last.

    Args:
        tag: One of this module's keys.
        value: Its value, or several of which any matches.
    """
    values: str | list[str] = value if isinstance(value, str) else [*value]
    found: list[dg.RunRecord] = []
    for key in dict.fromkeys((tag, _FORMER.get(tag, tag))):
        if limit is None or len(found) < limit:
            filters = dg.RunsFilter(tags={key: values})
            found += instance.get_run_records(filters, limit=limit)
    return found[:limit]
