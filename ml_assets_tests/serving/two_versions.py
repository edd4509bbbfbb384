"""A home whose registry has two small versions with clearly different predictions."""

import json
import os
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from ml_assets.config.settings import EXPERIMENT, REGISTERED_MODEL
from ml_assets.pipeline.background_sample import attach_background_sample
from ml_assets.pipeline.conformal_intervals import attach_intervals, calibrate
from ml_assets.pipeline.predict import Model
from ml_assets.pipeline.serialization import probe_predictions
from ml_assets.registry.artifacts import log_pipeline
from ml_assets.registry.mlflow_runs import tracked_run
from ml_assets.registry.mlflow_store import TrackingStore
from ml_assets.registry.registry import CHAMPION, Registry
from ml_assets.registry.watcher import RegistryWatcher
from ml_assets.serving.bundle import CHAMPION_FILE, SERVING_FOLDER, ModelCard, ServedModel
from ml_assets.storage.model_version import FINGERPRINT, ModelVersion
from ml_assets.training.families import FAMILIES
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets_tests.project import lay_tables_of_mlflow, settings_for
from ml_assets_tests.published_home import PublishedHome, make_once
from ml_assets_tests.training.sample_trips import train_trips, validation_trips

SHARES = (1.0, 0.4)
"""Factors on the minutes that the two versions are fitted on, so that all predictions differ."""
TAGS = {
    "model": "xgboost",
    "dataset": "sample/green",
    "synthetic": "true",
    "training_months": "2023-01,2023-02",
    "validation_months": "2023-03",
    "test_month": "2023-04",
    "test_rmse": "4.000000",
    "description": "fitted on 2023-01, 2023-02",
}


@cache
def small_pipeline(share: float) -> Pipeline:
    """Return a pipeline fitted on this share of the minutes, with intervals and background data."""
    trips, tune = train_trips(), validation_trips()
    pipeline = FAMILIES["xgboost"].make_pipeline({"n_estimators": 20}, n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(trips, trips["duration_minutes"] * share)
    attach_intervals(pipeline, calibrate(pipeline.predict(tune), tune["duration_minutes"] * share))
    attach_background_sample(pipeline, trips)
    return pipeline


def served_model(version: str = "1") -> ServedModel:
    """Return the small pipeline as a served version with the card of ``TAGS``."""
    registered = SimpleNamespace(version=version, run_id="r", source="models:/m-1", tags=TAGS)
    card = ModelCard.of(ModelVersion.from_mlflow(registered), datetime(2026, 1, 1, tzinfo=UTC))
    return ServedModel(Model(small_pipeline(1.0), version), card)


@dataclass
class ServedHome:
    """A home with a registry.

    Attributes:
        variables: Its environment variables.
        pipelines: Pipeline of each registered version.
        store: Store of the registry.
    """

    variables: dict[str, str]
    pipelines: dict[str, Pipeline]
    store: TrackingStore

    def promote(self, version: str | None) -> None:
        """Set the alias ``champion`` to a version, or delete it."""
        client = self.store.client()
        if version is None:
            client.delete_registered_model_alias(REGISTERED_MODEL, CHAMPION)
        else:
            client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, version)

    def minutes(self, version: str, requests: pd.DataFrame) -> list[float]:
        """Return the predictions of a version."""
        return [float(value) for value in self.pipelines[version].predict(requests)]


def served_home(folders: pytest.TempPathFactory) -> ServedHome:
    """Return a new home in which version 1 is the champion, and version 2 predicts differently.

    The champion was handed over to the service before.
    """
    copy = make_once(folders, "served", _make_served).copy(folders.mktemp("served"))
    pipelines = {str(at): small_pipeline(share) for at, share in enumerate(SHARES, 1)}
    return ServedHome(
        {**copy.environment, "ML_ASSETS_TRIPS": "sample"}, pipelines, _store(copy.home)
    )


def _make_served(folder: Path) -> PublishedHome:
    made = PublishedHome(folder / "home", folder / "published")
    made.trips.mkdir()
    settings = settings_for(made.home)
    lay_tables_of_mlflow(settings)
    client = _store(made.home).client()
    registry = Registry(client, REGISTERED_MODEL, made.home)
    for share in SHARES:
        pipeline = small_pipeline(share)
        with tracked_run(client, EXPERIMENT, "small", {}) as run:
            uri = log_pipeline(run, pipeline, validation_trips()[list(REQUEST_COLUMNS)].head(5))
        tags = {**TAGS, FINGERPRINT: json.dumps(probe_predictions(pipeline))}
        registry.register(uri, run.run_id, tags)
    client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, "1")
    watcher = RegistryWatcher(settings)
    watcher.poll()
    while not (made.home / SERVING_FOLDER / CHAMPION_FILE).exists():
        watcher.wait()
    return made


def _store(home: Path) -> TrackingStore:
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    return TrackingStore(f"sqlite:///{home}/mlflow.db", EXPERIMENT, f"{home}/mlartifacts", home)


def sample_requests(count: int) -> tuple[list[dict[str, object]], pd.DataFrame]:
    """Return requests as JSON objects, and as a frame."""
    frame = validation_trips()[list(REQUEST_COLUMNS)].head(count)
    records = json.loads(frame.astype({"passenger_count": "float64"}).to_json(orient="records"))
    times = [time.isoformat() for time in frame["pickup_datetime"]]
    return [
        {**one, "pickup_datetime": time} for one, time in zip(records, times, strict=True)
    ], frame
