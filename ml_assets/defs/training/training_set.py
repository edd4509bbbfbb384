"""The training set: the months to train, validate and test on."""

from collections.abc import Mapping
from typing import Literal

import dagster as dg
from pydantic import Field

from ml_assets.config.code_version import model_code_version
from ml_assets.defs.common import OWNERS, TRAINING, TRAINING_POOL, dataset_label
from ml_assets.defs.metadata import safe_metadata, table
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.records import TrainingSet
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
    from ml_assets.training.training_set import (
        TABLE,
        TrainingSetError,
        build_training_set,
        rejected_months,
    )

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
