"""Sensor that continues a backtest that reached its time limit."""

from datetime import timedelta

import dagster as dg

from ml_assets.backtesting.records import BacktestRecord
from ml_assets.defs.automation import reason_tag
from ml_assets.defs.common import INGESTION_POOL, TRAINING_POOL
from ml_assets.defs.operations.run_outcomes import active_run
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.storage.record_store import UnreadableRecord
from ml_assets.trips.month import Clock, utc_now

NAME = "backtest_until_complete"
BACKTEST_JOB = "run_backtest"
PAUSE = timedelta(seconds=90)
"""Time between two runs: every other sensor ticks at least twice meanwhile, and its requests go
first."""

_MINIMUM_INTERVAL_SECONDS = 30
_BACKTEST = dg.AssetKey("backtest")
_LOW_PRIORITY = {"dagster/priority": "-1"}


def backtest_sensor(now: Clock = utc_now) -> dg.SensorDefinition:
    """Build the sensor that runs the backtest until no month is left.

    Args:
        now: Clock, for tests.
    """

    @dg.sensor(
        name=NAME,
        job_name=BACKTEST_JOB,
        minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Continue a backtest that ended with months left, about a minute at a time, "
        "while nothing else trains or ingests. A run that fails or is cancelled is not repeated.",
    )
    def backtest_until_complete(
        context: dg.SensorEvaluationContext, trip_store: TripStoreResource
    ) -> dg.RunRequest | dg.SkipReason:
        records = context.instance.fetch_materializations(_BACKTEST, limit=1).records
        if not records:
            return dg.SkipReason("there was no backtest yet: materialize it once")
        try:
            made = trip_store.records().find(_BACKTEST.to_user_string(), BacktestRecord)
        except (UnreadableRecord, OSError) as error:
            return dg.SkipReason(str(error))
        last = records[0]
        if made is None or not made.pending_months or made.run_id != last.run_id:
            return dg.SkipReason("the last backtest of this dataset is complete or was interrupted")
        if not made.computed_entries:
            return dg.SkipReason(
                f"the last run computed nothing; {len(made.pending_months)} months are left"
            )
        if now().timestamp() - last.timestamp < PAUSE.total_seconds():
            return dg.SkipReason(f"waiting {PAUSE.total_seconds():.0f} s between two runs")
        if busy := active_run(context.instance, INGESTION_POOL, TRAINING_POOL):
            return dg.SkipReason(f"waiting: {busy}")
        config = {
            "train_months": made.train_months,
            "max_rows": made.max_rows,
            "families": made.families,
            "seed": made.seed,
        }
        return dg.RunRequest(
            # Keyed by the backtest to continue: Dagster does not start the run again if it fails.
            f"after backtest {last.storage_id}",
            run_config={"ops": {"backtest": {"config": config}}},
            tags={
                **reason_tag(f"the backtest has {len(made.pending_months)} months left"),
                **_LOW_PRIORITY,
            },
        )

    return backtest_until_complete
