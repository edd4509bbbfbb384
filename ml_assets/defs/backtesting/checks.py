"""Asset check of the backtest: the champion's parameters beat the baselines in most months."""

import dagster as dg

from ml_assets.backtesting.records import BacktestRecord
from ml_assets.defs.check_results import single_result
from ml_assets.defs.resources.trips import TripStoreResource

_BACKTEST = dg.AssetCheckKey(dg.AssetKey("backtest"), "beats_baselines_in_most_months")


@dg.asset_check(
    name=_BACKTEST.name,
    asset=_BACKTEST.asset_key,
    description="The champion's parameters are better than every baseline in most months.",
)
def backtest_checks(trip_store: TripStoreResource) -> dg.AssetCheckResult:
    """Count the months in which the champion's parameters beat every baseline."""
    from ml_assets.backtesting.records import beats_baselines_in_most_months

    made = trip_store.records().read("backtest", BacktestRecord)
    return single_result(_BACKTEST, beats_baselines_in_most_months(made))
