"""A consistent home with months and a champion, and what must hold after every crash."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mlflow

from ml_assets.evaluation.records import ChampionDecision
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.registry.registry import CHAMPION
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_months import publish, published_month

NAME = "taxi-trip-duration"
EARLIER = [Month(2023, number) for number in (1, 2, 3)]
REPUBLISHED, NEXT = EARLIER[-1], Month(2023, 4)
MONTHS = [*EARLIER, NEXT]
TABLES = ("trip_features", "rejected_trips")


@dataclass(frozen=True)
class GoodHome:
    """A home with published months (made up, but not the sample).

    Attributes:
        home: ``ML_ASSETS_HOME``.
        trips: Where its months are published.
    """

    home: Path
    trips: Path

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of the command."""
        return {"ML_ASSETS_HOME": str(self.home), "ML_ASSETS_TRIPS": str(self.trips)}

    @cached_property
    def store(self) -> TripStore:
        return TripStore(str(self.home), "green", False)

    @cached_property
    def log(self) -> DecisionLog:
        return DecisionLog(str(self.home), "green")

    def copy(self, folder: Path) -> "GoodHome":
        """Copy the home; artifacts of MLflow stay in place."""
        return GoodHome(shutil.copytree(self.home, folder / "home"), self.trips)

    def client(self) -> Any:
        uri = f"sqlite:///{self.home}/mlflow.db"
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        return mlflow.MlflowClient(uri, registry_uri=uri)

    def champion(self) -> str:
        """Return the champion's version, which can be loaded as in a server."""
        aliases = self.client().get_registered_model(NAME).aliases
        assert len(load_pipeline(f"models:/{NAME}@{CHAMPION}").named_steps) > 1
        return str(aliases[CHAMPION])

    def decisions(self) -> list[ChampionDecision]:
        return self.log.all()

    def tracked(self) -> list[str]:
        """Return the status of every MLflow run, the oldest first."""
        client = self.client()
        experiment = client.get_experiment_by_name(NAME).experiment_id
        runs = client.search_runs([experiment], order_by=["attributes.start_time ASC"])
        return [run.info.status for run in runs]


def make_good_home(folder: Path) -> GoodHome:
    """Make three months and a linear regression that was trained on them and serves.

    Afterwards the last month was republished, and another one published.
    """
    made = GoodHome(folder / "home", folder / "published")
    for month in EARLIER:
        publish(made.trips, month)
    with open_project(settings_for(made.home, made.trips)) as project:
        assert project.ingest(str(EARLIER[0]), str(EARLIER[-1])).success
        assert project.train().success
    publish(made.trips, REPUBLISHED, published_month(REPUBLISHED, rows=300))
    publish(made.trips, NEXT)
    return made
