"""How many steps Dagster ran in a home: ``python -m benchmarks.count_steps``, one JSON line."""

import json

from dagster import DagsterEventType

from ml_assets.cli.instance import open_instance
from ml_assets.settings import read_settings


def main() -> None:
    """Count the steps that ended well, and those of them that materialized an asset."""
    instance = open_instance(read_settings())
    steps: set[tuple[str, str | None]] = set()
    assets: set[tuple[str, str | None]] = set()
    for run in instance.get_runs():
        for entry in instance.all_logs(run.run_id):
            event = entry.dagster_event
            if event is None:
                continue
            if event.event_type == DagsterEventType.STEP_SUCCESS:
                steps.add((run.run_id, event.step_key))
            elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
                assets.add((run.run_id, event.step_key))
    print(json.dumps({"steps": len(steps), "asset_steps": len(steps & assets)}))


if __name__ == "__main__":
    main()
