"""One asset for each model family: tuned, fitted, evaluated and logged to MLflow.

Every family in ``ml_assets.training.families`` gets its asset, checks and leaderboard row.
"""

import dagster as dg
from pydantic import Field

from ml_assets.config.code_version import model_code_version
from ml_assets.defs.common import MODELS, OWNERS, TRAINING_POOL
from ml_assets.defs.operations.concurrent_steps import cores
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.training.families import FAMILIES, ModelFamily
from ml_assets.training.row_sample import DEFAULT_ROWS
from ml_assets.trips.target import TARGET


class ModelConfig(dg.Config):
    """Options of tuning and fitting a model."""

    trials: int = Field(
        default=5, description="Tuning trials; 0 uses the last parameters, else the defaults."
    )
    tuning_seconds: float | None = Field(
        default=None, description="Stop tuning after this many seconds."
    )
    seed: int = Field(default=42, description="Seed of the tuning and of the estimator.")
    max_rows: str = Field(
        default=DEFAULT_ROWS,
        description="Maximum rows of the fit, a sample beyond, stratified by month and pick-up "
        "zone: a number, `default` (the family's own number) or `all`.",
    )
    refit_on_validation: bool = Field(
        default=True,
        description="Refit the tuned model on the training and validation months before the test, "
        "instead of the training months only.",
    )
    share_without_distance: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the rows that the estimator for requests without a distance is "
        "fitted on; recorded as a parameter of the model. None means the family's own.",
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
        from ml_assets.defs.training.train_model import train_model

        return train_model(context, config, family, trip_store, tracking)

    return model
