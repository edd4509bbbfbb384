"""Watching the prediction service: what it answered, and whether it is asked what it knows."""

from typing import Any

import dagster as dg

from ml_assets.defs.common import MONITORING, OWNERS
from ml_assets.defs.metadata import figure, safe_metadata, table
from ml_assets.defs.monitoring.assets import monitored_champion
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import RequestLogResource, TripStoreResource
from ml_assets.monitoring.online.records import OnlineDrift, OnlineRecord, online_sentence
from ml_assets.storage.record_store import UnreadableRecord

_SHOWN_DAYS = 60
_NO_TRUTH = (
    "a served request bears no id of a trip, so nobody knows how far its prediction was off; "
    "prediction_performance tells how the champion does on whole months"
)


@dg.asset(
    deps=["trip_features", "champion_model"],
    group_name=MONITORING,
    owners=OWNERS,
    kinds={"polars"},
    retry_policy=dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL),
    description="What the prediction service answered, by day and model version: how much, how "
    "fast, which minutes, and how far the requests of four weeks are from the trips that the "
    "champion was fitted on. Read from the service's request log on this machine.",
)
def online_predictions(
    context: dg.AssetExecutionContext,
    trip_store: TripStoreResource,
    tracking: MlflowTracking,
    request_log: RequestLogResource,
) -> dg.MaterializeResult:
    """Measure the days that were not measured before, and those of the last four weeks."""
    from ml_assets.monitoring.online.measure import measure_online

    store, records = trip_store.tables(), trip_store.records()
    name = context.asset_key.to_user_string()
    try:
        earlier = records.find(name, OnlineRecord)
    except UnreadableRecord as error:
        context.log.warning(f"all days are measured anew: {error}")
        earlier = None
    champion, _, why_none = monitored_champion(
        tracking.reader(), tracking.registered_model, store.dataset
    )
    record = measure_online(request_log.folder, store, champion, why_none, earlier)
    records.write(name, record)
    context.log.info(online_sentence(record))
    return dg.MaterializeResult(
        metadata=safe_metadata(context.log, name, lambda: _metadata(record))
    )


def _metadata(record: OnlineRecord) -> dict[str, Any]:
    """Figures of the window and the newest day, every day as a table, and the chart."""
    from ml_assets.reporting.charts import as_markdown_image
    from ml_assets.reporting.monitoring_charts import online_days

    faults = record.faults_since("")
    shown: dict[str, Any] = {
        "status": record.status.replace("_", " "),
        "finding": online_sentence(record),
        "truth": _NO_TRUTH,
        "window": f"since {record.first}",
        "answers_in_window": record.window_answers,
        "lost_answers": faults.lost,
        "unreadable_lines": faults.unreadable,
    }
    if record.drift is not None:
        shown |= _drift(record.drift)
    if record.days:
        newest = record.days[-1]
        shown |= {
            "newest_day": newest.day,
            "mean_predicted_minutes": figure(newest.mean_minutes),
            "days": table(_rows(record)),
        }
        if newest.p50_milliseconds is not None and newest.p99_milliseconds is not None:
            shown["p50_milliseconds"] = figure(newest.p50_milliseconds)
            shown["p99_milliseconds"] = figure(newest.p99_milliseconds)
    if (picture := online_days(record)) is not None:
        told = "answers, predicted minutes and latency by day"
        shown["chart"] = dg.MetadataValue.md(as_markdown_image(picture, told))
    return shown


def _drift(drift: OnlineDrift) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "champion": f"version {drift.version}",
        "limit": figure(drift.limit),
        **{f"psi/{name}": figure(index) for name, index in drift.psi.items()},
        "distances": table(
            [
                {
                    "share of": told,
                    "0 or impossible": none,
                    "far off the pair's usual": far_off,
                }
                for told, none, far_off in (
                    ("served requests", drift.no_distance, drift.far_off),
                    ("the champion's trips", drift.trips_no_distance, drift.trips_far_off),
                )
            ]
        ),
    }
    if drift.left_out:
        rows = [{"feature": name, "why": why} for name, why in drift.left_out.items()]
        shown["left_out"] = table(rows)
    return shown


def _rows(record: OnlineRecord) -> list[dict[str, Any]]:
    return [
        {
            **day.model_dump(),
            "lost": faults.lost if (faults := record.faults.get(day.day)) else 0,
            "unreadable": faults.unreadable if faults else 0,
        }
        for day in reversed(record.days[-_SHOWN_DAYS:])
    ]
