"""The checks of monitoring: the newest are within their limits. One over them is a warning."""

import dagster as dg

from ml_assets.defs.check_results import single_result
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.monitoring.drift.records import DriftRecord
from ml_assets.monitoring.findings import drift_finding, performance_finding
from ml_assets.monitoring.online.records import OnlineRecord, online_finding
from ml_assets.monitoring.performance.records import PerformanceRecord

_DRIFT = dg.AssetCheckKey(dg.AssetKey("feature_drift"), "feature_drift_within_limit")
_PERFORMANCE = dg.AssetCheckKey(dg.AssetKey("prediction_performance"), "error_within_limit")
_ONLINE = dg.AssetCheckKey(dg.AssetKey("online_predictions"), "request_drift_within_limit")


def monitoring_checks() -> list[dg.AssetChecksDefinition]:
    """One check for each of the assets."""
    return [feature_drift_within_limit, error_within_limit, request_drift_within_limit]


@dg.asset_check(
    name=_DRIFT.name,
    asset=_DRIFT.asset_key,
    description="No request feature of the newest month has moved beyond the limit from what the "
    "champion was fitted on.",
)
def feature_drift_within_limit(trip_store: TripStoreResource) -> dg.AssetCheckResult:
    """Look at the newest month that the champion was not fitted on."""
    record = trip_store.records().read("feature_drift", DriftRecord)
    return single_result(_DRIFT, drift_finding(record))


@dg.asset_check(
    name=_PERFORMANCE.name,
    asset=_PERFORMANCE.asset_key,
    description="On the newest labelled month the champion errs about as on the month that judged "
    "it.",
)
def error_within_limit(trip_store: TripStoreResource) -> dg.AssetCheckResult:
    """Look at the newest month that the champion was not trained on."""
    record = trip_store.records().read("prediction_performance", PerformanceRecord)
    return single_result(_PERFORMANCE, performance_finding(record))


@dg.asset_check(
    name=_ONLINE.name,
    asset=_ONLINE.asset_key,
    description="No feature of the requests that the service answered in four weeks is beyond the "
    "limit from what the champion was fitted on, and no answer of the last week is missing in the "
    "request log.",
)
def request_drift_within_limit(trip_store: TripStoreResource) -> dg.AssetCheckResult:
    """Look at the window that was measured last."""
    record = trip_store.records().read("online_predictions", OnlineRecord)
    return single_result(_ONLINE, online_finding(record))
