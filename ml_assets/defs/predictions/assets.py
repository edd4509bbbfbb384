"""Batch predictions: each month scored with the current champion."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from ml_assets.config.code_version import model_code_version
from ml_assets.defs.common import CHAMPION_MODEL, OWNERS, PREDICTIONS
from ml_assets.defs.metadata import column_schema, figure, preview, safe_metadata
from ml_assets.defs.operations.run_tags import REASON_TAG, reason_tag
from ml_assets.defs.resources.io_manager import MonthlyTable, TableMonth
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.registry import ModelNotFound
from ml_assets.secrets import ShownError
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets.trips.request_columns import REQUEST_COLUMNS
from ml_assets.trips.target import TARGET

if TYPE_CHECKING:
    from ml_assets.pipeline.predict import Model

_FEATURES, _PREDICTIONS = "trip_features", "trip_predictions"
_PREVIEW_ROWS = 5
SCORING_SENSOR = "score_new_months"
_BATCH_ROWS = 100_000
"""Predicting takes half a kilobyte a row; a month of yellow trips has 3 million."""


class NoChampion(ShownError, LookupError):
    """There is no champion for this dataset; the message names the remedy."""


def on_new_month() -> dg.AutomationCondition:
    """Build the condition that scores each new or republished month once there is a champion.

    The current champion scores it before a retraining has seen the month. A new champion does not
    score earlier months again, nor its training months.
    """
    features = dg.AssetSelection.assets(_FEATURES)
    served = dg.AutomationCondition.asset_matches(CHAMPION_MODEL, ~dg.AutomationCondition.missing())
    came = dg.AutomationCondition.any_deps_updated().allow(features) & served
    handled = dg.AutomationCondition.newly_requested() | dg.AutomationCondition.newly_updated()
    # Not since_last_handled(): a month that comes in between two evaluations would be lost.
    return (
        came.since(handled & ~came)
        & ~dg.AutomationCondition.any_deps_in_progress().allow(features)
        & ~dg.AutomationCondition.in_progress()
    ).with_label("month_came")


def scoring_sensor() -> dg.AutomationConditionSensorDefinition:
    """Build the sensor that evaluates :func:`on_new_month`."""
    return dg.AutomationConditionSensorDefinition(
        name=SCORING_SENSOR,
        target=dg.AssetSelection.groups(PREDICTIONS),
        run_tags=reason_tag("a month came in"),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Score each new or republished month with the current champion.",
    )


def prediction_assets(partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return ``trip_predictions`` with these monthly partitions."""

    @dg.asset(
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[_FEATURES, CHAMPION_MODEL],
        io_manager_key="monthly_table",
        group_name=PREDICTIONS,
        owners=OWNERS,
        kinds={"polars", "parquet"},
        code_version=model_code_version(),
        automation_condition=on_new_month(),
        # The condition requests once: a short outage of the registry must not cost a month.
        retry_policy=dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL),
        metadata={"dagster/column_schema": column_schema(_PREDICTIONS)},
        description="The current champion's prediction for each kept trip: minutes with their "
        "interval, by `trip_id`.",
    )
    def trip_predictions(
        context: dg.AssetExecutionContext,
        trip_store: TripStoreResource,
        tracking: MlflowTracking,
    ) -> MonthlyTable:
        store = trip_store.tables()
        months = [Month.parse(key) for key in context.partition_keys]
        try:
            model = _champion(tracking, store)
        except NoChampion as error:
            if REASON_TAG not in context.run.tags:
                raise dg.Failure(str(error), allow_retries=False) from error
            # Started automatically: no failure if real months come while the champion is of the
            # sample.
            unscored = {"status": f"not scored: {error}"}
            return MonthlyTable(
                months, lambda _: TableMonth(None, lambda: unscored), context.add_asset_metadata
            )
        return _scored(context, store, months, model)

    return [trip_predictions]


def _champion(tracking: MlflowTracking, store: TripStore) -> "Model":
    """Load the champion.

    Raises:
        NoChampion: There is none, or it is of another dataset.
        dg.Failure: It cannot be loaded.
    """
    from ml_assets.registry.loading import load_model

    champion, why = tracking.champion()
    if champion is None:
        raise NoChampion(why)
    if champion.dataset != store.dataset:
        raise NoChampion(
            f"the champion ({champion}) was trained on {champion.dataset or 'unknown trips'}, not "
            f"on {store.dataset}: train on it first (the job train_models, or `ml-assets run`)"
        )
    try:
        return load_model(tracking.registry(tracking.reader()), champion.version)
    except ModelNotFound as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _scored(
    context: dg.AssetExecutionContext, store: TripStore, months: list[Month], model: "Model"
) -> MonthlyTable:
    """Return the table whose months are predicted when the IO manager writes them."""
    stored = set(store.months(_FEATURES))
    log = context.log

    def make(month: Month) -> TableMonth:
        if month not in stored:
            status = f"no {_FEATURES} of {month}: not published or not ingested"
            return TableMonth(None, lambda: {"status": status, "dagster/row_count": 0})
        trips = store.read_table(_FEATURES, month, ["trip_id", *REQUEST_COLUMNS])
        lineage, _ = store.lineage(_FEATURES, month)
        at = datetime.now(UTC)
        parts = [model.predict_frame(part, at) for part in trips.iter_slices(_BATCH_ROWS)]
        frame = trips.select("trip_id").hstack(pl.concat(parts))
        return TableMonth(
            (frame, lineage.model_copy(update={"code_version": model_code_version()})),
            lambda: {
                "status": "scored",
                "dagster/row_count": frame.height,
                "model_version": model.version,
                **safe_metadata(log, f"{_PREDICTIONS} {month}", lambda: _metadata(frame, trips)),
            },
        )

    return MonthlyTable(months, make, context.add_asset_metadata)


def _metadata(frame: pl.DataFrame, trips: pl.DataFrame) -> dict[str, Any]:
    """Return the metadata of a scored month."""
    first = trips.head(_PREVIEW_ROWS).join(frame, on="trip_id", maintain_order="left")
    metadata: dict[str, Any] = {"preview": preview(first, _PREVIEW_ROWS)}
    if frame.height:
        predicted = TARGET.prediction_fields[0]
        metadata[f"mean_{predicted}"] = figure(frame[predicted].mean())  # type: ignore[arg-type]
    return metadata
