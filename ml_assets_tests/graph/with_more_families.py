"""``python -m ml_assets_tests.graph.with_more_families HOME``: a new and an optional family.

A process of its own, with ``ML_ASSETS_EXTRA_FAMILIES`` set: the registry of families reads it, and
is itself read, when the graph is assembled.
"""

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from ml_assets.training.families import FAMILIES, ModelFamily
from ml_assets.training.families.base import trip_indicators


def _ridge(parameters: Any, seed: int, n_jobs: int) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(random_state=seed, **parameters)


RIDGE = ModelFamily(
    name="ridge",
    title="Ridge",
    description="Least squares with shrunken coefficients.",
    make_encoder=trip_indicators,
    make_estimator=_ridge,
    search_space=lambda trial: {"alpha": trial.suggest_float("alpha", 0.1, 100.0, log=True)},
    defaults={"alpha": 300.0},
)


def main(home: Path) -> None:
    FAMILIES[RIDGE.name] = RIDGE
    from ml_assets.evaluation.records import Leaderboard
    from ml_assets.promotion.decision_log import DecisionLog
    from ml_assets.storage.record_store import RecordStore
    from ml_assets_tests.project import evaluations, open_project, settings_for

    with open_project(settings_for(home)) as project:
        assert project.ingest("2023-01", "2023-03").success
        trained = project.train(
            (RIDGE.name, "lightgbm"), service=True, lightgbm_model={"trials": 2}
        )
        graph = project.definitions.resolve_asset_graph()
        lightgbm = graph.get(dg.AssetKey("lightgbm_model"))
        board = RecordStore(str(home), "sample_green").read("model_leaderboard", Leaderboard)
        decision = DecisionLog(str(home), "sample_green").all()[-1]
        found = {
            "success": trained.success,
            "assets": [key.to_user_string() for key in graph.get_all_asset_keys()],
            "checks": {name: check.passed for name, check in evaluations(trained).items()},
            "rows": [row.model for row in board.rows],
            "metadata": list(project.metadata("ridge_model")),
            "promoted": decision.promoted,
            "champion": decision.champion,
            "kinds": sorted(lightgbm.kinds),
            "description": lightgbm.description,
            "features": [
                dict(record.data)
                for record in project.metadata("lightgbm_model")["features"].records
            ],
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
