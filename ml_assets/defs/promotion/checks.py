"""The check of every decision on the champion: it answers alike wherever it is asked."""

import dagster as dg

from ml_assets.defs.check_results import single_result
from ml_assets.defs.common import CHAMPION_MODEL
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.records import TrainingSet

_PARITY = dg.AssetCheckKey(CHAMPION_MODEL, "serving_parity")


@dg.asset_check(
    name=_PARITY.name,
    asset=_PARITY.asset_key,
    description="The champion gives the same minutes, bounds and version, to the last bit, in this "
    "process, in batch files, over HTTP and to the page of the prediction service, which is "
    "started for it on a free port; and its features are those of training.",
)
def serving_parity(trip_store: TripStoreResource, tracking: MlflowTracking) -> dg.AssetCheckResult:
    """Ask for a thousand trips of the test month in each way."""
    from ml_assets.promotion.serving_parity import compare_champion
    from ml_assets.training.training_set import load_trips

    training_set = trip_store.records().read("training_set", TrainingSet)
    test_trips = load_trips(trip_store.tables(), training_set, "test")
    found = compare_champion(tracking.reader(), tracking.registered_model, test_trips)
    compared = {way: dg.MetadataValue.int(count) for way, count in found.compared.items()}
    return single_result(_PARITY, found.finding(), compared)
