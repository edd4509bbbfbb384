"""Shared parts of the Dagster layer: groups, pools, partitions, freshness, cursors of sensors."""

from datetime import timedelta
from typing import TypeVar

import dagster as dg
from dagster._utils.schedules import schedule_execution_time_iterator
from pydantic import BaseModel, ValidationError

from ml_assets.config.environment import SettingsError
from ml_assets.config.settings import CRONS, OFF, Settings
from ml_assets.trips.month import PUBLICATION_LAG_MONTHS

INGESTION = "ingestion"
REFERENCE = "reference"
TRAINING = "training"
MODELS = "models"
EVALUATION = "evaluation"
PREDICTIONS = "predictions"
MONITORING = "monitoring"

GROUPS = (INGESTION, REFERENCE, TRAINING, MODELS, EVALUATION, PREDICTIONS, MONITORING)

UNFOLDED_LINEAGE = "/asset-groups?expanded=" + ",".join(f"global@global:{name}" for name in GROUPS)
"""Page of Dagster's UI with every group of the graph expanded; by default they are collapsed."""

TRAINING_POOL = "training"
"""Pool of training steps: one run at a time, however many runs the instance allows."""
INGESTION_POOL = "ingestion"
"""Pool of ingestion steps: one run at a time."""

TIMEZONE = "America/New_York"

OWNERS = ["team:ml_assets"]

CHAMPION_MODEL = dg.AssetKey("champion_model")
TRIP_FEATURES = dg.AssetKey("trip_features")

MONTHS_FRESH = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(days=45), warn_window=timedelta(days=35)
)
"""For ``trip_features``: a month is published every month, sometimes a week or two late."""

CHAMPION_FRESH = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(days=52), warn_window=timedelta(days=42)
)
"""For ``champion_model``: each new month leads to a decision, within the week at the latest."""

WATCHED = {
    "trip_features": "Check with `ml-assets months` what is published, and on the Automation page "
    "whether ingest_new_months and ingest_monthly are on and why they skip. If the source is late, "
    "wait; the ticks show any other cause.",
    "champion_model": "Check on the Automation page whether retrain_on_new_months and "
    "retrain_weekly are on and why they skip, or train manually: `ml-assets run`, or the job "
    "retrain.",
}
"""Assets with a freshness policy, and what to do when one is overdue."""


def published_months(settings: Settings) -> dg.MonthlyPartitionsDefinition:
    """Return the partitions from ``ML_ASSETS_FIRST_MONTH`` to the newest possible month.

    No source is read. Dagster's newest monthly partition is last month, so the offset is the rest
    of the publication lag.
    """
    return dg.MonthlyPartitionsDefinition(
        start_date=str(settings.first_month),
        fmt="%Y-%m",
        timezone=TIMEZONE,
        end_offset=1 - PUBLICATION_LAG_MONTHS,
    )


def dataset_label(dataset: str, *, synthetic: bool) -> str:
    """Return the label of a record's dataset for metadata."""
    return "synthetic sample" if synthetic else dataset


def check_crons(settings: Settings) -> None:
    """Check that Dagster accepts each cron expression and that a date matches it.

    Raises:
        SettingsError: The first variable with an invalid schedule.
    """
    for variable, cron in settings.crons.items():
        if cron is None:
            continue
        try:
            dg.ScheduleDefinition(job_name="any", cron_schedule=cron)
            next(schedule_execution_time_iterator(0.0, cron, TIMEZONE))
        except (dg.DagsterInvalidDefinitionError, ValueError) as error:
            allowed = (
                "use five fields of cron (minute, hour, day, month, weekday) in New York time that "
                f"match a date, for example {CRONS[variable]!r}, or {OFF}"
            )
            raise SettingsError(variable, cron, allowed) from error


Cursor = TypeVar("Cursor", bound=BaseModel)


def load_cursor(kind: type[Cursor], text: str | None) -> Cursor:
    """Load a sensor's cursor.

    Args:
        kind: Its model, with a default for every field.
        text: The stored cursor.

    Returns:
        The cursor; an empty one if there is none, or it is damaged or of another version.
    """
    try:
        return kind.model_validate_json(text or "{}")
    except ValidationError:
        return kind()


def skip(reason: str, cursor: BaseModel | None = None) -> dg.SensorResult:
    """Return the result of a tick without run requests; without a cursor, the old one is kept."""
    text = None if cursor is None else cursor.model_dump_json()
    return dg.SensorResult(skip_reason=reason, cursor=text)


def latest_materialization(
    instance: dg.DagsterInstance, asset: dg.AssetKey | str
) -> dg.EventLogRecord | None:
    """Return the event of an asset's newest materialization; None without one."""
    key = dg.AssetKey(asset) if isinstance(asset, str) else asset
    records = instance.fetch_materializations(key, limit=1).records
    return records[0] if records else None


def latest_storage_id(instance: dg.DagsterInstance, asset: dg.AssetKey | str) -> int:
    """Return the storage id of an asset's newest materialization; 0 without one."""
    latest = latest_materialization(instance, asset)
    return latest.storage_id if latest else 0
