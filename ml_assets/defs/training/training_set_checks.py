"""Checks of the training set: what models are about to learn from and to be judged on."""

from collections.abc import Iterator

import dagster as dg

from ml_assets.defs.check_results import single_result
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.records import TrainingSet

_ASSET = dg.AssetKey("training_set")
_SPECS = (
    ("months_in_order", True, "Train, tune and judge months are disjoint, each after the other."),
    (
        "months_as_recorded",
        True,
        "The stored months are those of the record, and no data rule refuses one by now.",
    ),
    ("only_known_at_request", True, "Models are given request columns and the target only."),
    ("target_in_range", True, "Durations lie within the course's rule, 1 to 60 minutes."),
    ("judged_pairs_seen", False, "Most judged trips go between zones that training has paired."),
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
    """Hold the training set to its rules."""
    from ml_assets.storage.month_profiles import MonthProfiles
    from ml_assets.training import training_set_checks

    store = trip_store.tables()
    training_set = trip_store.records().read("training_set", TrainingSet)
    profiles = MonthProfiles(store)
    every = profiles.of_stored(training_set.months_of("train", "tune", "judge"))
    train = profiles.of_stored(training_set.months_of("train"))
    judge = profiles.of_stored(training_set.months_of("judge"))
    findings = {
        "months_in_order": training_set_checks.months_in_order(training_set),
        "months_as_recorded": training_set_checks.months_as_recorded(training_set, store),
        "only_known_at_request": training_set_checks.only_known_at_request(every),
        "target_in_range": training_set_checks.target_in_range(every),
        "judged_pairs_seen": training_set_checks.judged_pairs_seen(train, judge),
    }
    for key in sorted(context.selected_asset_check_keys):
        yield single_result(key, findings[key.name])
