"""The Dagster code location: assembles all definitions; no other module imports it."""

# ruff: noqa: E402 - Dagster warns about beta features while the modules below are imported
import gc
import warnings

import dagster as dg

warnings.filterwarnings("ignore", category=dg.BetaWarning)

from ml_assets.config.settings import Settings, read_settings
from ml_assets.defs.alerting.overdue import alert_sensors
from ml_assets.defs.backtesting.assets import backtest, backtest_check, backtest_sensor
from ml_assets.defs.common import published_months
from ml_assets.defs.errors import scrub_errors
from ml_assets.defs.ingestion.assets import (
    ingestion_assets,
    taxi_zones_asset,
)
from ml_assets.defs.ingestion.checks import ingestion_checks
from ml_assets.defs.ingestion.sensors import new_months_sensor
from ml_assets.defs.jobs import project_jobs
from ml_assets.defs.monitoring.assets import (
    drift_check,
    feature_drift,
    monitoring_sensor,
    performance_check,
    prediction_performance,
)
from ml_assets.defs.monitoring.data_profile import data_profile_assets
from ml_assets.defs.monitoring.request_log_metrics import request_log_check, request_log_metrics
from ml_assets.defs.monitoring.retrain_sensors import degradation_sensors
from ml_assets.defs.operations.executor import tagged_in_process_executor
from ml_assets.defs.operations.orphaned_runs import orphaned_runs_sensor, tracking_sensors
from ml_assets.defs.operations.queued_runs import queued_runs_sensor
from ml_assets.defs.predictions.assets import prediction_assets, scoring_sensor
from ml_assets.defs.predictions.predict_job import predict_requests
from ml_assets.defs.promotion.champion import champion_model, serving_parity
from ml_assets.defs.promotion.jobs import promote_version, rollback_champion
from ml_assets.defs.resources import project_resources
from ml_assets.defs.schedules import project_schedules
from ml_assets.defs.training.leaderboard import model_leaderboard
from ml_assets.defs.training.model_checks import champion_checks, model_checks
from ml_assets.defs.training.models import model_assets
from ml_assets.defs.training.sensors import retraining_sensor
from ml_assets.defs.training.training_set import training_set, training_set_checks

scrub_errors()


def assemble(settings: Settings) -> dg.Definitions:
    """Assemble all definitions for these settings."""
    partitions = published_months(settings)
    return dg.Definitions(
        assets=[
            *ingestion_assets(partitions),
            taxi_zones_asset,
            training_set,
            *model_assets(),
            model_leaderboard,
            champion_model,
            backtest,
            *prediction_assets(partitions),
            *data_profile_assets(partitions),
            feature_drift,
            prediction_performance,
            request_log_metrics,
        ],
        asset_checks=[
            ingestion_checks,
            training_set_checks,
            model_checks,
            champion_checks,
            serving_parity,
            backtest_check,
            drift_check,
            performance_check,
            request_log_check,
        ],
        jobs=[*project_jobs(partitions), predict_requests, rollback_champion, promote_version],
        schedules=project_schedules(settings),
        sensors=[
            orphaned_runs_sensor,
            queued_runs_sensor,
            *tracking_sensors(),
            new_months_sensor(settings),
            retraining_sensor(),
            monitoring_sensor(),
            scoring_sensor(),
            *degradation_sensors(),
            backtest_sensor(),
            *alert_sensors(settings),
        ],
        resources=project_resources(settings),
        executor=tagged_in_process_executor,
    )


defs = assemble(read_settings())

# What is imported stays until the process ends: not to be looked through for unused objects again.
# The few that are unused by now are not worth the time to look for them.
gc.freeze()
