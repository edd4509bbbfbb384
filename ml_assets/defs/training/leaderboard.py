"""The leaderboard of all models and baselines."""

import time

import dagster as dg

from ml_assets.config.cores import processor_seconds
from ml_assets.defs.common import EVALUATION, OWNERS, TRAINING_POOL, dataset_label
from ml_assets.defs.metadata import figure, image, materialized, table
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.defs.training.models import model_asset_name
from ml_assets.evaluation import leaderboard as tables
from ml_assets.evaluation.records import Leaderboard, ModelRecord, TrainingSet
from ml_assets.training.families import FAMILIES

MODEL_ASSETS = [model_asset_name(name) for name in FAMILIES]


@dg.asset(
    deps=[*MODEL_ASSETS, "training_set"],
    group_name=EVALUATION,
    owners=OWNERS,
    pool=TRAINING_POOL,
    kinds={"table"},
    description="Metrics of every model and baseline on the same test month, with the metered "
    "distance and without a distance, best first.",
)
def model_leaderboard(
    context: dg.AssetExecutionContext, trip_store: TripStoreResource
) -> dg.MaterializeResult:
    """Collect the models of this training set, evaluate the baselines, rank them all."""
    from ml_assets.training.train_and_evaluate import baseline_splits, evaluate_baselines

    started, cpu_started = time.perf_counter(), processor_seconds()
    records = trip_store.records()
    training_set = records.read("training_set", TrainingSet)
    found = [trip_store.find_record(name, ModelRecord, context.log) for name in MODEL_ASSETS]
    models = [each for each in found if each and each.training_set == training_set.fingerprint]
    absent = [name for name in FAMILIES if name not in {record.model for record in models}]
    if absent:
        context.log.warning(
            f"missing from the leaderboard, not trained on this training set: {', '.join(absent)}"
        )
    baselines = evaluate_baselines(training_set, baseline_splits(trip_store.tables(), training_set))
    board = Leaderboard(
        training_set=training_set.fingerprint,
        test_month=", ".join(str(month) for month in training_set.months_in("test")),
        synthetic=training_set.synthetic,
        caveat=training_set.caveat,
        rows=tables.leaderboard([*models, *baselines]),
        seconds=time.perf_counter() - started,
        cpu_seconds=processor_seconds() - cpu_started,
    )
    records.write("model_leaderboard", board)
    return materialized(context, lambda: _leaderboard_metadata(board, training_set, absent))


def _leaderboard_metadata(
    board: Leaderboard, training_set: TrainingSet, absent: list[str]
) -> dict[str, dg.MetadataValue]:
    from ml_assets.reporting.charts import leaderboard_bars

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
        "coverage": table(tables.coverage_table(board.rows)),
        "more_figures": table(tables.figures_table(board.rows)),
        "cost": table(tables.cost_table(board.rows)),
        **({"rows": table(rows)} if (rows := tables.rows_table(board.rows)) else {}),
        "rmse_by_slice": table(tables.best_by_slice(board.rows)),
    }
    if best:
        metadata["best_test_rmse"] = figure(best.test.rmse)
        if best.usual_rmse is not None:
            metadata["best_test_rmse_usual"] = figure(best.usual_rmse)
    metadata |= {f"rmse/{row.model}": figure(row.test.rmse) for row in board.rows}
    metadata |= {
        f"usual/{row.model}": figure(row.usual_rmse)
        for row in board.rows
        if row.usual_rmse is not None
    }
    by_slice = tables.as_markdown_table(tables.slices_side_by_side(board.rows))
    return metadata | {
        "all_by_slice": dg.MetadataValue.md(by_slice),
        "chart": image(chart, "RMSE of every model and baseline"),
    }
