"""Jobs: named pieces of the graph to launch by hand, by schedule or by sensor."""

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
from ml_assets.defs.operations.run_outcomes import tag_transient_failures

TRAINING_SELECTION = dg.AssetSelection.groups(
    TRAINING, MODELS, EVALUATION
) - dg.AssetSelection.assets("backtest")


def project_jobs(partitions: dg.PartitionsDefinition) -> list[Any]:
    """Ingest months; train, judge and decide on what is there; predict, and watch."""
    return [
        dg.define_asset_job(
            "ingest_trips",
            selection=dg.AssetSelection.groups(INGESTION),
            partitions_def=partitions,
            hooks={tag_transient_failures},
            description="Bring published months and split them into kept and rejected trips.",
        ),
        dg.define_asset_job(
            "train_models",
            selection=TRAINING_SELECTION,
            description="Choose the months, train every family, judge them, decide on a champion.",
        ),
        dg.define_asset_job(
            "retrain",
            selection=TRAINING_SELECTION,
            config={"ops": {"training_set": {"config": {"on_rejected_months": "skip"}}}},
            hooks={tag_transient_failures},
            description="The same as train_models, except that months which a data rule refuses "
            "are left out: what sensors and schedules start.",
        ),
        dg.define_asset_job(
            "predict_trips",
            selection=dg.AssetSelection.groups(PREDICTIONS),
            partitions_def=partitions,
            description="Score the requests of stored months with the champion.",
        ),
        dg.define_asset_job(
            "monitor_trips",
            selection=dg.AssetSelection.groups(MONITORING),
            description="Measure drift, and the champion's error on months that came in since.",
        ),
        dg.define_asset_job(
            "run_backtest",
            selection=dg.AssetSelection.assets("backtest"),
            description="Judge the champion's parameters, every family and the baselines on every "
            "stored month, each trained on the months before it.",
        ),
    ]
