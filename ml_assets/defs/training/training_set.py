"""The training set and its checks: the months to train, validate and test on."""

from collections.abc import Iterator, Mapping
from typing import Literal

import dagster as dg
from pydantic import Field

from ml_assets.config.code_version import model_code_version
from ml_assets.defs.check_results import single_result
from ml_assets.defs.common import OWNERS, TRAINING, TRAINING_POOL, dataset_label
from ml_assets.defs.metadata import safe_metadata, table
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.records import TrainingSet
from ml_assets.storage.month_profiles import MonthProfiles
from ml_assets.training import training_set_checks as rules
from ml_assets.training.training_set import (
    TABLE,
    TrainingSetError,
    build_training_set,
    rejected_months,
)
from ml_assets.training.windows import WindowError, choose_window
from ml_assets.trips.month import Month


class TrainingSetConfig(dg.Config):
    """Choice of the months.

    Attributes:
        train_months: Number of training months; by default all available ones, up to 12.
        test_month: The test month (YYYY-MM); by default the newest.
        exclude_months: Months (YYYY-MM) to exclude, for example a damaged one.
        on_rejected_months: What to do with months that a data rule rejects: ``fail`` raises and
            names them, ``skip`` continues without them, as the job ``retrain`` does.
    """

    train_months: int | None = None
    test_month: str | None = None
    exclude_months: list[str] = Field(default_factory=list)
    on_rejected_months: Literal["fail", "skip"] = "fail"


@dg.asset(
    deps=["trip_features", "rejected_trips"],
    group_name=TRAINING,
    owners=OWNERS,
    kinds={"parquet"},
    pool=TRAINING_POOL,
    code_version=model_code_version(),
    description=(
        "The training, validation and test months, with their rows, file checksums and code "
        "versions. The trips stay in `trip_features`."
    ),
)
def training_set(
    context: dg.AssetExecutionContext, config: TrainingSetConfig, trip_store: TripStoreResource
) -> dg.MaterializeResult:
    """Choose the months, reject unusable ones, and record the choice."""
    store = trip_store.tables()
    excluded = {Month.parse(text) for text in config.exclude_months}
    available = [month for month in store.months(TABLE) if month not in excluded]
    rejected = rejected_months(store, available)
    skipped = rejected if config.on_rejected_months == "skip" else {}
    available = [month for month in available if month not in skipped]
    for month, why in skipped.items():
        context.log.warning(f"{month} is skipped, rejected by a data rule: {why}")
    test = Month.parse(config.test_month) if config.test_month else None
    try:
        window = choose_window(available, config.train_months, test)
        record = build_training_set(store, window, rejected)
    except (WindowError, TrainingSetError) as error:
        raise dg.Failure(str(error)) from error
    trip_store.records().write("training_set", record)
    context.log.info(window.describe())
    return dg.MaterializeResult(
        metadata={
            "fingerprint": record.fingerprint,
            **safe_metadata(
                context.log, "training_set", lambda: _metadata(record, window.describe(), skipped)
            ),
        }
    )


def _metadata(
    record: TrainingSet, window: str, skipped: Mapping[Month, str]
) -> dict[str, dg.MetadataValue]:
    months = [
        {
            "month": use.month,
            "role": use.role,
            "trips": use.rows,
            "raw_sha256": use.raw_sha256[:12],
            "source": use.source,
            "made_by": use.code_version,
        }
        for use in record.months
    ]
    metadata: dict[str, dg.MetadataValue] = {
        "window": dg.MetadataValue.text(window),
        "months": table(months),
        "train_trips": dg.MetadataValue.int(record.rows_in("train")),
        "validation_trips": dg.MetadataValue.int(record.rows_in("validation")),
        "test_trips": dg.MetadataValue.int(record.rows_in("test")),
        "trips": dg.MetadataValue.text(dataset_label(record.dataset, synthetic=record.synthetic)),
    }
    if skipped:
        metadata["left_out"] = table(
            [{"month": str(month), "why": why} for month, why in skipped.items()]
        )
    if record.caveat:
        metadata["caveat"] = dg.MetadataValue.text(record.caveat)
    return metadata


_SPECS = {
    "no_split_overlap": "Training, validation and test months are disjoint and in this order.",
    "inputs_unchanged": "The stored months are those of the record and pass the data rules.",
    "no_leaky_features": "Models get only request columns and the target.",
    "target_in_range": "Durations lie within the course's rule, 1 to 60 minutes.",
    "zone_pair_coverage": "Most test trips go between zone pairs seen in training.",
}


@dg.multi_asset_check(
    name="training_set_checks",
    specs=[
        dg.AssetCheckSpec(
            name, asset="training_set", description=text, blocking=name != "zone_pair_coverage"
        )
        for name, text in _SPECS.items()
    ],
    can_subset=True,
)
def training_set_checks(
    context: dg.AssetCheckExecutionContext, trip_store: TripStoreResource
) -> Iterator[dg.AssetCheckResult]:
    """Apply the rules to the training set."""
    store = trip_store.tables()
    training_set = trip_store.records().read("training_set", TrainingSet)
    profiles = MonthProfiles(store)
    every = profiles.of_stored(training_set.months_in("train", "validation", "test"))
    train = profiles.of_stored(training_set.months_in("train"))
    test = profiles.of_stored(training_set.months_in("test"))
    findings = {
        "no_split_overlap": rules.no_split_overlap(training_set),
        "inputs_unchanged": rules.inputs_unchanged(training_set, store),
        "no_leaky_features": rules.no_leaky_features(every),
        "target_in_range": rules.target_in_range(every),
        "zone_pair_coverage": rules.zone_pair_coverage(train, test),
    }
    for key in sorted(context.selected_asset_check_keys):
        yield single_result(key, findings[key.name])
