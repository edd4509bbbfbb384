"""The leaderboard of all models and baselines."""

import time
from typing import TYPE_CHECKING

import dagster as dg

from ml_assets.defs.common import EVALUATION, OWNERS, TRAINING_POOL, dataset_label
from ml_assets.defs.metadata import figure, safe_metadata, table
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.defs.training.models import model_asset_name
from ml_assets.evaluation.records import Leaderboard, ModelRecord, TrainingSet
from ml_assets.training.families import FAMILIES

if TYPE_CHECKING:
    from ml_assets.storage.record_store import RecordStore

MODEL_ASSETS = [model_asset_name(name) for name in FAMILIES]


@dg.asset(
    deps=[*MODEL_ASSETS, "training_set"],
    group_name=EVALUATION,
    owners=OWNERS,
    pool=TRAINING_POOL,
    kinds={"table"},
    description="Metrics of every model and baseline on the same test month, best first.",
)
def model_leaderboard(
    context: dg.AssetExecutionContext, trip_store: TripStoreResource
) -> dg.MaterializeResult:
    """Collect the models of this training set, evaluate the baselines, rank them all."""
    from ml_assets.evaluation.leaderboard import leaderboard
    from ml_assets.training.train_and_evaluate import evaluate_baselines, load_splits

    started, cpu_started = time.perf_counter(), time.process_time()
    records = trip_store.records()
    training_set = records.read("training_set", TrainingSet)
    models = _trained_models(context, records, training_set)
    absent = [name for name in FAMILIES if name not in {record.model for record in models}]
    if absent:
        context.log.warning(
            f"missing from the leaderboard, not trained on this training set: {', '.join(absent)}"
        )
    baselines = evaluate_baselines(training_set, load_splits(trip_store.tables(), training_set))
    board = Leaderboard(
        training_set=training_set.fingerprint,
        test_month=", ".join(str(month) for month in training_set.months_in("test")),
        synthetic=training_set.synthetic,
        caveat=training_set.caveat,
        rows=leaderboard([*models, *baselines]),
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu_started,
    )
    records.write("model_leaderboard", board)
    return dg.MaterializeResult(
        metadata=safe_metadata(
            context.log,
            "model_leaderboard",
            lambda: _leaderboard_metadata(board, training_set, absent),
        )
    )


def _trained_models(
    context: dg.AssetExecutionContext, records: "RecordStore", training_set: TrainingSet
) -> list[ModelRecord]:
    """Return the stored records of the models trained on this training set."""
    from ml_assets.storage.record_store import UnreadableRecord

    models = []
    for name in MODEL_ASSETS:
        try:
            record = records.find(name, ModelRecord)
        except UnreadableRecord as error:
            context.log.warning(str(error))
            continue
        if record is not None and record.training_set == training_set.fingerprint:
            models.append(record)
    return models


def _leaderboard_metadata(
    board: Leaderboard, training_set: TrainingSet, absent: list[str]
) -> dict[str, dg.MetadataValue]:
    from ml_assets.evaluation import leaderboard as tables
    from ml_assets.reporting.charts import as_markdown_image, leaderboard_bars

    best = board.best
    chart = leaderboard_bars(
        board.rows,
        training_set.months_in("test"),
        best=best.model if best else None,
        synthetic=board.synthetic,
        caveat=board.caveat,
    )
    # Dagster shows the entries in this order, in a column of 500 px where the window has 1500.
    metadata: dict[str, dg.MetadataValue] = {
        "summary": dg.MetadataValue.text(board.summary),
        "leaderboard": table(tables.leaderboard_table(board.rows)),
    }
    if board.caveat:
        metadata["caveat"] = dg.MetadataValue.text(board.caveat)
    if absent:
        metadata["not_trained"] = dg.MetadataValue.text(", ".join(absent))
    metadata |= {
        "test_month": dg.MetadataValue.text(board.test_month),
        "trips": dg.MetadataValue.text(
            dataset_label(training_set.dataset, synthetic=board.synthetic)
        ),
        "more_figures": table(tables.figures_table(board.rows)),
        "cost": table(tables.cost_table(board.rows)),
        "rmse_by_slice": table(tables.best_by_slice(board.rows)),
    }
    if best:
        metadata["best_test_rmse"] = figure(best.test.rmse)
    metadata |= {f"rmse/{row.model}": figure(row.test.rmse) for row in board.rows}
    by_slice = tables.as_markdown_table(tables.slices_side_by_side(board.rows))
    return metadata | {
        "all_by_slice": dg.MetadataValue.md(by_slice),
        "chart": dg.MetadataValue.md(as_markdown_image(chart, "RMSE of every model and baseline")),
    }
