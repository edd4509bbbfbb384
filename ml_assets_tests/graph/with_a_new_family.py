"""``python -m ml_assets_tests.graph.with_a_new_family HOME``: what a new entry of FAMILIES adds.

A process of its own, since the registry is read when the graph is assembled.
"""

import json
import sys
from pathlib import Path
from typing import Any

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
    defaults={"alpha": 10.0},
)


def main(home: Path) -> None:
    FAMILIES[RIDGE.name] = RIDGE
    from ml_assets.evaluation.records import Leaderboard
    from ml_assets.storage.record_store import RecordStore
    from ml_assets_tests.project import open_project, settings_for

    with open_project(settings_for(home)) as project:
        assert project.ingest("2023-01", "2023-03").success
        assert project.train((RIDGE.name,)).success
        graph = project.definitions.resolve_asset_graph()
        board = RecordStore(str(home), "sample_green").read("model_leaderboard", Leaderboard)
        found = {
            "assets": [key.to_user_string() for key in graph.get_all_asset_keys()],
            "checks": [f"{key.asset_key.path[-1]}/{key.name}" for key in graph.asset_check_keys],
            "rows": [row.model for row in board.rows],
            "metadata": list(project.metadata("ridge_model")),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
