"""The backtest: how far the error moves from month to month by itself."""

import dagster as dg

from ml_assets.assets.groups import EVALUATION, OWNERS


@dg.asset(
    deps=["trip_features", "champion_model"],
    group_name=EVALUATION,
    owners=OWNERS,
    kinds={"table"},
    description="Rolling origin over all stored months: the champion's parameters, every family "
    "and the baselines, each trained on the months before and judged on the next.",
)
def backtest(context: dg.AssetExecutionContext) -> None:
    """Not made yet."""
    context.log.info("the backtest is not made yet")
