"""The work of the asset graph in one plain process, without Dagster and MLflow.

``python -m benchmarks.plain_process FIRST LAST TRIALS`` ingests, trains and evaluates, runs the
backtest, predicts every month and compares the predictions over every channel of the service. It
prints one JSON line: the seconds of each part, named like the graph's steps.
"""

import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ml_assets.config.code_version import data_code_version, model_code_version
from ml_assets.config.settings import read_settings
from ml_assets.ingestion.ingest_month import ingest_month
from ml_assets.ingestion.open_source import open_source
from ml_assets.monitoring.data_profile.measure import DataProfiles
from ml_assets.storage.trip_store import Lineage, TripStore
from ml_assets.training.families import FAMILIES
from ml_assets.trips.cleaning import kept_trips, read_published, rejected_trips
from ml_assets.trips.month import Month, months_between
from ml_assets.trips.month_limits import MonthLimits

if TYPE_CHECKING:
    from ml_assets.evaluation.records import TrainingSet
    from ml_assets.pipeline.predict import Model
    from ml_assets.storage.model_version import ModelVersion
    from ml_assets.training.train_and_evaluate import EvaluatedModel


def ingest(store: TripStore, trips: str, months: list[Month]) -> None:
    """Ingest every month; store its kept and rejected trips and profile, as the graph does."""
    source = open_source(trips, store.taxi)
    published = source.published(months)
    for month in months:
        record = ingest_month(source, store, month, published.get(month)).record
        if record is None:
            raise SystemExit(f"{month} is not published: choose other months")
        lineage = Lineage(
            month=record.month,
            dataset=store.dataset,
            source=record.source,
            raw_sha256=record.sha256,
            published_rows=record.rows,
            code_version=data_code_version(),
        )
        for table, half in (("trip_features", kept_trips), ("rejected_trips", rejected_trips)):
            with store.open_raw(month) as file:
                frame = read_published(file, store.taxi, month, store.raw_path(month))
            store.write_table(table, half(frame, month), lineage)
        DataProfiles(store, MonthLimits.of(store.taxi)).of(month)


def train(
    store: TripStore, trials: int
) -> tuple["TrainingSet", list["EvaluatedModel"], dict[str, float]]:
    """Train and evaluate every family and baseline, loading the months as the graph does.

    Returns:
        The training set, the models, and the seconds of each part; imports count in the part that
        needs them first.
    """
    from ml_assets.evaluation.leaderboard import leaderboard
    from ml_assets.training.train_and_evaluate import (
        TuningOptions,
        evaluate_baselines,
        load_splits,
        train_and_evaluate,
    )
    from ml_assets.training.training_set import TABLE, build_training_set
    from ml_assets.training.tune import TuningBudget
    from ml_assets.training.windows import choose_window

    begun = time.perf_counter()
    seconds: dict[str, float] = {}
    training_set = build_training_set(store, choose_window(store.months(TABLE)))
    options = TuningOptions(TuningBudget(trials))
    models = []
    for family in FAMILIES.values():
        months = load_splits(store, training_set)
        models.append(train_and_evaluate(family, training_set, months, options))
        seconds[f"{family.name}_model"] = time.perf_counter() - begun - sum(seconds.values())
    baselines = evaluate_baselines(training_set, load_splits(store, training_set))
    leaderboard([*(model.record for model in models), *baselines])
    seconds["model_leaderboard"] = time.perf_counter() - begun - sum(seconds.values())
    return training_set, models, seconds


def use_best(
    store: TripStore, training_set: "TrainingSet", models: list["EvaluatedModel"]
) -> dict[str, float]:
    """Run the backtest, predict every month and compare the channels, with the best model.

    Returns:
        Seconds of each part.

    Raises:
        SystemExit: A channel predicts something else.
    """
    import polars as pl

    from ml_assets.backtesting.inputs import ChampionParameters
    from ml_assets.backtesting.run import BacktestOptions, run_backtest
    from ml_assets.defs.backtesting.assets import DEFAULT_ROWS, TRAIN_MONTHS, BacktestConfig
    from ml_assets.pipeline.predict import Model
    from ml_assets.storage.model_version import ModelVersion
    from ml_assets.trips.request_columns import REQUEST_COLUMNS

    best = min(models, key=lambda model: model.record.test.rmse)
    version = ModelVersion(
        model=best.record.model,
        version="1",
        dataset=store.dataset,
        synthetic=store.synthetic,
        training_months=tuple(best.record.training_months),
        validation_months=tuple(best.record.validation_months),
        test_month=str(training_set.months_in("test")[0]),
        test_rmse=best.record.test.rmse,
    )
    model = Model(best.pipeline, version.version)
    begun = time.perf_counter()
    compare_channels(model, version, best)
    parity = time.perf_counter() - begun

    begun = time.perf_counter()
    for month in store.months("trip_features"):
        trips = store.read_table("trip_features", month, ["trip_id", *REQUEST_COLUMNS])
        lineage, _ = store.lineage("trip_features", month)
        at = datetime.now(UTC)
        parts = [model.predict_frame(part, at) for part in trips.iter_slices(100_000)]
        lineage = lineage.model_copy(update={"code_version": model_code_version()})
        frame = trips.select("trip_id").hstack(pl.concat(parts))
        store.write_table("trip_predictions", frame, lineage)
    scoring = time.perf_counter() - begun

    begun = time.perf_counter()
    run_backtest(
        store,
        BacktestOptions(TRAIN_MONTHS, tuple(FAMILIES), DEFAULT_ROWS, BacktestConfig().seconds),
        champion=ChampionParameters(version, best.record.parameters),
        last={model.record.model: model.record for model in models},
    )
    backtest = time.perf_counter() - begun
    return {"serving_parity": parity, "trip_predictions": scoring, "backtest": backtest}


def compare_channels(model: "Model", version: "ModelVersion", best: "EvaluatedModel") -> None:
    """Serve the model from a bundle and compare, as the check ``serving_parity`` does.

    Raises:
        SystemExit: A channel predicts something else.
    """
    import skops.io

    from ml_assets.promotion.candidate_service import serve_bundle
    from ml_assets.promotion.serving_parity import compare, sample_requests, single_requests
    from ml_assets.serving.bundle import (
        PIPELINE_FILE,
        RECORD_FILE,
        SERVING_FOLDER,
        BundleRecord,
        ChampionManifest,
        digest,
    )

    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / SERVING_FOLDER / "1"
        bundle.mkdir(parents=True)
        skops.io.dump(model.pipeline, bundle / PIPELINE_FILE)
        sha256 = digest(bundle / PIPELINE_FILE)
        record = BundleRecord(facts=version, source="plain", sha256=sha256)
        (bundle / RECORD_FILE).write_text(record.model_dump_json())
        with serve_bundle(Path(folder), ChampionManifest(version="1", folder="1")) as service:
            trips = sample_requests(best.test_trips)
            result = compare(model, trips, service.post, single_requests(len(best.test_trips)))
    if result.difference is not None:
        raise SystemExit(result.difference)


def main() -> None:
    """Do all of it for the months of the command line, with the settings of the environment."""
    settings = read_settings()
    store = TripStore(settings.home, settings.taxi, settings.synthetic)
    first, last = (Month.parse(text) for text in sys.argv[1:3])
    begun = time.perf_counter()
    ingest(store, settings.trips, list(months_between(first, last)))
    ingestion = time.perf_counter() - begun
    training_set, models, training = train(store, int(sys.argv[3]))
    seconds = {"ingestion": ingestion, **training, **use_best(store, training_set, models)}
    print(json.dumps({name: round(value, 2) for name, value in seconds.items()}))


if __name__ == "__main__":
    main()
