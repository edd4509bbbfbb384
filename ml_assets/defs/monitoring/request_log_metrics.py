"""Asset that monitors the prediction service: its request log by day, and request drift."""

from typing import Any

import dagster as dg

from ml_assets.defs.check_results import record_check
from ml_assets.defs.common import MONITORING, OWNERS
from ml_assets.defs.metadata import figure, image, materialized, table
from ml_assets.defs.monitoring.assets import monitored_champion
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import RequestLogResource, TripStoreResource
from ml_assets.monitoring.online.records import (
    OnlineDrift,
    OnlineRecord,
    online_finding,
    request_log_summary,
)

_MAX_DAYS = 60
_NO_LABELS = (
    "a served request has no trip id, so the error of its prediction is unknown; "
    "prediction_performance has the champion's error on whole months"
)


@dg.asset(
    deps=["trip_features", "champion_model"],
    group_name=MONITORING,
    owners=OWNERS,
    kinds={"polars"},
    retry_policy=dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL),
    description="Metrics of the prediction service by day and model version: number of "
    "predictions, latency, predicted minutes, and the drift of four weeks of requests from the "
    "champion's training months. Read from the service's request log on this machine.",
)
def request_log_metrics(
    context: dg.AssetExecutionContext,
    trip_store: TripStoreResource,
    tracking: MlflowTracking,
    request_log: RequestLogResource,
) -> dg.MaterializeResult:
    """Measure the days not yet measured, and those of the last four weeks."""
    from ml_assets.monitoring.online.measure import measure_online

    store, records = trip_store.tables(), trip_store.records()
    name = context.asset_key.to_user_string()
    otherwise = "all days are measured again"
    earlier = trip_store.find_record(name, OnlineRecord, context.log, otherwise)
    champion, _, why_none = monitored_champion(tracking, store.dataset)
    record = measure_online(request_log.folder, store, champion, why_none, earlier)
    records.write(name, record)
    context.log.info(request_log_summary(record))
    return materialized(context, lambda: _metadata(record))


request_log_check = record_check(
    "request_log_metrics",
    "request_drift_within_limit",
    OnlineRecord,
    online_finding,
    "No feature of the last four weeks' requests has drifted beyond the limit from the champion's "
    "training months, and no prediction of the last week is missing from the request log.",
)


def _metadata(record: OnlineRecord) -> dict[str, Any]:
    """Return the figures of the window and the newest day, the table of days, and the chart."""
    from ml_assets.reporting.monthly_charts import online_days

    faults = record.faults_since("")
    metadata: dict[str, Any] = {
        "status": record.status.replace("_", " "),
        "finding": request_log_summary(record),
        "truth": _NO_LABELS,
        "window": f"since {record.first}",
        "answers_in_window": record.window_answers,
        "dropped": faults.dropped,
        "unreadable_lines": faults.unreadable,
    }
    if record.stated_share is not None:
        metadata["share_of_stated_distances"] = figure(record.stated_share)
    if record.drift is not None:
        metadata |= _drift_metadata(record.drift)
    if record.days:
        newest = record.days[-1]
        metadata |= {
            "newest_day": newest.day,
            "mean_predicted_minutes": figure(newest.mean_minutes),
            "days": table(_rows(record)),
        }
        if newest.p50_milliseconds is not None and newest.p99_milliseconds is not None:
            metadata["p50_milliseconds"] = figure(newest.p50_milliseconds)
            metadata["p99_milliseconds"] = figure(newest.p99_milliseconds)
    if (chart := online_days(record)) is not None:
        alt_text = "predictions, predicted minutes and latency by day"
        metadata["chart"] = image(chart, alt_text)
    return metadata


def _drift_metadata(drift: OnlineDrift) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "champion": f"version {drift.version}",
        "limit": figure(drift.limit),
        **{f"psi/{name}": figure(index) for name, index in drift.psi.items()},
        "distances": table(
            [
                {
                    "share of": source,
                    "left out, 0 or implausible": missing,
                    "far from expected": outliers,
                }
                for source, missing, outliers in (
                    ("served requests", drift.no_distance, drift.far_off),
                    ("the champion's trips", drift.trips_no_distance, drift.trips_far_off),
                )
            ]
        ),
    }
    if drift.left_out:
        rows = [{"feature": name, "why": why} for name, why in drift.left_out.items()]
        metadata["left_out"] = table(rows)
    return metadata


def _rows(record: OnlineRecord) -> list[dict[str, Any]]:
    return [
        {
            **day.model_dump(),
            "dropped": faults.dropped if (faults := record.faults.get(day.day)) else 0,
            "unreadable": faults.unreadable if faults else 0,
        }
        for day in reversed(record.days[-_MAX_DAYS:])
    ]
