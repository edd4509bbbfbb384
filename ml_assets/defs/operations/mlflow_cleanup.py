"""Sensors that close the MLflow runs of Dagster runs whose process was killed.

A step that ends, fails or is interrupted closes its own MLflow run. A killed process cannot: once
its Dagster run is marked as ended (``orphaned_runs``), these sensors close it.
"""

import dagster as dg

from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.registry import TrackingUnavailable

_MINIMUM_INTERVAL_SECONDS = 30


def tracking_sensors() -> list[dg.SensorDefinition]:
    """Build one sensor for failed runs and one for cancelled ones; both are on by default."""
    return [
        _sensor("close_mlflow_runs_of_failed", dg.DagsterRunStatus.FAILURE),
        _sensor("close_mlflow_runs_of_canceled", dg.DagsterRunStatus.CANCELED),
    ]


def _sensor(name: str, status: dg.DagsterRunStatus) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        name=name,
        run_status=status,
        minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"End MLflow runs left open by a Dagster run that ended {status.value}.",
    )
    def close_tracking(
        context: dg.RunStatusSensorContext, tracking: MlflowTracking
    ) -> dg.SkipReason:
        try:
            closed = tracking.close_orphaned(tracking.client(), context.instance)
        except TrackingUnavailable as error:
            return dg.SkipReason(str(error))
        return dg.SkipReason(f"closed {len(closed)} MLflow runs of ended Dagster runs")

    return close_tracking
