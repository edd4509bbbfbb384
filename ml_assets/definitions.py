"""The one place that assembles the project; nothing else imports it."""

import warnings

import dagster as dg

warnings.filterwarnings("ignore", category=dg.BetaWarning)

from ml_assets.assets.backtest import backtest  # noqa: E402
from ml_assets.assets.champion import champion_model  # noqa: E402
from ml_assets.assets.evaluation import model_leaderboard  # noqa: E402
from ml_assets.assets.ingestion import ingestion_assets  # noqa: E402
from ml_assets.assets.models import model_assets  # noqa: E402
from ml_assets.assets.monitoring import feature_drift, prediction_performance  # noqa: E402
from ml_assets.assets.online_predictions import online_predictions  # noqa: E402
from ml_assets.assets.partitions import published_months  # noqa: E402
from ml_assets.assets.predictions import prediction_assets  # noqa: E402
from ml_assets.assets.reference import taxi_zones_asset  # noqa: E402
from ml_assets.assets.training import training_set  # noqa: E402
from ml_assets.automation.alert_sensors import alert_sensors  # noqa: E402
from ml_assets.automation.asking import predict_requests  # noqa: E402
from ml_assets.automation.backtesting import backtest_sensor  # noqa: E402
from ml_assets.automation.dead_runs import dead_runs_sensor  # noqa: E402
from ml_assets.automation.degradation import degradation_sensors  # noqa: E402
from ml_assets.automation.executor import telling_in_process_executor  # noqa: E402
from ml_assets.automation.jobs import project_jobs  # noqa: E402
from ml_assets.automation.monitoring import monitoring_sensor  # noqa: E402
from ml_assets.automation.new_months import new_months_sensor  # noqa: E402
from ml_assets.automation.queued_runs import queued_runs_sensor  # noqa: E402
from ml_assets.automation.reinstating import reinstating_jobs  # noqa: E402
from ml_assets.automation.retraining import retraining_sensor  # noqa: E402
from ml_assets.automation.schedules import project_schedules  # noqa: E402
from ml_assets.automation.scoring import scoring_sensor  # noqa: E402
from ml_assets.automation.scrubbed_errors import scrub_errors  # noqa: E402
from ml_assets.automation.tracking_sensors import tracking_sensors  # noqa: E402
from ml_assets.checks import project_checks  # noqa: E402
from ml_assets.resources import project_resources  # noqa: E402
from ml_assets.settings import Settings, read_settings  # noqa: E402

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
        asset_checks=project_checks(),
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
