"""What Dagster ran in a home, and when: ``python -m benchmarks.dagster_runs``, one JSON line."""

import json
from typing import Any

from dagster import DagsterEventType, DagsterInstance

from ml_assets.cli.instance import open_instance
from ml_assets.config.settings import read_settings

_MOMENTS = {
    DagsterEventType.PIPELINE_ENQUEUED: "enqueued",
    DagsterEventType.PIPELINE_STARTING: "launched",
    DagsterEventType.PIPELINE_START: "started",
    DagsterEventType.PIPELINE_SUCCESS: "ended",
}


def main() -> None:
    """Print every run in the order of its creation."""
    instance = open_instance(read_settings())
    records = sorted(instance.get_run_records(), key=lambda record: record.storage_id)
    print(json.dumps([_summary(instance, record.dagster_run.run_id) for record in records]))


def _summary(instance: DagsterInstance, run_id: str) -> dict[str, Any]:
    """Moments of a run (seconds since the epoch), its assets, and the steps that ended well.

    A run without a queue has no moments before ``started``.
    """
    summary: dict[str, Any] = {}
    begun: dict[str | None, float] = {}
    steps: dict[str | None, float] = {}
    assets: dict[str, str | None] = {}
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type in _MOMENTS:
            summary[_MOMENTS[event.event_type]] = entry.timestamp
        elif event.event_type == DagsterEventType.STEP_START:
            begun[event.step_key] = entry.timestamp
        elif event.event_type == DagsterEventType.STEP_SUCCESS:
            steps[event.step_key] = round(entry.timestamp - begun[event.step_key], 2)
        elif event.asset_key and event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
            assets[event.asset_key.to_user_string()] = event.step_key
    return summary | {
        "assets": sorted(assets),
        "asset_steps": len(steps.keys() & set(assets.values())),
        "step_seconds": steps,
    }


if __name__ == "__main__":
    main()
