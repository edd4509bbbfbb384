"""``python -m ml_assets_tests.graph.with_a_new_feature HOME TRIPS REQUESTS``: train, roll back, predict.

A process of its own, which runs on a copy of the package that has one feature more.
"""

import json
import sys
from pathlib import Path

import polars as pl

from ml_assets.promotion.candidate_service import candidate_service
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.promotion.manual import override_champion
from ml_assets.registry.loading import load_model
from ml_assets.registry.registry import Registry
from ml_assets.requests.batch import predict_file
from ml_assets_tests.project import Project, open_project, settings_for

NAME = "taxi-trip-duration"


def main(home: Path, trips: Path, requests: Path) -> None:
    with open_project(settings_for(home, trips)) as project:
        assert project.train(("extra_trees",)).success
        registry = Registry.of(project.settings)
        log = DecisionLog(project.settings.home, "green")
        if _champion(registry) == "1":  # whether version 2 is better is chance
            override_champion(registry, log, kind="override", version="2", reason="the new feature")
        newer = _in_file(project, registry, requests)
        override_champion(registry, log, kind="rollback", version=None, reason="it errs")
        found = {
            "columns": [len(_features(registry, version)) for version in "12"],
            "champion": _champion(registry),
            "newer": newer,
            "file": _in_file(project, registry, requests),
            "service": _by_service(registry, requests),
        }
    print(json.dumps(found))


def _champion(registry: Registry) -> str:
    champion = registry.champion()
    assert champion is not None
    return champion.version


def _features(registry: Registry, version: str) -> list[str]:
    return list(load_model(registry, version).pipeline[:-1].get_feature_names_out())


def _in_file(project: Project, registry: Registry, requests: Path) -> list[float]:
    """Return the champion's predictions for a file of requests."""
    target = Path(project.settings.home) / "predicted.parquet"
    target.unlink(missing_ok=True)
    predict_file(load_model(registry), requests, target)
    return pl.read_parquet(target)["predicted_minutes"].to_list()


def _by_service(registry: Registry, requests: Path) -> list[float]:
    """Return the predictions of the service with the champion."""
    rows = pl.read_parquet(requests).to_dicts()
    sent = [{**row, "pickup_datetime": row["pickup_datetime"].isoformat()} for row in rows]
    champion = registry.champion()
    assert champion is not None
    with candidate_service(champion, NAME) as service:
        answers = service.post(json.dumps(sent).encode())["predictions"]
    return [answer["predicted_minutes"] for answer in answers]


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
