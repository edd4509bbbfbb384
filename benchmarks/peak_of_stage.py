"""Months through a stage of the graph: ``python -m benchmarks.peak_of_stage STAGE FIRST LAST``.

``ingestion`` is the job with its checks; ``training_set`` is that, then the training set with its
checks, in one process; ``load_trips`` loads the trips of a training set that an earlier process
made; ``all_rows`` trains XGBoost on all rows in parts, with a number of trees as last argument.
``trip_predictions``, ``feature_drift``, ``prediction_performance`` and ``backtest`` need a
champion; all but the first of them take every stored month. Prints one JSON line: memory before and
at the peak, in megabytes.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from ml_assets.cli.instance import open_instance
from ml_assets.config.settings import Settings, read_settings
from ml_assets.definitions import assemble
from ml_assets.trips.month import Month, months_between

_STATUS = Path("/proc/self/status")
_QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}

JOBS = {
    "trip_predictions": "predict_trips",
    "feature_drift": "run_monitoring",
    "prediction_performance": "run_monitoring",
    "backtest": "run_backtest",
}
"""The job of each asset that a champion is needed for."""

BACKTEST = {"families": ["lasso"], "max_rows": 100_000, "seconds": None}
"""Config of ``backtest``: one family beside the champion's parameters and the baselines."""


def peak_megabytes() -> float:
    """The most memory that this process has had resident."""
    if _STATUS.is_file():
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def run_graph(settings: Settings, first: Month, last: Month, *, with_training_set: bool) -> None:
    """Ingest the months, then build the training set if requested."""
    instance = open_instance(settings)
    definitions = assemble(settings)
    definitions.resolve_job_def("ingest_trips").execute_in_process(
        instance=instance, run_config=_QUIET, tags=_range(first, last)
    )
    if with_training_set:
        # A run of one asset includes its checks, as in the UI.
        definitions.resolve_job_def("train_models").execute_in_process(
            instance=instance, run_config=_QUIET, asset_selection=[dg.AssetKey("training_set")]
        )


def materialize(settings: Settings, asset: str, first: Month, last: Month) -> None:
    """Materialize an asset of ``JOBS``, with its checks."""
    config = {"ops": {asset: {"config": BACKTEST}}} if asset == "backtest" else {}
    job = assemble(settings).resolve_job_def(JOBS[asset])
    job.execute_in_process(
        instance=open_instance(settings),
        run_config=_QUIET | config,
        tags=_range(first, last) if asset == "trip_predictions" else {},
        asset_selection=[dg.AssetKey(asset)],
    )


def _range(first: Month, last: Month) -> dict[str, str]:
    """Return the tags of a run on a range of monthly partitions."""
    return {
        "dagster/asset_partition_range_start": str(first),
        "dagster/asset_partition_range_end": str(last),
    }


def load(settings: Settings) -> dict[str, float]:
    """Load the trips of every role at once; how large they are, and the memory before."""
    from ml_assets.defs.resources.trips import TripStoreResource
    from ml_assets.evaluation.records import TrainingSet
    from ml_assets.training.training_set import load_trips

    store = TripStoreResource(home=settings.home, taxi=settings.taxi, synthetic=settings.synthetic)
    training_set = store.records().read("training_set", TrainingSet)
    newest = training_set.model_copy(
        update={"months": [use for use in training_set.months if use.role == "test"]}
    )
    # Once for a month, so that libraries and their pools are there before the measurement.
    load_trips(store.tables(), newest, "test")
    before = peak_megabytes()
    trips = load_trips(store.tables(), training_set, "train", "validation", "test")
    size = trips.memory_usage(index=False, deep=True).sum() / 1024**2
    return {"before_megabytes": before, "decoded_megabytes": float(size), "rows": len(trips)}


def train_all_rows(settings: Settings, first: Month, last: Month, trees: int) -> dict[str, float]:
    """Train XGBoost on all rows of ingested months, as its asset does, with this many trees."""
    from ml_assets.storage.trip_store import TripStore
    from ml_assets.training.families import FAMILIES
    from ml_assets.training.train_and_evaluate import (
        TuningOptions,
        load_splits,
        train_and_evaluate,
    )
    from ml_assets.training.training_set import build_training_set
    from ml_assets.training.tune import TuningBudget
    from ml_assets.training.windows import choose_window

    store = TripStore(settings.home, settings.taxi, settings.synthetic)
    training_set = build_training_set(store, choose_window([*months_between(first, last)]))
    family = FAMILIES["xgboost"]
    splits = load_splits(store, training_set, family.max_rows, fit_all=True)
    rounds = {"n_estimators": trees, "n_estimators_without_distance": trees}
    options = TuningOptions(TuningBudget(trials=0), warm_start=rounds)
    record = train_and_evaluate(family, training_set, splits, options).record
    return {"rows": record.rows.fitted if record.rows else 0, "seconds": round(record.seconds, 1)}


def main() -> None:
    """Do what the command line says, under the settings of the environment."""
    stage = sys.argv[1]
    settings = read_settings()
    if stage == "load_trips":
        measured = load(settings)
    else:
        first, last = (Month.parse(text) for text in sys.argv[2:4])
        months = len([*months_between(first, last)])
        measured = {"before_megabytes": peak_megabytes(), "months": months}
        if stage == "all_rows":
            measured |= train_all_rows(settings, first, last, int(sys.argv[4]))
        elif stage in JOBS:
            materialize(settings, stage, first, last)
        else:
            run_graph(settings, first, last, with_training_set=stage == "training_set")
    print(json.dumps(measured | {"peak_megabytes": peak_megabytes()}))


if __name__ == "__main__":
    main()
