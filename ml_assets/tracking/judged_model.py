"""What a training logs to MLflow: parameters, figures, trials, data lineage, the pipeline."""

from typing import TYPE_CHECKING

from ml_assets.modeling.records import ModelRecord, TrainingSet
from ml_assets.tracking.models import log_pipeline
from ml_assets.tracking.runs import TrackedRun
from ml_assets.trips.rules import REQUEST_COLUMNS

if TYPE_CHECKING:
    from ml_assets.modeling.judged import JudgedModel

EXAMPLE_ROWS = 5


def log_judged_model(
    run: TrackedRun, judged: "JudgedModel", training_set: TrainingSet
) -> ModelRecord:
    """Log everything that a model stands on and is.

    Args:
        run: The open run of the training asset; trials become its children.
        judged: The model, its figures and its trials.
        training_set: The months, rows and checksums that it stands on.

    Returns:
        The model's record with its MLflow run and model URI.
    """
    record = judged.record
    _log_parameters(run, record, training_set)
    _log_figures(run, record)
    run.log_dict(training_set.model_dump(), "training_set.json")
    _log_importance(run, judged, training_set)
    run.log_dict({"slices": [entry.model_dump() for entry in record.slices]}, "slices.json")
    _log_trials(run, judged)
    example = judged.judged[list(REQUEST_COLUMNS)].head(EXAMPLE_ROWS)
    uri = log_pipeline(run, judged.pipeline, example)
    return record.model_copy(update={"mlflow_run_id": run.run_id, "model_uri": uri})


def _log_parameters(run: TrackedRun, record: ModelRecord, training_set: TrainingSet) -> None:
    run.log_params(
        {
            **record.parameters,
            "fitted_on": ",".join(record.fitted_on),
            "tuned_on": ",".join(record.tuned_on),
            "judged_on": ",".join(str(month) for month in training_set.months_of("judge")),
            "fit_on": record.fit_on,
            "trials": record.trials,
            "seed": record.seed,
        }
    )
    tags = {
        "training_set": training_set.fingerprint,
        "dataset": training_set.dataset,
        "synthetic": str(training_set.synthetic).lower(),
        "model": record.model,
    }
    if training_set.caveat is not None:
        tags["caveat"] = training_set.caveat
    run.set_tags(tags)


def _log_figures(run: TrackedRun, record: ModelRecord) -> None:
    if record.train is not None:
        run.log_metrics(record.train.model_dump(), "train_")
    run.log_metrics(record.validation.model_dump(), "validation_")
    run.log_metrics(record.test.model_dump(), "test_")
    run.log_metrics(
        {
            "fit_seconds": record.fit_seconds,
            "tuning_seconds": record.tuning_seconds,
            "predict_seconds": record.predict_seconds,
            "size_bytes": record.size_bytes,
        }
    )


def _log_trials(run: TrackedRun, judged: "JudgedModel") -> None:
    for trial in judged.trials:
        figures = {} if trial.tune_rmse is None else {"tune_rmse": trial.tune_rmse}
        run.log_child(
            f"trial {trial.number}",
            trial.parameters,
            figures,
            failed=trial.state == "FAIL",
            tags={"state": trial.state},
        )


def _log_importance(run: TrackedRun, judged: "JudgedModel", training_set: TrainingSet) -> None:
    from ml_assets.modeling.importance import feature_importance, importance_picture

    run.log_dict(feature_importance(judged.pipeline), "feature_importance.json")
    picture = importance_picture(judged.pipeline, judged.record, training_set.synthetic)
    run.log_bytes(picture, "feature_importance.png")
