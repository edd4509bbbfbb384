"""The step of a model asset: tune, fit, evaluate and log one family.

Imported when the step is executed, since it needs MLflow, Optuna and what fits and draws.
"""

from typing import Any

import dagster as dg

from ml_assets.defs.common import dataset_label
from ml_assets.defs.metadata import figure, image, optional, safe_metadata, table
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.defs.training.models import ModelConfig, model_asset_name
from ml_assets.evaluation.feature_importance import feature_descriptions, importance_table
from ml_assets.evaluation.interval_coverage import interval_table
from ml_assets.evaluation.leaderboard import slices_table, wrong_distance_table
from ml_assets.evaluation.records import ModelRecord, TrainingSet, errors_record
from ml_assets.progress import TrialEnded, report
from ml_assets.registry.loading import warm_start_parameters
from ml_assets.registry.log_training import log_evaluated_model
from ml_assets.registry.mlflow_descriptions import describe_training, run_name
from ml_assets.reporting.model_charts import model_charts
from ml_assets.storage.record_store import UnreadableRecord
from ml_assets.training.families import ModelFamily
from ml_assets.training.fit import TrialRecord
from ml_assets.training.plan import require_memory
from ml_assets.training.row_sample import parse_row_limit
from ml_assets.training.train_and_evaluate import (
    EvaluatedModel,
    TuningOptions,
    load_splits,
    train_and_evaluate,
)
from ml_assets.training.tune import TuningBudget
from ml_assets.training.windows import span
from ml_assets.trips.month import Month


def train_model(
    context: dg.AssetExecutionContext,
    config: ModelConfig,
    family: ModelFamily,
    trip_store: TripStoreResource,
    tracking: MlflowTracking,
) -> dg.MaterializeResult:
    """Tune, fit and evaluate a family on the current training set, and log it to MLflow."""
    asset = model_asset_name(family.name)

    def report_trial(trial: TrialRecord) -> None:
        context.log.info(_format_trial(family, trial, config.trials))
        report(TrialEnded(asset, trial.validation_rmse))

    limit = parse_row_limit(config.max_rows)
    max_rows = family.bound(limit)
    fit_all = max_rows is None and family.fit_batches is not None
    training_set = trip_store.records().read("training_set", TrainingSet)
    require_memory(family.name, training_set, limit)
    # Everything else that can fail is inside, so that MLflow's run has the status of the step.
    with tracking.run(context, run_name(family.name, training_set, context.run_id)) as run:
        warm_start = None
        if config.warm_start:
            registry = tracking.registry(run.client)
            champion = warm_start_parameters(registry, family.name, training_set)
            last = _last_parameters(context, family, trip_store, training_set)
            warm_start = _known(family, champion) or last
        options = _tuning_options(config, family, training_set, warm_start)
        evaluated = train_and_evaluate(
            family,
            training_set,
            load_splits(
                trip_store.tables(),
                training_set,
                family.max_rows if fit_all else max_rows,
                config.seed,
                fit_all=fit_all,
            ),
            options,
            on_trial=report_trial,
        )
        charts: dict[str, bytes] = optional(
            context.log, f"charts of {asset}", lambda: model_charts(evaluated, training_set), {}
        )
        description = describe_training(
            evaluated.record, training_set, family.title, context.run_id
        )
        record = log_evaluated_model(run, evaluated, training_set, charts, description)
        records = trip_store.records()
        errors = evaluated.errors.model_copy(update={"run_id": record.mlflow_run_id or ""})
        records.write(errors_record(asset), errors)
        records.write(asset, record)
        links = tracking.run_links(run)
        return dg.MaterializeResult(
            metadata=safe_metadata(
                context.log,
                asset,
                lambda: _metadata(record, training_set, charts) | _features(evaluated) | links,
            )
        )


def _format_trial(family: ModelFamily, trial: TrialRecord, trials: int) -> str:
    outcome = trial.state.lower()
    if trial.validation_rmse is not None:
        outcome = f"validation RMSE {trial.validation_rmse:.3f}"
    return f"{family.name} trial {trial.number + 1} of {trials}: {outcome} ({trial.seconds:.1f} s)"


def _tuning_options(
    config: ModelConfig,
    family: ModelFamily,
    training_set: TrainingSet,
    warm_start: dict[str, Any] | None,
) -> TuningOptions:
    return TuningOptions(
        budget=TuningBudget(config.trials, config.tuning_seconds, config.seed),
        refit_on_validation=config.refit_on_validation,
        warm_start=warm_start,
        share_without_distance=config.share_without_distance,
        storage=config.study_storage,
        # Trials are only comparable on the same trips, hence one study per training set.
        study_name=f"{family.name} on {training_set.dataset} {training_set.fingerprint}",
    )


def _known(family: ModelFamily, logged: dict[str, Any] | None) -> dict[str, Any]:
    """Return the family's parameters among the logged ones of an MLflow run."""
    return {name: value for name, value in (logged or {}).items() if name in family.parameter_names}


def _last_parameters(
    context: dg.AssetExecutionContext,
    family: ModelFamily,
    trip_store: TripStoreResource,
    training_set: TrainingSet,
) -> dict[str, Any] | None:
    """Return the parameters of the family's last model unless chosen with the test month.

    An unreadable record is ignored, as it will be replaced.
    """
    try:
        last = trip_store.records().find(model_asset_name(family.name), ModelRecord)
    except UnreadableRecord as error:
        context.log.warning(f"no warm start: {error}")
        return None
    if last is None:
        return None
    if last.has_seen(training_set.months_in("test")[0]):
        context.log.info("no warm start: the last parameters were chosen with the test month")
        return None
    return last.parameters


def _features(evaluated: EvaluatedModel) -> dict[str, dg.MetadataValue]:
    sentences = feature_descriptions(evaluated.pipeline)
    return {"features": table(importance_table(evaluated.importance, sentences))}


def _metadata(
    record: ModelRecord, training_set: TrainingSet, charts: dict[str, bytes]
) -> dict[str, dg.MetadataValue]:
    """Return the metadata: figures that Dagster plots, tables and charts."""
    metadata: dict[str, dg.MetadataValue] = {
        "test_rmse": figure(record.test.rmse),
        "test_mae": figure(record.test.mae),
        "validation_rmse": figure(record.validation.rmse),
        "share_within_5_minutes": figure(record.test.share_within_5_minutes),
        "fit_seconds": figure(record.fit_seconds),
        "trips": dg.MetadataValue.text(
            dataset_label(training_set.dataset, synthetic=training_set.synthetic)
        ),
        "test_month": dg.MetadataValue.text(span(training_set.months_in("test"))),
        "training_months": dg.MetadataValue.text(
            span([Month.parse(m) for m in record.training_months])
        ),
        "training_set": dg.MetadataValue.text(training_set.fingerprint),
        **({"rows": dg.MetadataValue.text(record.rows.description)} if record.rows else {}),
        "parameters": dg.MetadataValue.json(record.parameters),
        "slices": table(slices_table(record)),
        "wrong_distance": table(wrong_distance_table(record.distance_errors)),
        **{
            name: image(png, f"{name.replace('_', ' ')} of {record.model}")
            for name, png in charts.items()
        },
        "mlflow_run_id": dg.MetadataValue.text(record.mlflow_run_id or ""),
        "model_uri": dg.MetadataValue.text(record.model_uri or ""),
    }
    if record.interval is not None:
        metadata["interval_coverage"] = figure(record.interval.coverage)
        metadata["interval_mean_width"] = figure(record.interval.mean_width)
        metadata["intervals"] = table(interval_table(record.interval, record.usual_interval))
    if record.usual is not None:
        metadata["test_rmse_usual"] = figure(record.usual.test.rmse)
        metadata["test_mae_usual"] = figure(record.usual.test.mae)
    if record.usual_interval is not None:
        metadata["interval_coverage_usual"] = figure(record.usual_interval.coverage)
        metadata["interval_mean_width_usual"] = figure(record.usual_interval.mean_width)
    if record.train is not None:
        metadata["train_rmse"] = figure(record.train.rmse)
    if training_set.caveat:
        metadata["caveat"] = dg.MetadataValue.text(training_set.caveat)
    return metadata
