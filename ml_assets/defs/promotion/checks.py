"""The check of serving parity after every decision on the champion."""

import dagster as dg

from ml_assets.defs.check_results import single_result
from ml_assets.defs.common import CHAMPION_MODEL
from ml_assets.defs.operations.concurrent_steps import cores
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.records import TrainingSet

_PARITY = dg.AssetCheckKey(CHAMPION_MODEL, "serving_parity")


@dg.asset_check(
    name=_PARITY.name,
    asset=_PARITY.asset_key,
    description="The champion predicts the same minutes, bounds and version, to the last bit, in "
    "this process, in batch files, over HTTP and for the page of the prediction service, which is "
    "started for it on a free port; and its features equal those of training.",
    op_tags=cores("one"),
)
def serving_parity(trip_store: TripStoreResource, tracking: MlflowTracking) -> dg.AssetCheckResult:
    """Compare the predictions for a thousand trips of the test month."""
    from ml_assets.promotion.serving_parity import compare_champion
    from ml_assets.training.training_set import load_trips

    training_set = trip_store.records().read("training_set", TrainingSet)
    test_trips = load_trips(trip_store.tables(), training_set, "test")
    result = compare_champion(tracking.reader(), tracking.registered_model, test_trips)
    compared = {name: dg.MetadataValue.int(count) for name, count in result.compared.items()}
    return single_result(_PARITY, result.finding(), compared)
