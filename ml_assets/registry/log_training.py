"""What a training logs to MLflow: parameters, figures, trials, data lineage, the pipeline."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ml_assets.evaluation.records import ModelRecord, TrainingSet
from ml_assets.registry.artifacts import log_pipeline
from ml_assets.registry.datasets import month_datasets
from ml_assets.registry.environment import this_environment
from ml_assets.registry.mlflow_runs import TrackedRun
from ml_assets.trips.rules import REQUEST_COLUMNS

if TYPE_CHECKING:
    from ml_assets.training.train_and_evaluate import JudgedModel

EXAMPLE_ROWS = 5
DESCRIPTION_TAG = "mlflow.note.content"
"""The tag in which MLflow keeps the description of a run."""

TRAINING_SET_FILE, RECORD_FILE = "training_set.json", "model_record.json"


def log_judged_model(
    run: TrackedRun,
    judged: "JudgedModel",
    training_set: TrainingSet,
    pictures: Mapping[str, bytes],
    description: str = "",
) -> ModelRecord:
    """Log everything that a model stands on and is.

    Args:
        run: The open run of the training asset; trials become its children.
        judged: The model, its figures and its trials.
        training_set: The months, rows and checksums that it stands on.
        pictures: Name to PNG, of ``model_pictures``.
        description: Of the run, in Markdown.

    Returns:
        The model's record with its MLflow run and model URI.
    """
    from ml_assets.evaluation.feature_importance import feature_importance

    record = judged.record
    tags = _tags(record, training_set) | ({DESCRIPTION_TAG: description} if description else {})
    run.log(_parameters(record, training_set), _figures(record), tags)
    run.log_datasets(month_datasets(training_set))
    run.log_dict(training_set.model_dump(), TRAINING_SET_FILE)
    # Parameters proper are kept as text: here they keep their types, with what the fit ran on.
    environment = this_environment().model_dump()
    run.log_dict({"record": record.model_dump(), "environment": environment}, RECORD_FILE)
    run.log_dict({"slices": [entry.model_dump() for entry in record.slices]}, "slices.json")
    run.log_dict(feature_importance(judged.pipeline), "feature_importance.json")
    for name, picture in pictures.items():
        run.log_bytes(picture, f"{name}.png")
    _log_trials(run, judged)
    example = judged.judged[list(REQUEST_COLUMNS)].head(EXAMPLE_ROWS)
    uri = log_pipeline(run, judged.pipeline, example, record.model)
    return record.model_copy(update={"mlflow_run_id": run.run_id, "model_uri": uri})


_TRIAL_STATUS = {"FAIL": "FAILED", "PRUNED": "KILLED"}
"""MLflow has no status for a pruned trial; the tag ``state`` tells it from one that was stopped."""


def _log_trials(run: TrackedRun, judged: "JudgedModel") -> None:
    for trial in judged.trials:
        figures = {} if trial.tune_rmse is None else {"tune_rmse": trial.tune_rmse}
        run.log_child(
            f"{judged.record.model} trial {trial.number}",
            trial.parameters,
            figures,
            status=_TRIAL_STATUS.get(trial.state, "FINISHED"),
            tags={"state": trial.state, "model": judged.record.model},
        )


def _parameters(record: ModelRecord, training_set: TrainingSet) -> dict[str, Any]:
    return {
        **record.parameters,
        "fitted_on": ",".join(record.fitted_on),
        "tuned_on": ",".join(record.tuned_on),
        "judged_on": ",".join(str(month) for month in training_set.months_of("judge")),
        "fit_on": record.fit_on,
        "trials": record.trials,
        "seed": record.seed,
    }


def _figures(record: ModelRecord) -> dict[str, float]:
    parts = {"train": record.train, "validation": record.validation, "test": record.test}
    return {
        f"{part}_{name}": value
        for part, figures in parts.items()
        if figures is not None
        for name, value in figures.model_dump().items()
    } | {
        "fit_seconds": record.fit_seconds,
        "tuning_seconds": record.tuning_seconds,
        "predict_seconds": record.predict_seconds,
        "size_bytes": record.size_bytes,
        **_interval_figures(record),
    }


def _interval_figures(record: ModelRecord) -> dict[str, float]:
    interval = record.interval
    if interval is None:
        return {}
    return {
        "interval_coverage": interval.coverage,
        "interval_mean_width": interval.mean_width,
    }


def _tags(record: ModelRecord, training_set: TrainingSet) -> dict[str, str]:
    tags = {
        "training_set": training_set.fingerprint,
        "dataset": training_set.dataset,
        "synthetic": str(training_set.synthetic).lower(),
        "model": record.model,
    }
    return tags if training_set.caveat is None else {**tags, "caveat": training_set.caveat}
