"""The training job under another executor, which ``ML_ASSETS_BENCH_EXECUTOR`` names.

A module of its own, since processes of the multiprocess executor import the job by its name.
"""

import os
import sys
from typing import Any

import dagster as dg

from ml_assets.cli.instance import open_instance
from ml_assets.config.settings import read_settings
from ml_assets.definitions import assemble
from ml_assets.defs.training.models import model_asset_name
from ml_assets.training.families import FAMILIES

VARIABLE = "ML_ASSETS_BENCH_EXECUTOR"
WORKERS = 2
PRELOADED = [
    "benchmarks.executor_job",
    "mlflow.sklearn",
    "pandas",
    "matplotlib.figure",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.svm",
    "xgboost",
    "optuna",
    "skops.io",
]
EXECUTORS: dict[str, dg.ExecutorDefinition] = {
    "in_process": dg.in_process_executor,
    "spawn": dg.multiprocess_executor.configured(
        {"max_concurrent": WORKERS, "start_method": {"spawn": {}}}
    ),
    "forkserver": dg.multiprocess_executor.configured(
        {
            "max_concurrent": WORKERS,
            "start_method": {"forkserver": {"preload_modules": PRELOADED}},
        }
    ),
}


def train_job() -> dg.JobDefinition:
    """The project's ``train_models``, with nothing changed but the executor."""
    project = assemble(read_settings())
    return dg.Definitions(
        assets=project.assets,
        asset_checks=project.asset_checks,
        jobs=project.jobs,
        resources=project.resources,
        executor=EXECUTORS[os.environ[VARIABLE]],
    ).resolve_job_def("train_models")


def run() -> None:
    """Train every family with its defaults on what is ingested; exits with 1 when that fails."""
    untuned = {model_asset_name(name): {"config": {"trials": 0}} for name in FAMILIES}
    config: dict[str, Any] = {
        "ops": untuned,
        "loggers": {"console": {"config": {"log_level": "ERROR"}}},
    }
    with dg.execute_job(
        dg.reconstructable(train_job), open_instance(read_settings()), run_config=config
    ) as result:
        sys.exit(0 if result.success else 1)
