"""Asset checks: thin shells around the rules of the domain."""

import dagster as dg

from ml_assets.checks.answers_alike import answers_alike
from ml_assets.checks.backtest import backtest_checks
from ml_assets.checks.ingestion import ingestion_checks
from ml_assets.checks.models import model_checks
from ml_assets.checks.monitoring import monitoring_checks
from ml_assets.checks.training import training_set_checks


def project_checks() -> list[dg.AssetChecksDefinition]:
    """Every check of the project."""
    return [
        ingestion_checks,
        training_set_checks,
        *model_checks(),
        answers_alike,
        backtest_checks,
        *monitoring_checks(),
    ]
