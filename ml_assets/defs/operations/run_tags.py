"""Tags of runs that only programs read.

Their keys have the prefix under which Dagster keeps tags out of its pages. Runs of earlier versions
have the same tags in sight, under other keys, and are still found by them.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

_HIDDEN = ".dagster/ml_assets."

HOST_TAG = f"{_HIDDEN}host"
PROCESS_TAG = f"{_HIDDEN}process"
RUN_TAG = f"{_HIDDEN}process_of_run"
"""Id of the run that the other two tags are about: Dagster hands all tags on to a retry."""

REQUEST_KEY_TAG = f"{_HIDDEN}request_key"
"""The same for all attempts at one thing, which have a run key each."""

FAILURE_TAG = f"{_HIDDEN}failure"
PASSING = "passing"
"""Value of :data:`FAILURE_TAG` when what failed may succeed at another time."""

TRIGGER_TAG = f"{_HIDDEN}retrain_trigger"
"""Which of the two measures, drift or decay, requested a retraining."""
TRIGGER_MONTH_TAG = f"{_HIDDEN}retrain_trigger_month"
"""The newest month that was measured when it did."""

_FORMER = {
    HOST_TAG: "ml_assets/host",
    PROCESS_TAG: "ml_assets/process",
    REQUEST_KEY_TAG: "ml_assets/asked_for",
    FAILURE_TAG: "ml_assets/failure",
    TRIGGER_TAG: "ml_assets/degradation",
    TRIGGER_MONTH_TAG: "ml_assets/degradation_latest",
}


def tag_value(tags: Mapping[str, str], tag: str) -> str | None:
    """The value of a tag, under its key or the former one; None without either.

    Args:
        tags: Of a run.
        tag: One of the keys of this module.
    """
    return tags.get(tag, tags.get(_FORMER.get(tag, tag)))


def runs_with_tag(
    instance: dg.DagsterInstance, tag: str, value: str | Sequence[str], limit: int | None = None
) -> list[dg.RunRecord]:
    """Runs with a tag, the newest first; those with its former key come last, since they are older.

    Args:
        instance: Where the runs are.
        tag: One of the keys of this module.
        value: Its value, or several of which one is enough.
        limit: No more than so many.
    """
    wanted: str | list[str] = value if isinstance(value, str) else [*value]
    found: list[dg.RunRecord] = []
    for key in dict.fromkeys((tag, _FORMER.get(tag, tag))):
        if limit is None or len(found) < limit:
            filters = dg.RunsFilter(tags={key: wanted})
            found += instance.get_run_records(filters, limit=limit)
    return found[:limit]
