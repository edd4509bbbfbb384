"""Dagster resources, made from the settings in one place."""

import os
from typing import Any

import dagster as dg

from ml_assets.config.settings import EXPERIMENT, REGISTERED_MODEL, Settings
from ml_assets.defs.resources.io_manager import MonthlyTableIOManager
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import RequestLogResource, TripSourceResource, TripStoreResource
from ml_assets.registry.mlflow_store import artifact_location
from ml_assets.secrets import without_credentials


def project_resources(settings: Settings) -> dict[str, Any]:
    """Every resource by its key.

    Dagster's UI shows the configuration of resources: a value with a password in it is given by the
    name of its variable.
    """
    store = TripStoreResource(
        home=_shown("ML_ASSETS_HOME", settings.home),
        taxi=settings.taxi,
        synthetic=settings.synthetic,
        max_month_rows=settings.max_month_rows,
    )
    return {
        "trip_source": TripSourceResource(
            trips=_shown("ML_ASSETS_TRIPS", settings.trips),
            taxi=settings.taxi,
            max_month_rows=settings.max_month_rows,
        ),
        "trip_store": store,
        "monthly_table": MonthlyTableIOManager(store=store),
        "request_log": RequestLogResource(local_home=str(settings.local_home)),
        "tracking": MlflowTracking(
            tracking_uri=_shown("MLFLOW_TRACKING_URI", settings.tracking_uri),
            experiment=EXPERIMENT,
            registered_model=REGISTERED_MODEL,
            artifact_location=artifact_location(settings.home, settings.local_home),
            lock_folder=str(settings.local_home),
        ),
    }


def _shown(variable: str, value: str) -> str:
    """The value, or a reference to its environment variable when it holds credentials."""
    if value == without_credentials(value):
        return value
    # Steps read the variable when they start: it has to hold the value that was checked.
    os.environ[variable] = value
    return dg.EnvVar(variable)
