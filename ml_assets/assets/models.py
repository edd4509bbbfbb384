"""One asset for each model family: tuned, fitted, judged and logged to MLflow.

A family that is added to ``ml_assets.modeling.families`` gets its asset, checks and leaderboard row
from here by itself.
"""

from typing import TYPE_CHECKING, Literal

import dagster as dg
from pydantic import Field

from ml_assets.assets.groups import MODELS, OWNERS
from ml_assets.modeling.families import FAMILIES, ModelFamily
from ml_assets.modeling.records import ModelRecord, TrainingSet
from ml_assets.resources.tracking import MlflowTracking
from ml_assets.resources.trips import TripStoreResource
from ml_assets.version import code_version

if TYPE_CHECKING:
    from ml_assets.modeling.judged import JudgedModel, TuningOptions


class ModelConfig(dg.Config):
    """How a model is tuned and fitted."""

    trials: int = Field(default=5, description="Tuning trials; 0 takes the given parameters.")
    tuning_seconds: float | None = Field(default=None, description="Stop tuning after this long.")
    seed: int = Field(default=42, description="Seed of the tuning and of the estimator.")
    fit_on: Literal["train", "train_and_tune"] = Field(
        default="train_and_tune",
        description="What the judged model is fitted on once it is tuned; never the judged month.",
    )
    warm_start: bool = Field(
        default=True, description="Try the family's last parameters in MLflow first."
    )
    study_storage: str | None = Field(
        default=None,
        description="Optuna RDB URL (sqlite:///…, postgresql://…) that several workers share; each "
        "training set has a study of its own there.",
    )


def model_asset_name(family: str) -> str:
    """The asset key of a family: ``xgboost`` becomes ``xgboost_model``."""
    return f"{family}_model"


def model_assets() -> list[dg.AssetsDefinition]:
    """One asset for every family in the registry."""
    return [_model_asset(family) for family in FAMILIES.values()]


def _model_asset(family: ModelFamily) -> dg.AssetsDefinition:
    name = model_asset_name(family.name)

    @dg.asset(
        name=name,
        deps=["training_set"],
        group_name=MODELS,
        owners=OWNERS,
        kinds={"xgboost" if family.name == "xgboost" else "scikitlearn", "mlflow"},
        code_version=code_version(),
        description=f"{family.title}: tuned, fitted and judged, as one pipeline from a request "
        "to minutes, logged to MLflow.",
    )
    def model(
        context: dg.AssetExecutionContext,
        config: ModelConfig,
        trip_store: TripStoreResource,
        tracking: MlflowTracking,
    ) -> dg.MaterializeResult:
        from ml_assets.modeling.judged import load_months, train_and_judge
        from ml_assets.tracking.judged_model import log_judged_model

        training_set = trip_store.records().read("training_set", TrainingSet)
        options = _tuning_options(config, family, trip_store, training_set)
        with tracking.run(context, name) as run:
            months = load_months(trip_store.tables(), training_set)
            judged = train_and_judge(
                family,
                training_set,
                months,
                options,
                on_trial=lambda trial: context.log.info(
                    f"{family.name} trial {trial.number}: tune RMSE {trial.tune_rmse} "
                    f"({trial.state}, {trial.seconds:.1f} s)"
                ),
            )
            record = log_judged_model(run, judged, training_set)
        trip_store.records().write(name, record)
        return dg.MaterializeResult(metadata=_metadata(judged, record, training_set))

    return model


def _tuning_options(
    config: ModelConfig,
    family: ModelFamily,
    trip_store: TripStoreResource,
    training_set: TrainingSet,
) -> "TuningOptions":
    from ml_assets.modeling.judged import TuningOptions
    from ml_assets.modeling.tuning import TuningBudget

    last = trip_store.records().find(model_asset_name(family.name), ModelRecord)
    return TuningOptions(
        budget=TuningBudget(config.trials, config.tuning_seconds, config.seed),
        fit_on=config.fit_on,
        warm_start=last.parameters if last is not None and config.warm_start else None,
        storage=config.study_storage,
        # Trials compare on the same trips only: another training set has another study.
        study_name=f"{family.name} on {training_set.dataset} {training_set.fingerprint}",
    )


def _metadata(
    judged: "JudgedModel", record: ModelRecord, training_set: TrainingSet
) -> dict[str, dg.MetadataValue]:
    """What one looks at on the asset's page: figures that Dagster plots, tables and a picture."""
    from ml_assets.modeling.charts import as_markdown_image, predicted_versus_actual
    from ml_assets.modeling.importance import importance_picture
    from ml_assets.modeling.leaderboard import slices_markdown
    from ml_assets.trips.rules import TARGET

    picture = predicted_versus_actual(
        judged.judged[TARGET],
        judged.predicted,
        training_set.months_of("judge"),
        model=record.model,
        synthetic=training_set.synthetic,
    )
    metadata: dict[str, dg.MetadataValue] = {
        "test_rmse": dg.MetadataValue.float(record.test.rmse),
        "test_mae": dg.MetadataValue.float(record.test.mae),
        "validation_rmse": dg.MetadataValue.float(record.validation.rmse),
        "share_within_5_minutes": dg.MetadataValue.float(record.test.share_within_5_minutes),
        "fit_seconds": dg.MetadataValue.float(record.fit_seconds),
        "trips": dg.MetadataValue.text(
            "synthetic sample" if training_set.synthetic else training_set.dataset
        ),
        "fitted_on": dg.MetadataValue.text(", ".join(record.fitted_on)),
        "parameters": dg.MetadataValue.json(record.parameters),
        "predicted_versus_actual": dg.MetadataValue.md(
            as_markdown_image(picture, f"predicted against actual minutes of {record.model}")
        ),
        "feature_importance": dg.MetadataValue.md(
            as_markdown_image(
                importance_picture(judged.pipeline, record, training_set.synthetic),
                f"feature importance of {record.model}",
            )
        ),
        "slices": dg.MetadataValue.md(slices_markdown(record.slices, record.test)),
        "mlflow_run_id": dg.MetadataValue.text(record.mlflow_run_id or ""),
        "model_uri": dg.MetadataValue.text(record.model_uri or ""),
    }
    if training_set.caveat:
        metadata["caveat"] = dg.MetadataValue.text(training_set.caveat)
    return metadata
