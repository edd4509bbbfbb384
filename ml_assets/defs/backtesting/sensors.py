"""The sensor that continues a backtest which its time did not suffice for."""

from datetime import timedelta

import dagster as dg

from ml_assets.backtesting.records import BacktestRecord
from ml_assets.defs.automation import reason_tag
from ml_assets.defs.common import INGESTION_POOL, TRAINING_POOL
from ml_assets.defs.ingestion.sensors import Clock, utc_now
from ml_assets.defs.operations.run_outcomes import active_run
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.storage.record_store import UnreadableRecord

NAME = "backtest_until_complete"
BACKTEST_JOB = "run_backtest"
PAUSE = timedelta(seconds=90)
"""Between two runs: every other sensor has then looked at least twice, and whatever it requests
goes first."""

_MINIMUM_INTERVAL_SECONDS = 30
_BACKTEST = dg.AssetKey("backtest")
_BEHIND_ALL_OTHERS = {"dagster/priority": "-1"}


def backtest_sensor(now: Clock = utc_now) -> dg.SensorDefinition:
    """Run the backtest again until no month is left; ``now`` tells the time."""

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
        if made is None or not made.left or made.run_id != last.run_id:
            return dg.SkipReason("the last backtest of these trips is complete, or did not end")
        if not made.computed:
            return dg.SkipReason(f"the last run computed nothing; {len(made.left)} months are left")
        if now().timestamp() - last.timestamp < PAUSE.total_seconds():
            return dg.SkipReason(f"waiting {PAUSE.total_seconds():.0f} s between two runs")
        if busy := active_run(context.instance, INGESTION_POOL, TRAINING_POOL):
            return dg.SkipReason(f"waiting: {busy}")
        config = {
            "train_months": made.train_months,
            "most_rows": made.most_rows,
            "families": made.families,
            "seed": made.seed,
        }
        return dg.RunRequest(
            # Of what this run is to continue: if it fails, Dagster does not start it again.
            f"after backtest {last.storage_id}",
            run_config={"ops": {"backtest": {"config": config}}},
            tags={
                **reason_tag(f"the backtest has {len(made.left)} months left"),
                **_BEHIND_ALL_OTHERS,
            },
        )

    return backtest_until_complete
