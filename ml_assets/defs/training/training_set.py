"""The training set: which months train, which tunes and which judges."""

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
    """Which months to use.

    Attributes:
        train_months: So many months train; by default as many as are there, up to 12.
        judge_month: This month (YYYY-MM) judges; by default the newest.
        exclude_months: Months (YYYY-MM) to leave out, a damaged one say.
        on_rejected_months: What to do with months that a data rule rejects: ``fail`` names them and
            trains on nothing, ``skip`` goes on without them, as the job ``retrain`` does.
    """

    train_months: int | None = None
    judge_month: str | None = None
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
        "Which months train, which tunes and stops early, and which judges: with their rows, file "
        "checksums and the code that made them. The trips themselves stay in `trip_features`."
    ),
)
def training_set(
    context: dg.AssetExecutionContext, config: TrainingSetConfig, trip_store: TripStoreResource
) -> dg.MaterializeResult:
    """Choose the months, refuse those that nothing should be learned from, record the choice."""
    from ml_assets.training.training_set import (
        TABLE,
        TrainingSetError,
        build_training_set,
        rejected_months,
    )

    store = trip_store.tables()
    excluded = {Month.parse(text) for text in config.exclude_months}
    available = [month for month in store.months(TABLE) if month not in excluded]
    left_out: dict[Month, str] = {}
    if config.on_rejected_months == "skip":
        left_out = rejected_months(store, available)
        available = [month for month in available if month not in left_out]
    for month, why in left_out.items():
        context.log.warning(f"{month} is left out, since a data rule refuses it: {why}")
    judge = Month.parse(config.judge_month) if config.judge_month else None
    try:
        window = choose_window(available, config.train_months, judge)
        described = build_training_set(store, window)
    except (WindowError, TrainingSetError) as error:
        raise dg.Failure(str(error)) from error
    trip_store.records().write("training_set", described)
    context.log.info(window.describe())
    return dg.MaterializeResult(
        metadata={
            "fingerprint": described.fingerprint,
            **safe_metadata(
                context.log,
                "training_set",
                lambda: _metadata(described, window.describe(), left_out),
            ),
        }
    )


def _metadata(
    described: TrainingSet, window: str, left_out: Mapping[Month, str]
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
        for use in described.months
    ]
    metadata: dict[str, dg.MetadataValue] = {
        "window": dg.MetadataValue.text(window),
        "months": table(months),
        "train_trips": dg.MetadataValue.int(described.rows_of("train")),
        "tune_trips": dg.MetadataValue.int(described.rows_of("tune")),
        "judge_trips": dg.MetadataValue.int(described.rows_of("judge")),
        "trips": dg.MetadataValue.text(
            dataset_label(described.dataset, synthetic=described.synthetic)
        ),
    }
    if left_out:
        metadata["left_out"] = table(
            [{"month": str(month), "why": why} for month, why in left_out.items()]
        )
    if described.caveat:
        metadata["caveat"] = dg.MetadataValue.text(described.caveat)
    return metadata
