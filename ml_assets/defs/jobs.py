"""Asset jobs, launched manually, by schedules or by sensors."""

from typing import Any

import dagster as dg

from ml_assets.defs.common import (
    EVALUATION,
    INGESTION,
    MODELS,
    MONITORING,
    PREDICTIONS,
    TRAINING,
)
from ml_assets.defs.monitoring.data_profile import DATA_PROFILE
from ml_assets.defs.operations.run_outcomes import tag_transient_failures

TRAINING_SELECTION = dg.AssetSelection.groups(
    TRAINING, MODELS, EVALUATION
) - dg.AssetSelection.assets("backtest")

_PROFILE = dg.AssetSelection.assets(DATA_PROFILE)


def project_jobs(partitions: dg.PartitionsDefinition) -> list[Any]:
    """Return the jobs for ingestion, training, prediction, monitoring and the backtest."""
    return [
        dg.define_asset_job(
            "ingest_trips",
            selection=dg.AssetSelection.groups(INGESTION) | _PROFILE,
            partitions_def=partitions,
            hooks={tag_transient_failures},
            description="Ingest published months, split them into kept and rejected trips, and "
            "profile them.",
        ),
        dg.define_asset_job(
            "train_models",
            selection=TRAINING_SELECTION,
            description="Choose the months, train and evaluate every family, decide on the "
            "champion.",
        ),
        dg.define_asset_job(
            "retrain",
            selection=TRAINING_SELECTION,
            config={"ops": {"training_set": {"config": {"on_rejected_months": "skip"}}}},
            hooks={tag_transient_failures},
            description="Like train_models, but skips months that a data rule rejects; started by "
            "sensors and schedules.",
        ),
        dg.define_asset_job(
            "predict_trips",
            selection=dg.AssetSelection.groups(PREDICTIONS),
            partitions_def=partitions,
            description="Score stored months with the champion.",
        ),
        dg.define_asset_job(
            "run_monitoring",
            selection=dg.AssetSelection.groups(MONITORING) - _PROFILE,
            description="Measure drift, the champion's error on new months, and the request log.",
        ),
        dg.define_asset_job(
            "run_backtest",
            selection=dg.AssetSelection.assets("backtest"),
            description="Test the champion's parameters, every family and the baselines on every "
            "stored month, each trained on the months before it.",
        ),
    ]
