"""Asset checks of the models, of the leaderboard's best model and of the champion.

They load a model from MLflow and predict the test month. The checks of models do not block, so that
one poor family does not prevent the comparison of the others. Neither does the check of the best
model: the promotion applies the same checks and records why a model is not promoted, which a
blocked step could not.
"""

from collections.abc import Iterator

import dagster as dg

from ml_assets.defs.check_results import single_result
from ml_assets.defs.common import CHAMPION_MODEL
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.defs.training.models import model_asset_name
from ml_assets.training.families import FAMILIES

SPECS = {
    "better_than_baselines": "The RMSE is below that of every baseline on the same test month.",
    "predictions_in_range": "Every prediction is finite and a plausible number of minutes.",
    "serialization_round_trip": "The model predicts the same after storing and loading.",
    "no_test_leakage": "Neither the model's months nor its error suggest that it has seen the "
    "test month, and its error is as large on slightly changed test trips.",
    "fit_time_within_budget": "The fit takes no more processor time than the budget for its number "
    "of trips.",
    "interval_coverage": "The intervals cover their nominal share of test trips, within 3 points: "
    "with and without a distance, and of each fifth of the predictions.",
}
NOT_REQUIRED_OF_THE_BEST = ("fit_time_within_budget", "interval_coverage")
_LOW_PRIORITY = {"dagster/priority": "-1"}
"""Nothing waits for these checks: the steps that run in threads start first."""

_LEADERBOARD = dg.AssetKey("model_leaderboard")
_BEST = dg.AssetCheckKey(_LEADERBOARD, "best_model_is_servable")


_MODEL_SPECS = [
    dg.AssetCheckSpec(
        name,
        asset=model_asset_name(family),
        description=description,
        additional_deps=[_LEADERBOARD],
    )
    for family in FAMILIES
    for name, description in SPECS.items()
]
_BEST_SPEC = dg.AssetCheckSpec(
    _BEST.name,
    asset=_BEST.asset_key,
    description="The best model beats the baselines, its predictions are plausible and do not "
    "change when it is loaded, and it has not seen the test month. Otherwise `champion_model` "
    "does not promote it.",
)


@dg.multi_asset_check(
    name="model_checks", specs=[*_MODEL_SPECS, _BEST_SPEC], can_subset=True, op_tags=_LOW_PRIORITY
)
def model_checks(
    context: dg.AssetCheckExecutionContext,
    trip_store: TripStoreResource,
    tracking: MlflowTracking,
) -> Iterator[dg.AssetCheckResult]:
    """Load the selected models and apply the checks."""
    from ml_assets.defs.training.checked_models import CheckedModels

    tracking.reader()
    models = CheckedModels.of(trip_store)
    selected = context.selected_asset_check_keys
    for family in FAMILIES:
        asset = dg.AssetKey(model_asset_name(family))
        keys = sorted(key for key in selected if key.asset_key == asset)
        findings = models.findings(family) if keys else {}
        for key in keys:
            shown = models.slices(asset) if key.name == "interval_coverage" else None
            yield single_result(key, findings[key.name], shown)
    if _BEST in selected:
        yield single_result(_BEST, models.best_model())


@dg.multi_asset_check(
    name="champion_checks",
    specs=[
        dg.AssetCheckSpec(
            "champion_matches_evaluation",
            asset=CHAMPION_MODEL,
            description="The champion loads, predicts in range and is the evaluated model.",
            blocking=True,
        ),
        dg.AssetCheckSpec(
            "interval_coverage", asset=CHAMPION_MODEL, description=SPECS["interval_coverage"]
        ),
    ],
)
def champion_checks(
    trip_store: TripStoreResource, tracking: MlflowTracking
) -> Iterator[dg.AssetCheckResult]:
    """Load the champion as a server does and predict the test month."""
    from ml_assets.defs.training.checked_models import CheckedModels

    tracking.reader()
    models = CheckedModels.of(trip_store)
    matches, coverage = models.champion(tracking.registered_model)
    yield single_result(dg.AssetCheckKey(CHAMPION_MODEL, "champion_matches_evaluation"), matches)
    key = dg.AssetCheckKey(CHAMPION_MODEL, "interval_coverage")
    yield single_result(key, coverage, models.slices(CHAMPION_MODEL))
