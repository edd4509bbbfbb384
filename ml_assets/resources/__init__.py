"""Dagster resources, made from the settings in one place."""

from typing import Any

from ml_assets.resources.monthly_table import MonthlyTableIOManager
from ml_assets.resources.tracking import MlflowTracking
from ml_assets.resources.trips import TripSourceResource, TripStoreResource
from ml_assets.settings import EXPERIMENT, REGISTERED_MODEL, Settings


def project_resources(settings: Settings) -> dict[str, Any]:
    """Every resource by its key."""
    store = TripStoreResource(home=settings.home, taxi=settings.taxi, synthetic=settings.synthetic)
    return {
        "trip_source": TripSourceResource(trips=settings.trips, taxi=settings.taxi),
        "trip_store": store,
        "monthly_table": MonthlyTableIOManager(store=store),
        "tracking": MlflowTracking(
            tracking_uri=settings.tracking_uri,
            experiment=EXPERIMENT,
            registered_model=REGISTERED_MODEL,
            artifact_location=f"{settings.home}/mlartifacts",
            lock_folder=str(settings.local_home),
        ),
    }
