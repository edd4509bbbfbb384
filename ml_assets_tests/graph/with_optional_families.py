"""``python -m ml_assets_tests.graph.with_optional_families HOME``: LightGBM as the champion.

A process of its own, with ``ML_ASSETS_EXTRA_FAMILIES`` set: the registry of families reads it when
the graph is assembled.
"""

import json
import sys
from pathlib import Path

import dagster as dg

from ml_assets.promotion.decision_log import DecisionLog
from ml_assets_tests.project import open_project, settings_for


def main(home: Path) -> None:
    with open_project(settings_for(home)) as project:
        assert project.ingest("2023-01", "2023-03").success
        trained = project.train(
            ("linear_regression", "lightgbm"), service=True, lightgbm_model={"trials": 2}
        )
        decision = DecisionLog(str(home), "sample_green").all()[-1]
        node = project.definitions.resolve_asset_graph().get(dg.AssetKey("lightgbm_model"))
        found = {
            "success": trained.success,
            "promoted": decision.promoted,
            "champion": decision.champion,
            "checks": {
                f"{check.asset_key.path[-1]}/{check.check_name}": check.passed
                for check in trained.get_asset_check_evaluations()
            },
            "kinds": sorted(node.kinds),
            "description": node.description,
            "features": [
                dict(record.data)
                for record in project.metadata("lightgbm_model")["features"].records
            ],
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
