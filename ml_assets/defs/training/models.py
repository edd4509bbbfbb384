"""One asset for each model family: tuned, fitted, evaluated and logged to MLflow.

Every family in ``ml_assets.training.families`` gets its asset, checks and leaderboard row.
"""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from ml_assets.config.code_version import model_code_version
from ml_assets.defs.common import MODELS, OWNERS, TRAINING_POOL, dataset_label
from ml_assets.defs.metadata import figure, optional, safe_metadata, table
from ml_assets.defs.operations.concurrent_steps import cores
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.evaluation.records import ModelRecord, TrainingSet
from ml_assets.progress import TrialEnded, report
from ml_assets.training.families import FAMILIES, ModelFamily
from ml_assets.training.windows import span
from ml_assets.trips.month import Month
from ml_assets.trips.target import TARGET

if TYPE_CHECKING:
    from ml_assets.training.fit import TrialRecord
    from ml_assets.training.train_and_evaluate import EvaluatedModel, TuningOptions


class ModelConfig(dg.Config):
    """Options of tuning and fitting a model."""

    trials: int = Field(
        default=5, description="Tuning trials; 0 uses the last parameters, else the defaults."
    )
    tuning_seconds: float | None = Field(
        default=None, description="Stop tuning after this many seconds."
    )
    seed: int = Field(default=42, description="Seed of the tuning and of the estimator.")
    refit_on_validation: bool = Field(
        default=True,
        description="Refit the tuned model on the training and validation months before the test, "
        "instead of the training months only.",
    )
    warm_start: bool = Field(
        default=True,
        description="Start from the champion's parameters if it is of this family, else from the "
        "family's last ones; never from any that were chosen with the test month.",
    )
    study_storage: str | None = Field(
        default=None,
        description="Optuna RDB URL (sqlite:///…, postgresql://…) shared by several workers; each "
        "training set has its own study.",
    )


def model_asset_name(family: str) -> str:
    """Return the asset key of a family: ``xgboost`` becomes ``xgboost_model``."""
    return f"{family}_model"


def model_assets() -> list[dg.AssetsDefinition]:
    """Return one asset for each family."""
    return [_model_asset(family) for family in FAMILIES.values()]


def _model_asset(family: ModelFamily) -> dg.AssetsDefinition:
    name = model_asset_name(family.name)

    @dg.asset(
        name=name,
        deps=["training_set"],
        group_name=MODELS,
        pool=TRAINING_POOL,
        op_tags=cores("one" if family.single_core else "all"),
        owners=OWNERS,
        kinds={*family.kinds, "mlflow"},
        code_version=model_code_version(),
        description=f"{family.title}. {family.description} One pipeline from a request to "
        f"{TARGET.unit}, tuned, fitted, evaluated and logged to MLflow.",
    )
    def model(
        context: dg.AssetExecutionContext,
        config: ModelConfig,
        trip_store: TripStoreResource,
        tracking: MlflowTracking,
    ) -> dg.MaterializeResult:
        from ml_assets.registry.log_training import log_evaluated_model
        from ml_assets.registry.mlflow_descriptions import describe_training, run_name
        from ml_assets.reporting.model_charts import model_charts
        from ml_assets.training.train_and_evaluate import load_splits, train_and_evaluate

        def report_trial(trial: "TrialRecord") -> None:
            context.log.info(_format_trial(family, trial, config.trials))
            report(TrialEnded(name, trial.validation_rmse))

        training_set = trip_store.records().read("training_set", TrainingSet)
        # Everything that can fail is inside, so that MLflow's run has the status of the step.
        with tracking.run(context, run_name(family.name, training_set, context.run_id)) as run:
            warm_start = None
            if config.warm_start:
                champion = tracking.warm_start_parameters(run.client, family.name, training_set)
                last = _last_parameters(context, family, trip_store, training_set)
                warm_start = _known(family, champion) or last
            options = _tuning_options(config, family, training_set, warm_start)
            evaluated = train_and_evaluate(
                family,
                training_set,
                load_splits(trip_store.tables(), training_set),
                options,
                on_trial=report_trial,
            )
            charts: dict[str, bytes] = optional(
                context.log, f"charts of {name}", lambda: model_charts(evaluated, training_set), {}
            )
            description = describe_training(
                evaluated.record, training_set, family.title, context.run_id
            )
            record = log_evaluated_model(run, evaluated, training_set, charts, description)
            trip_store.records().write(name, record)
            links = tracking.run_links(run)
            return dg.MaterializeResult(
                metadata=safe_metadata(
                    context.log,
                    name,
                    lambda: _metadata(record, training_set, charts) | _features(evaluated) | links,
                )
            )

    return model


def _format_trial(family: ModelFamily, trial: "TrialRecord", trials: int) -> str:
    outcome = trial.state.lower()
    if trial.validation_rmse is not None:
        outcome = f"validation RMSE {trial.validation_rmse:.3f}"
    return f"{family.name} trial {trial.number + 1} of {trials}: {outcome} ({trial.seconds:.1f} s)"


def _tuning_options(
    config: ModelConfig,
    family: ModelFamily,
    training_set: TrainingSet,
    warm_start: dict[str, Any] | None,
) -> "TuningOptions":
    from ml_assets.training.train_and_evaluate import TuningOptions
    from ml_assets.training.tune import TuningBudget

    return TuningOptions(
        budget=TuningBudget(config.trials, config.tuning_seconds, config.seed),
        refit_on_validation=config.refit_on_validation,
        warm_start=warm_start,
        storage=config.study_storage,
        # Trials are only comparable on the same trips, hence one study per training set.
        study_name=f"{family.name} on {training_set.dataset} {training_set.fingerprint}",
    )


def _known(family: ModelFamily, logged: dict[str, Any] | None) -> dict[str, Any]:
    """Return the family's parameters among the logged ones of an MLflow run."""
    return {name: value for name, value in (logged or {}).items() if name in family.defaults}


def _last_parameters(
    context: dg.AssetExecutionContext,
    family: ModelFamily,
    trip_store: TripStoreResource,
    training_set: TrainingSet,
) -> dict[str, Any] | None:
    """Return the parameters of the family's last model unless chosen with the test month.

    An unreadable record is ignored, as it will be replaced.
    """
    from ml_assets.storage.record_store import UnreadableRecord

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


def _features(evaluated: "EvaluatedModel") -> dict[str, dg.MetadataValue]:
    from ml_assets.evaluation.feature_importance import feature_descriptions, importance_table

    sentences = feature_descriptions(evaluated.pipeline)
    return {"features": table(importance_table(evaluated.importance, sentences))}


def _metadata(
    record: ModelRecord, training_set: TrainingSet, charts: dict[str, bytes]
) -> dict[str, dg.MetadataValue]:
    """Return the metadata: figures that Dagster plots, tables and charts."""
    from ml_assets.evaluation.interval_coverage import interval_table
    from ml_assets.evaluation.leaderboard import slices_table
    from ml_assets.reporting.charts import as_markdown_image

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
        "parameters": dg.MetadataValue.json(record.parameters),
        "slices": table(slices_table(record)),
        **{
            name: dg.MetadataValue.md(
                as_markdown_image(png, f"{name.replace('_', ' ')} of {record.model}")
            )
            for name, png in charts.items()
        },
        "mlflow_run_id": dg.MetadataValue.text(record.mlflow_run_id or ""),
        "model_uri": dg.MetadataValue.text(record.model_uri or ""),
    }
    if record.interval is not None:
        metadata["interval_coverage"] = figure(record.interval.coverage)
        metadata["interval_mean_width"] = figure(record.interval.mean_width)
        metadata["intervals"] = table(interval_table(record.interval))
    if record.train is not None:
        metadata["train_rmse"] = figure(record.train.rmse)
    if training_set.caveat:
        metadata["caveat"] = dg.MetadataValue.text(training_set.caveat)
    return metadata
