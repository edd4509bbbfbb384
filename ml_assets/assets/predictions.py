"""Predictions in batch: the requests of each month, scored with the champion that serves now."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from ml_assets.assets.columns import column_schema
from ml_assets.assets.groups import OWNERS, PREDICTIONS
from ml_assets.assets.metadata import figure, table
from ml_assets.resources.monthly_table import MonthlyTable
from ml_assets.resources.tracking import MlflowTracking
from ml_assets.resources.trips import TripStoreResource
from ml_assets.storage.trip_store import Lineage, TripStore
from ml_assets.trips.month import Month
from ml_assets.trips.rules import REQUEST_COLUMNS
from ml_assets.version import code_version

if TYPE_CHECKING:
    from ml_assets.predictions.scoring import Model

_FEATURES, _PREDICTIONS = "trip_features", "trip_predictions"
_PREVIEW_ROWS = 5


def prediction_assets(partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """``trip_predictions`` over these monthly partitions."""

    @dg.asset(
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[_FEATURES, "champion_model"],
        io_manager_key="monthly_table",
        group_name=PREDICTIONS,
        owners=OWNERS,
        kinds={"polars", "parquet"},
        code_version=code_version(),
        metadata={"dagster/column_schema": column_schema(_PREDICTIONS)},
        description="What the champion that serves now predicts for each kept trip's request: "
        "minutes, with their interval. Scored again, a trip keeps its `trip_id`.",
    )
    def trip_predictions(
        context: dg.AssetExecutionContext,
        trip_store: TripStoreResource,
        tracking: MlflowTracking,
    ) -> MonthlyTable:
        store = trip_store.tables()
        months = [Month.parse(key) for key in context.partition_keys]
        # Bound here: the IO manager drains the months after this function has returned.
        return MonthlyTable(
            _scored(store, months, _champion(tracking, store), context.add_asset_metadata)
        )

    return [trip_predictions]


def _champion(tracking: MlflowTracking, store: TripStore) -> "Model":
    """The champion, loaded.

    Raises:
        dg.Failure: when there is none, it is of other trips, or it cannot be used any more.
    """
    from ml_assets.tracking.prediction_model import NoModel, load_model
    from ml_assets.tracking.served_champion import served_champion

    client, name = tracking.client(), tracking.registered_model
    champion = served_champion(client, name)
    if champion is None:
        raise dg.Failure(
            "there is no champion to score with yet: materialize champion_model first (the job "
            "train_models, or `ml-assets run`)",
            allow_retries=False,
        )
    if champion.dataset != store.dataset:
        raise dg.Failure(
            f"{champion} was trained on {champion.dataset or 'unknown trips'}, and these are "
            f"{store.dataset}: train on them first (the job train_models, or `ml-assets run`)",
            allow_retries=False,
        )
    try:
        return load_model(client, name, champion.version)
    except NoModel as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _scored(
    store: TripStore, months: list[Month], model: "Model", add_metadata: Callable[..., None]
) -> Iterator[tuple[pl.DataFrame, Lineage]]:
    """Each month's predictions, made when the IO manager asks for them."""
    stored = set(store.months(_FEATURES))
    for month in months:
        if month not in stored:
            add_metadata(
                {
                    "status": f"no {_FEATURES} of {month}: not published yet, or never brought",
                    "dagster/row_count": 0,
                },
                partition_key=str(month),
            )
            continue
        trips = store.read_table(_FEATURES, month, ["trip_id", *REQUEST_COLUMNS])
        lineage, _ = store.lineage(_FEATURES, month)
        frame = trips.select("trip_id").hstack(model.answers(trips))
        yield frame, lineage.model_copy(update={"code_version": code_version()})
        add_metadata(_metadata(frame, trips, model.version), partition_key=str(month))


def _metadata(frame: pl.DataFrame, trips: pl.DataFrame, version: str) -> dict[str, Any]:
    """Of a month that was scored."""
    first = trips.head(_PREVIEW_ROWS).join(frame, on="trip_id", maintain_order="left")
    metadata: dict[str, Any] = {
        "status": "scored",
        "dagster/row_count": frame.height,
        "model_version": version,
        "preview": table(first.to_dicts()),
    }
    if frame.height:
        metadata["mean_predicted_minutes"] = figure(frame["predicted_minutes"].mean())  # type: ignore[arg-type]
    return metadata
