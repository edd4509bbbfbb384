"""Asset checks of monitoring: the newest values are within their limits; over is a warning."""

import dagster as dg

from ml_assets.defs.check_results import single_result
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.monitoring.drift.records import DriftRecord, drift_finding
from ml_assets.monitoring.online.records import OnlineRecord, online_finding
from ml_assets.monitoring.performance.records import PerformanceRecord, performance_finding

_DRIFT = dg.AssetCheckKey(dg.AssetKey("feature_drift"), "feature_drift_within_limit")
_PERFORMANCE = dg.AssetCheckKey(dg.AssetKey("prediction_performance"), "error_within_limit")
_ONLINE = dg.AssetCheckKey(dg.AssetKey("request_log_metrics"), "request_drift_within_limit")


def monitoring_checks() -> list[dg.AssetChecksDefinition]:
    """Return the checks, one for each monitoring asset."""
    return [feature_drift_within_limit, error_within_limit, request_drift_within_limit]


@dg.asset_check(
    name=_DRIFT.name,
    asset=_DRIFT.asset_key,
    description="No request feature of the newest month has drifted beyond the limit from the "
    "champion's training months.",
)
def feature_drift_within_limit(trip_store: TripStoreResource) -> dg.AssetCheckResult:
    """Check the newest month that the champion was not trained on."""
    record = trip_store.records().read("feature_drift", DriftRecord)
    return single_result(_DRIFT, drift_finding(record))


@dg.asset_check(
    name=_PERFORMANCE.name,
    asset=_PERFORMANCE.asset_key,
    description="The champion's error on its newest unseen month is within the limit that its test "
    "error sets.",
)
def error_within_limit(trip_store: TripStoreResource) -> dg.AssetCheckResult:
    """Check the newest month that the champion was not trained or tuned on."""
    record = trip_store.records().read("prediction_performance", PerformanceRecord)
    return single_result(_PERFORMANCE, performance_finding(record))


@dg.asset_check(
    name=_ONLINE.name,
    asset=_ONLINE.asset_key,
    description="No feature of the last four weeks' requests has drifted beyond the limit from the "
    "champion's training months, and no prediction of the last week is missing from the request "
    "log.",
)
def request_drift_within_limit(trip_store: TripStoreResource) -> dg.AssetCheckResult:
    """Check the last measured window."""
    record = trip_store.records().read("request_log_metrics", OnlineRecord)
    return single_result(_ONLINE, online_finding(record))
