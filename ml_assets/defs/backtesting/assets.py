"""The backtest, its check, and the sensor that continues it: errors by test month."""

from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from ml_assets.backtesting.records import BacktestRecord, beats_baselines_in_most_months
from ml_assets.defs.check_results import record_check
from ml_assets.defs.common import (
    EVALUATION,
    INGESTION_POOL,
    OWNERS,
    TRAINING_POOL,
    dataset_label,
    latest_materialization,
)
from ml_assets.defs.metadata import figure, image, materialized, table
from ml_assets.defs.operations.concurrent_steps import cores
from ml_assets.defs.operations.run_outcomes import active_run
from ml_assets.defs.operations.run_tags import reason_tag
from ml_assets.defs.resources.mlflow import MlflowTracking
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.defs.training.models import model_asset_name
from ml_assets.evaluation.records import ModelRecord
from ml_assets.progress import MonthsTested, report
from ml_assets.reproduction import UnknownVersion
from ml_assets.storage.record_store import UnreadableRecord
from ml_assets.training.families import FAMILIES
from ml_assets.trips.month import Clock, utc_now

if TYPE_CHECKING:
    from ml_assets.backtesting.run import BacktestOptions, ChampionParameters


DEFAULT_ROWS = 10_000
"""Default of ``max_rows`` before there is a backtest: "Materialize all" includes the backtest and
must not wait for it."""

TRAIN_MONTHS = 3


class BacktestConfig(dg.Config):
    """Options of the backtest."""

    train_months: int | None = Field(
        default=None,
        ge=1,
        description="Number of training months, just before the test month. Unset: as in the last "
        f"backtest, else {TRAIN_MONTHS}.",
    )
    families: list[str] = Field(
        default_factory=list,
        description="Families besides the champion and the baselines. Empty: all.",
    )
    max_rows: int | None = Field(
        default=None,
        ge=100,
        description="Maximum training trips and maximum test trips of a fold, a fixed random "
        f"sample. Unset: as in the last backtest, else {DEFAULT_ROWS}.",
    )
    seconds: float | None = Field(
        default=60.0,
        gt=0,
        description="Seconds after which no further month is started; the newest come first, and "
        "the sensor backtest_until_complete continues with the others. Unset: no limit.",
    )
    seed: int = Field(default=42, description="Seed of the samples and the estimators.")


@dg.asset(
    deps=["trip_features", "champion_model"],
    group_name=EVALUATION,
    owners=OWNERS,
    kinds={"table"},
    pool=TRAINING_POOL,
    op_tags=cores("all"),
    description="Rolling-origin backtest over all stored months: the champion's parameters, every "
    "family and the baselines, each trained on the months before and tested on the next, without "
    "tuning. The noise of the error sets the limits of monitoring.",
)
def backtest(
    context: dg.AssetExecutionContext,
    config: BacktestConfig,
    trip_store: TripStoreResource,
    tracking: MlflowTracking,
) -> dg.MaterializeResult:
    """Test on every month with enough months before it; known figures are reused."""
    from ml_assets.backtesting.run import BacktestError, run_backtest

    records = trip_store.records()
    earlier = last_backtest(context, trip_store)

    def save_progress(so_far: BacktestRecord) -> None:
        records.write("backtest", so_far)  # a killed run keeps the computed months
        done, total = len(so_far.months), len({*map(str, so_far.months), *so_far.pending_months})
        context.log.info(f"{done} of {total} months tested")
        report(MonthsTested(done, total))

    try:
        made = run_backtest(
            trip_store.tables(),
            _options(config, earlier),
            champion=_champion(context, trip_store, tracking),
            last=_last_models(context, trip_store),
            earlier=earlier,
            on_fold=save_progress,
        )
    except BacktestError as error:
        raise dg.Failure(str(error)) from error
    made = made.model_copy(update={"run_id": context.run.run_id})
    records.write("backtest", made)
    context.log.info(made.summary)
    return materialized(context, lambda: _metadata(made))


def _options(config: BacktestConfig, earlier: BacktestRecord | None) -> "BacktestOptions":
    from ml_assets.backtesting.run import BacktestOptions

    before = (earlier.train_months, earlier.max_rows) if earlier else (None, None)
    try:
        return BacktestOptions(
            train_months=config.train_months or before[0] or TRAIN_MONTHS,
            families=tuple(config.families or FAMILIES),
            max_rows=config.max_rows or before[1] or DEFAULT_ROWS,
            seconds=config.seconds,
            seed=config.seed,
        )
    except ValueError as error:
        raise dg.Failure(str(error)) from error


def last_backtest(
    context: dg.AssetExecutionContext, trip_store: TripStoreResource
) -> BacktestRecord | None:
    """Return the last backtest; None without one, and if it cannot be read."""
    otherwise = "the last backtest is ignored"
    return trip_store.find_record("backtest", BacktestRecord, context.log, otherwise)


def _champion(
    context: dg.AssetExecutionContext, trip_store: TripStoreResource, tracking: MlflowTracking
) -> "ChampionParameters | None":
    from ml_assets.reproduction.reproduce import champion_parameters_of

    dataset = trip_store.tables().dataset
    try:
        champion = champion_parameters_of(tracking.registry(tracking.reader()), dataset)
    except UnknownVersion as error:
        context.log.warning(f"the backtest runs without the champion: {error}")
        return None
    if champion is None:
        context.log.warning(f"{dataset} has no champion: only families and baselines are tested")
    return champion


def _last_models(
    context: dg.AssetExecutionContext, trip_store: TripStoreResource
) -> dict[str, ModelRecord]:
    """Return the last model of each family whose record can be read."""
    found = {}
    for family in FAMILIES:
        name, otherwise = model_asset_name(family), f"{family} uses its default parameters"
        if record := trip_store.find_record(name, ModelRecord, context.log, otherwise):
            found[family] = record
    return found


def _metadata(made: BacktestRecord) -> dict[str, dg.MetadataValue]:
    from ml_assets.reporting.monthly_charts import backtest_lines, backtest_table

    won, months = made.months_won
    figures = {
        "relative_error_noise": made.relative_error_noise,
        "mean_relative_error": made.mean_relative_error,
        "rmse_noise_minutes": made.rmse_noise,
        "suggested_min_improvement_minutes": made.suggested_min_improvement,
    }
    metadata: dict[str, dg.MetadataValue] = {
        "summary": dg.MetadataValue.text(made.summary),
        "trips": dg.MetadataValue.text(dataset_label(made.dataset, synthetic=made.synthetic)),
        "rmse_by_month": table(backtest_table(made)),
        "champion": dg.MetadataValue.text(made.champion or "none"),
        "evaluated_months": dg.MetadataValue.int(months),
        "months_better_than_baselines": dg.MetadataValue.int(won),
        "train_months": dg.MetadataValue.int(made.train_months),
        "max_rows": dg.MetadataValue.int(made.max_rows),
        "computed_entries": dg.MetadataValue.int(made.computed_entries),
        **{name: figure(value) for name, value in figures.items() if value is not None},
    }
    if made.skipped:
        metadata["skipped"] = table([entry.model_dump() for entry in made.skipped])
    if made.pending_months:
        metadata["pending_months"] = dg.MetadataValue.text(", ".join(made.pending_months))
    chart = image(backtest_lines(made), "error of every model by test month")
    return metadata | {"chart": chart}


backtest_check = record_check(
    "backtest",
    "beats_baselines_in_most_months",
    BacktestRecord,
    beats_baselines_in_most_months,
    "The champion's parameters are better than every baseline in most months.",
)


BACKTEST_SENSOR = "backtest_until_complete"
BACKTEST_JOB = "run_backtest"
PAUSE = timedelta(seconds=90)
"""Time between two runs: every other sensor ticks at least twice meanwhile, and its requests go
first."""

_MINIMUM_INTERVAL_SECONDS = 30
_LOW_PRIORITY = {"dagster/priority": "-1"}


def backtest_sensor(now: Clock = utc_now) -> dg.SensorDefinition:
    """Build the sensor that runs the backtest until no month is left."""

    @dg.sensor(
        name=BACKTEST_SENSOR,
        job_name=BACKTEST_JOB,
        minimum_interval_seconds=_MINIMUM_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Continue a backtest that ended with months left, about a minute at a time, "
        "while nothing else trains or ingests. A run that fails or is cancelled is not repeated.",
    )
    def backtest_until_complete(
        context: dg.SensorEvaluationContext, trip_store: TripStoreResource
    ) -> dg.RunRequest | dg.SkipReason:
        last = latest_materialization(context.instance, "backtest")
        if last is None:
            return dg.SkipReason("there was no backtest yet: materialize it once")
        try:
            made = trip_store.records().find("backtest", BacktestRecord)
        except (UnreadableRecord, OSError) as error:
            return dg.SkipReason(str(error))
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
