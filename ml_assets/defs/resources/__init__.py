"""Dagster resources, built from the settings."""

import os
from typing import Any

import dagster as dg

from ml_assets.config.settings import EXPERIMENT, REGISTERED_MODEL, Settings
from ml_assets.defs.resources.io_manager import MonthlyTableIOManager
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import RequestLogResource, TripSourceResource, TripStoreResource
from ml_assets.registry import artifact_location
from ml_assets.secrets import without_credentials


def project_resources(settings: Settings) -> dict[str, Any]:
    """Return the resources by key.

    Dagster's UI shows the configuration of resources, so a value that contains a password is
    replaced by the name of its variable.
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
    """Return the value, or a reference to its environment variable if it has credentials."""
    if value == without_credentials(value):
        return value
    # Steps read the variable when they start: it must have the validated value.
    os.environ[variable] = value
    return dg.EnvVar(variable)
