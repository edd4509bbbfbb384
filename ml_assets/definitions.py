"""The one place that assembles the project; nothing else imports it."""

import warnings

import dagster as dg

warnings.filterwarnings("ignore", category=dg.BetaWarning)

from ml_assets.config.settings import Settings, read_settings  # noqa: E402
from ml_assets.defs.alerting.overdue import alert_sensors  # noqa: E402
from ml_assets.defs.backtesting.assets import backtest  # noqa: E402
from ml_assets.defs.backtesting.checks import backtest_checks  # noqa: E402
from ml_assets.defs.backtesting.sensors import backtest_sensor  # noqa: E402
from ml_assets.defs.ingestion.assets import ingestion_assets  # noqa: E402
from ml_assets.defs.ingestion.checks import ingestion_checks  # noqa: E402
from ml_assets.defs.ingestion.sensors import new_months_sensor  # noqa: E402
from ml_assets.defs.ingestion.taxi_zones import taxi_zones_asset  # noqa: E402
from ml_assets.defs.jobs import project_jobs  # noqa: E402
from ml_assets.defs.monitoring.assets import feature_drift, prediction_performance  # noqa: E402
from ml_assets.defs.monitoring.checks import monitoring_checks  # noqa: E402
from ml_assets.defs.monitoring.request_log_metrics import online_predictions  # noqa: E402
from ml_assets.defs.monitoring.retrain_sensors import degradation_sensors  # noqa: E402
from ml_assets.defs.monitoring.sensors import monitoring_sensor  # noqa: E402
from ml_assets.defs.operations.executor import telling_in_process_executor  # noqa: E402
from ml_assets.defs.operations.mlflow_cleanup import tracking_sensors  # noqa: E402
from ml_assets.defs.operations.orphaned_runs import dead_runs_sensor  # noqa: E402
from ml_assets.defs.operations.queued_runs import queued_runs_sensor  # noqa: E402
from ml_assets.defs.operations.scrubbed_errors import scrub_errors  # noqa: E402
from ml_assets.defs.partitions import published_months  # noqa: E402
from ml_assets.defs.predictions.assets import prediction_assets  # noqa: E402
from ml_assets.defs.predictions.predict_job import predict_requests  # noqa: E402
from ml_assets.defs.predictions.sensors import scoring_sensor  # noqa: E402
from ml_assets.defs.promotion.champion import champion_model  # noqa: E402
from ml_assets.defs.promotion.jobs import reinstating_jobs  # noqa: E402
from ml_assets.defs.promotion.parity_check import answers_alike  # noqa: E402
from ml_assets.defs.resources import project_resources  # noqa: E402
from ml_assets.defs.schedules import project_schedules  # noqa: E402
from ml_assets.defs.training.leaderboard import model_leaderboard  # noqa: E402
from ml_assets.defs.training.model_checks import model_checks  # noqa: E402
from ml_assets.defs.training.models import model_assets  # noqa: E402
from ml_assets.defs.training.sensors import retraining_sensor  # noqa: E402
from ml_assets.defs.training.training_set import training_set  # noqa: E402
from ml_assets.defs.training.training_set_checks import training_set_checks  # noqa: E402

scrub_errors()


def assemble(settings: Settings) -> dg.Definitions:
    """The whole project for these settings."""
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
            feature_drift,
            prediction_performance,
            online_predictions,
        ],
        asset_checks=[
            ingestion_checks,
            training_set_checks,
            *model_checks(),
            answers_alike,
            backtest_checks,
            *monitoring_checks(),
        ],
        jobs=[*project_jobs(partitions), predict_requests, *reinstating_jobs()],
        schedules=project_schedules(settings),
        sensors=[
            dead_runs_sensor,
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
        executor=telling_in_process_executor,
    )


defs = assemble(read_settings())
