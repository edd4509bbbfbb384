"""Log a training to MLflow: parameters, metrics, trials, datasets, environment, pipeline."""

import json
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final
from urllib.parse import urlsplit

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from pydantic import BaseModel

from ml_assets.config.cores import available_cores
from ml_assets.evaluation.feature_importance import feature_descriptions, importance_table
from ml_assets.evaluation.records import ModelRecord, MonthSplit, TrainingSet
from ml_assets.ingestion.http import TLC_URL
from ml_assets.ingestion.source import published_filename
from ml_assets.registry.artifacts import log_pipeline
from ml_assets.registry.mlflow_descriptions import with_features
from ml_assets.registry.mlflow_runs import TrackedRun
from ml_assets.secrets import without_credentials
from ml_assets.training.train_and_evaluate import EvaluatedModel
from ml_assets.trips.month import Month
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

EXAMPLE_ROWS = 5
DESCRIPTION_TAG = "mlflow.note.content"
"""MLflow's tag for the description of a run."""

TRAINING_SET_FILE, RECORD_FILE = "training_set.json", "model_record.json"


def log_evaluated_model(
    run: TrackedRun,
    evaluated: EvaluatedModel,
    training_set: TrainingSet,
    charts: Mapping[str, bytes],
    description: str = "",
) -> ModelRecord:
    """Log a model with its inputs, metrics, trials and charts; return its record with run and URI.

    Args:
        run: The open run of the training asset; trials become its children.
        charts: PNGs by name, from ``model_charts``.
        description: Description of the run, in Markdown.
    """
    record, sentences = evaluated.record, feature_descriptions(evaluated.pipeline)
    description = with_features(description, evaluated.importance, sentences)
    tags = _tags(record, training_set) | ({DESCRIPTION_TAG: description} if description else {})
    run.log(_parameters(record, training_set), _figures(record), tags)
    run.log_datasets(month_datasets(training_set))
    run.log_dict(training_set.model_dump(), TRAINING_SET_FILE)
    # MLflow stores parameters as text; this file keeps their types, and the environment.
    environment = this_environment().model_dump()
    run.log_dict({"record": record.model_dump(), "environment": environment}, RECORD_FILE)
    run.log_dict({"slices": [entry.model_dump() for entry in record.slices]}, "slices.json")
    run.log_dict(evaluated.importance, "feature_importance.json")
    run.log_dict({"features": importance_table(evaluated.importance, sentences)}, "features.json")
    for name, png in charts.items():
        run.log_bytes(png, f"{name}.png")
    _log_trials(run, evaluated)
    example = evaluated.test_trips[list(REQUEST_COLUMNS)].head(EXAMPLE_ROWS)
    uri = log_pipeline(run, evaluated.pipeline, example, record.model)
    return record.model_copy(update={"mlflow_run_id": run.run_id, "model_uri": uri})


_TRIAL_STATUS = {"FAIL": "FAILED", "PRUNED": "KILLED"}
"""MLflow has no status for a pruned trial; the tag ``state`` distinguishes it from a killed one."""


def _log_trials(run: TrackedRun, evaluated: EvaluatedModel) -> None:
    for trial in evaluated.trials:
        figures = (
            {} if trial.validation_rmse is None else {"validation_rmse": trial.validation_rmse}
        )
        run.log_child(
            f"{evaluated.record.model} trial {trial.number}",
            trial.parameters,
            figures,
            status=_TRIAL_STATUS.get(trial.state, "FINISHED"),
            tags={"state": trial.state, "model": evaluated.record.model},
        )


def _parameters(record: ModelRecord, training_set: TrainingSet) -> dict[str, Any]:
    return {
        **record.parameters,
        "training_months": ",".join(record.training_months),
        "validation_months": ",".join(record.validation_months),
        "test_months": ",".join(str(month) for month in training_set.months_in("test")),
        "refit_on_validation": record.refit_on_validation,
        "trials": record.trials,
        "seed": record.seed,
        **({"fitted_rows": record.rows.fitted} if record.rows else {}),
    }


def _figures(record: ModelRecord) -> dict[str, float]:
    parts = {"train": record.train, "validation": record.validation, "test": record.test}
    found = {
        f"{part}_{name}": value
        for part, figures in parts.items()
        if figures is not None
        for name, value in figures.model_dump().items()
    }
    if record.usual is not None:
        without = record.usual.test.model_dump(exclude={"rows"})
        found |= {f"test_{name}_usual": value for name, value in without.items()}
    return found | {
        "fit_seconds": record.fit_seconds,
        "tuning_seconds": record.tuning_seconds,
        "predict_seconds": record.predict_seconds,
        "size_bytes": record.size_bytes,
        **_interval_figures(record),
    }


def _interval_figures(record: ModelRecord) -> dict[str, float]:
    return {
        f"{name}{mode}": value
        for mode, interval in (("", record.interval), ("_usual", record.usual_interval))
        if interval is not None
        for name, value in (
            ("interval_coverage", interval.coverage),
            ("interval_mean_width", interval.mean_width),
        )
    }


def _tags(record: ModelRecord, training_set: TrainingSet) -> dict[str, str]:
    tags = {
        "training_set": training_set.fingerprint,
        "dataset": training_set.dataset,
        "synthetic": str(training_set.synthetic).lower(),
        "model": record.model,
    }
    return tags if training_set.caveat is None else {**tags, "caveat": training_set.caveat}


CONTEXTS: Final = {"train": "train", "validation": "validation", "test": "test"}
"""MLflow's context of a month's role; its UI shows it beside the dataset."""

_DIGEST_CHARACTERS = 16
"""Length of the digest, from the SHA-256 of the published file; MLflow stores at most 36."""

_COLUMNS = (
    ("PULocationID", "long"),
    ("DOLocationID", "long"),
    ("trip_distance", "double"),
    ("pickup_datetime", "datetime"),
    ("passenger_count", "double"),
    (TARGET.name, "double"),
)


def month_datasets(training_set: TrainingSet) -> list[DatasetInput]:
    """Return each month once, with its roles, for ``MlflowClient.log_inputs``."""
    found = []
    for month, uses in _by_month(training_set).items():
        source_type, source = _source(uses[0].source, training_set.taxi, month)
        dataset = Dataset(
            name=published_filename(training_set.taxi, Month.parse(month)).partition(".")[0],
            digest=uses[0].raw_sha256[:_DIGEST_CHARACTERS],
            source_type=source_type,
            source=json.dumps(source),
            schema=_schema(),
            profile=json.dumps({"num_rows": uses[0].rows, "sha256": uses[0].raw_sha256}),
        )
        context = ", ".join(CONTEXTS[use.role] for use in uses)
        found.append(DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)]))
    return found


def _by_month(training_set: TrainingSet) -> dict[str, list[MonthSplit]]:
    """Group the uses by month; with two months, one of them has two roles."""
    uses: dict[str, list[MonthSplit]] = {}
    for use in training_set.months:
        uses.setdefault(use.month, []).append(use)
    return uses


def _source(source: str, taxi: str, month: str) -> tuple[str, dict[str, Any]]:
    """Return MLflow's source type and source of a month."""
    folder = without_credentials(TLC_URL if source == "tlc" else source).rstrip("/")
    file = f"{folder}/{published_filename(taxi, Month.parse(month))}"
    scheme = urlsplit(folder).scheme
    if scheme in ("http", "https"):
        return "http", {"url": file}
    if "://" in folder:
        return scheme, {"uri": file}
    if "/" in folder:
        return "local", {"uri": file}
    return "code", {"tags": {"mlflow.source.name": f"ml_assets ({folder})"}}


def _schema() -> str:
    columns = [{"type": kind, "name": name, "required": True} for name, kind in _COLUMNS]
    return json.dumps({"mlflow_colspec": columns})


LIBRARIES = ("numpy", "pandas", "scikit-learn", "scipy", "xgboost")
"""Libraries whose version can change the result of a fit."""


class Environment(BaseModel):
    """The environment in which a model was fitted.

    Attributes:
        cores: Cores available to the process, and so the threads of its estimators.
        machine: Processor type.
    """

    python: str
    libraries: dict[str, str]
    cores: int
    machine: str


def this_environment() -> Environment:
    """Return the environment of this process."""
    return Environment(
        python=platform.python_version(),
        libraries={name: metadata.version(name) for name in LIBRARIES},
        cores=available_cores(),
        machine=platform.machine(),
    )
