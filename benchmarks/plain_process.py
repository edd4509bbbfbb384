"""The graph's work without the graph: ``python -m benchmarks.plain_process FIRST LAST TRIALS``.

Prints one JSON line: the seconds of each part, named as the graph's steps.
"""

import json
import sys
import time

from ml_assets.config.code_version import data_code_version
from ml_assets.config.settings import read_settings
from ml_assets.ingestion import open_source
from ml_assets.ingestion.ingest_month import ingest_month
from ml_assets.storage.trip_store import Lineage, TripStore
from ml_assets.training.families import FAMILIES
from ml_assets.trips.cleaning import kept_trips, read_published, rejected_trips
from ml_assets.trips.month import Month, months_between


def ingest(store: TripStore, trips: str, months: list[Month]) -> None:
    """Bring every month and store its kept and rejected trips, read once for each as the graph."""
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


def train(store: TripStore, trials: int) -> dict[str, float]:
    """Choose the months, then train and evaluate every family and baseline, loading as the graph.

    Returns:
        Seconds of each part; imports count in the part that needs them first.
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
    records = []
    for family in FAMILIES.values():
        months = load_splits(store, training_set)
        records.append(train_and_evaluate(family, training_set, months, options).record)
        seconds[f"{family.name}_model"] = time.perf_counter() - begun - sum(seconds.values())
    baselines = evaluate_baselines(training_set, load_splits(store, training_set))
    leaderboard([*records, *baselines])
    seconds["model_leaderboard"] = time.perf_counter() - begun - sum(seconds.values())
    return seconds


def main() -> None:
    """Do both for what the command line says, under the settings of the environment."""
    settings = read_settings()
    store = TripStore(settings.home, settings.taxi, settings.synthetic)
    first, last = (Month.parse(text) for text in sys.argv[1:3])
    begun = time.perf_counter()
    ingest(store, settings.trips, list(months_between(first, last)))
    ingestion = time.perf_counter() - begun
    seconds = {"ingestion": ingestion, **train(store, int(sys.argv[3]))}
    print(json.dumps({name: round(value, 2) for name, value in seconds.items()}))


if __name__ == "__main__":
    main()
