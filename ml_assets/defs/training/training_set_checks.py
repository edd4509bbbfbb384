"""Asset checks of the training set."""

from collections.abc import Iterator

import dagster as dg

from ml_assets.defs.check_results import single_result
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.records import TrainingSet

_ASSET = dg.AssetKey("training_set")
_SPECS = (
    (
        "no_split_overlap",
        True,
        "Training, validation and test months are disjoint and in this order.",
    ),
    (
        "inputs_unchanged",
        True,
        "The stored months are those of the record and pass the data rules.",
    ),
    ("no_leaky_features", True, "Models get only request columns and the target."),
    ("target_in_range", True, "Durations lie within the course's rule, 1 to 60 minutes."),
    ("zone_pair_coverage", False, "Most test trips go between zone pairs seen in training."),
)


@dg.multi_asset_check(
    name="training_set_checks",
    specs=[
        dg.AssetCheckSpec(name, asset=_ASSET, description=description, blocking=blocking)
        for name, blocking, description in _SPECS
    ],
    can_subset=True,
)
def training_set_checks(
    context: dg.AssetCheckExecutionContext, trip_store: TripStoreResource
) -> Iterator[dg.AssetCheckResult]:
    """Apply the rules to the training set."""
    from ml_assets.storage.month_profiles import MonthProfiles
    from ml_assets.training import training_set_checks

    store = trip_store.tables()
    training_set = trip_store.records().read("training_set", TrainingSet)
    profiles = MonthProfiles(store)
    every = profiles.of_stored(training_set.months_in("train", "validation", "test"))
    train = profiles.of_stored(training_set.months_in("train"))
    test = profiles.of_stored(training_set.months_in("test"))
    findings = {
        "no_split_overlap": training_set_checks.no_split_overlap(training_set),
        "inputs_unchanged": training_set_checks.inputs_unchanged(training_set, store),
        "no_leaky_features": training_set_checks.no_leaky_features(every),
        "target_in_range": training_set_checks.target_in_range(every),
        "zone_pair_coverage": training_set_checks.zone_pair_coverage(train, test),
    }
    for key in sorted(context.selected_asset_check_keys):
        yield single_result(key, findings[key.name])
