"""Homes with published months (made up, but not the sample) that all tests share.

Each is made once a session, by whichever worker needs it first, and costs nothing afterwards. The
fixtures are in ``ml_assets_tests.conftest``:

- ``ingested_home``: 2023-01 to 2023-03, 200 trips each, published and ingested;
- ``trained_home``: the same with a linear regression trained on them, version 1, the champion;
- ``good_home``: the same, and afterwards 2023-03 was republished and 2023-04 published.

A test that only reads (loads the champion, predicts, reads records or tables) uses the home itself.
A test that changes anything takes a copy, which has nothing in common with the original: the source
of its months and MLflow's locations of artifacts are those of the copy, too.

    def test_something(trained_home, tmp_path):
        home = trained_home.copy(tmp_path)
        with home.open() as project:                      # Dagster in this process, or
            assert project.train(("xgboost",)).success
        call(monkeypatch, capsys, ["leaderboard"], home.environment)  # the command

A copy has no Dagster history (no runs, no materializations): assets read the home's tables and
records. A sensor that looks for a materialization needs one made in the copy.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mlflow
import pytest

from ml_assets.config.settings import EXPERIMENT
from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.registry import artifact_location
from ml_assets.registry.artifacts import load_pipeline
from ml_assets.registry.mlflow_database import move_artifact_locations
from ml_assets.registry.registry import CHAMPION
from ml_assets.storage.atomic import locked
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets_tests.conftest import shared_folder_of
from ml_assets_tests.project import Project, open_project, settings_for
from ml_assets_tests.published_months import publish, published_month

NAME = "taxi-trip-duration"
EARLIER = [Month(2023, number) for number in (1, 2, 3)]
REPUBLISHED, NEXT = EARLIER[-1], Month(2023, 4)
MONTHS = [*EARLIER, NEXT]
TABLES = ("trip_features", "rejected_trips")


@dataclass(frozen=True)
class PublishedHome:
    """A home and the folder in which its months are published.

    Attributes:
        home: ``ML_ASSETS_HOME``.
        trips: ``ML_ASSETS_TRIPS``.
    """

    home: Path
    trips: Path

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of the command."""
        return {"ML_ASSETS_HOME": str(self.home), "ML_ASSETS_TRIPS": str(self.trips)}

    def copy(self, folder: Path) -> "PublishedHome":
        """Copy the home and its published months to ``home`` and ``published`` in a folder."""
        copy = PublishedHome(folder / "home", folder / "published")
        shutil.copytree(self.home, copy.home, dirs_exist_ok=True)
        shutil.copytree(self.trips, copy.trips, dirs_exist_ok=True)
        for record in (copy.home / "raw_trips").rglob("*.json"):
            text = record.read_text().replace(str(self.trips), str(copy.trips))
            record.write_text(text)  # months of another source would be ingested again
        database = copy.home / "mlflow.db"
        if database.exists():
            location = artifact_location(str(copy.home), copy.home)
            move_artifact_locations(database, EXPERIMENT, location, copy.home)
        return copy

    @contextmanager
    def open(self, **variables: str) -> Iterator[Project]:
        """Open the home with an empty, temporary Dagster instance.

        Args:
            variables: Further environment variables, such as ``MLFLOW_TRACKING_URI``.
        """
        with open_project(settings_for(self.home, self.trips, **variables)) as project:
            yield project

    @cached_property
    def store(self) -> TripStore:
        return TripStore(str(self.home), "green", False)

    @cached_property
    def log(self) -> DecisionLog:
        return DecisionLog(str(self.home), "green")

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


def make_once(
    folders: pytest.TempPathFactory, name: str, make: Callable[[Path], PublishedHome]
) -> PublishedHome:
    """Return the home of this name, made by the first worker that needs it; the others wait.

    Args:
        folders: Pytest's temporary folders.
        name: Name of the folder.
        make: Makes ``home`` and ``published`` in an empty folder.
    """
    folder = shared_folder_of(folders) / name
    complete = folder / "complete"
    with locked(folder.with_suffix(".lock")):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)  # the one who made it failed or was killed
            folder.mkdir()
            make(folder)
            complete.touch()
    return PublishedHome(folder / "home", folder / "published")


def make_ingested(folder: Path) -> PublishedHome:
    """Publish and ingest three months."""
    made = PublishedHome(folder / "home", folder / "published")
    for month in EARLIER:
        publish(made.trips, month)
    with made.open() as project:
        assert project.ingest(str(EARLIER[0]), str(EARLIER[-1])).success
    return made


def make_trained(ingested: PublishedHome, folder: Path) -> PublishedHome:
    """Train a linear regression, which is promoted."""
    made = ingested.copy(folder)
    with made.open() as project:
        assert project.train().success
    return made


def make_good(trained: PublishedHome, folder: Path) -> PublishedHome:
    """Republish the last month, and publish the next one."""
    made = trained.copy(folder)
    publish(made.trips, REPUBLISHED, published_month(REPUBLISHED, rows=300))
    publish(made.trips, NEXT)
    return made
