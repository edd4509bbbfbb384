"""The sensor that ingests months when they are published or republished."""

from datetime import date, timedelta
from functools import partial

import dagster as dg

from ml_assets.config.settings import Settings
from ml_assets.defs.common import INGESTION_POOL, load_cursor, skip
from ml_assets.defs.operations.run_outcomes import active_run, outcome_of
from ml_assets.defs.operations.run_tags import reason_tag
from ml_assets.defs.resources.trips import TripSourceResource, TripStoreResource
from ml_assets.ingestion.ingest_plan import (
    IngestCursor,
    IngestRequest,
    PendingMonth,
    pending_months,
    plan_runs,
    update_cursor,
)
from ml_assets.ingestion.open_source import list_with_timeout, near_misses_within
from ml_assets.ingestion.source import InvalidSource, SourceUnavailable, near_miss_lines
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.windows import span
from ml_assets.trips.month import (
    Clock,
    Month,
    latest_published_month,
    months_between,
    new_york_date,
    utc_now,
)

NAME = "ingest_new_months"
INGEST_JOB = "ingest_trips"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
LISTING_SECONDS = 40.0
"""Dagster gives a sensor 60 seconds."""

_FOLDER_SECONDS = 30
_FOLDER_OF_A_REMOTE_HOME_SECONDS = 300
_REMOTE_SECONDS = 3600

_QUIET = timedelta(seconds=5)
"""A file that changed more recently may be incomplete; the next tick ingests it."""


def poll_seconds(settings: Settings) -> int:
    """Return the interval between ticks: short for a local folder, which is cheap to list."""
    if settings.synthetic or settings.trips == "tlc" or "://" in settings.trips:
        return _REMOTE_SECONDS
    return _FOLDER_SECONDS if settings.home_is_local else _FOLDER_OF_A_REMOTE_HOME_SECONDS


def new_months_sensor(settings: Settings, now: Clock = utc_now) -> dg.SensorDefinition:
    """Build the sensor for these settings; ``now`` is the clock."""

    @dg.sensor(
        name=NAME,
        job_name=INGEST_JOB,
        minimum_interval_seconds=poll_seconds(settings),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ingest each month when it is published, and again whenever it is republished.",
    )
    def ingest_new_months(
        context: dg.SensorEvaluationContext,
        trip_source: TripSourceResource,
        trip_store: TripStoreResource,
    ) -> dg.SensorResult:
        if busy := active_run(context.instance, INGESTION_POOL):
            return skip(f"months are being ingested: {busy}")
        cursor = load_cursor(IngestCursor, context.cursor)
        months = months_until(settings, new_york_date(now()))
        if cursor.newest_at_first is None:
            cursor = cursor.model_copy(update={"newest_at_first": str(months[-1])})
        store = trip_store.tables()
        try:
            pending = find_pending_months(trip_source, store, months, cursor.newest_at_first or "")
            growing = [month for month in pending if month.changed_within(_QUIET, now())]
        except (SourceUnavailable, InvalidSource, OSError) as error:
            return skip(str(error))
        complete = [month for month in pending if month not in growing]
        plan = plan_runs(complete, cursor, partial(outcome_of, context.instance), now())
        cursor = update_cursor(cursor, pending, plan, now())
        if not plan.requests:
            waiting = [f"{month}: its file is still being written" for month in growing]
            waiting += plan.waiting
            reason = "; ".join(waiting) or _nothing_new(store, months)
            return skip(f"{reason}{near_miss_note(trip_source, store, months)}", cursor)
        return dg.SensorResult(
            [run_request(request) for request in plan.requests], cursor=cursor.model_dump_json()
        )

    return ingest_new_months


def months_until(settings: Settings, today: date) -> list[Month]:
    """Return every month that has a partition on this date in New York."""
    return list(months_between(settings.first_month, latest_published_month(today)))


def find_pending_months(
    trip_source: TripSourceResource, store: TripStore, months: list[Month], sample_since: str
) -> list[PendingMonth]:
    """Return the months to ingest.

    The synthetic sample is complete from the start, and would be ingested whole without a request.
    So its new months count only if they appeared after ``sample_since``, and only once a month of
    the sample is stored.

    Raises:
        SourceUnavailable: when the source does not respond in time.
        InvalidSource: when it does not exist.
    """
    source = trip_source.open()
    published = list_with_timeout(source, months, LISTING_SECONDS)
    pending = pending_months(source.name, published, store)
    if not source.synthetic:
        return pending
    if not store.months("trip_features"):
        return []
    return [month for month in pending if month.why != "new" or str(month.month) > sample_since]


def near_miss_note(trip_source: TripSourceResource, store: TripStore, months: list[Month]) -> str:
    """Return a note on files that resemble missing months, and why they are not read.

    Empty when there are none, or when the source does not respond: the next tick tries again.
    """
    absent = [month for month in months if store.raw_record(month) is None]
    try:
        found = near_misses_within(trip_source.open(), absent, LISTING_SECONDS / 4)
    except (SourceUnavailable, InvalidSource, OSError):
        return ""
    return "".join(f"; {line}" for line in near_miss_lines(found))


def run_request(request: IngestRequest, name: str | None = None) -> dg.RunRequest:
    """Convert a request to a run request, under its own key or another one."""
    first, last = request.months[0].month, request.months[-1].month
    reasons = sorted({month.why for month in request.months})
    months = span([month.month for month in request.months])
    tags = reason_tag(f"{', '.join(reasons)}: {months}")
    if first == last:
        return dg.RunRequest(name or request.run_key, partition_key=str(first), tags=tags)
    tags |= {RANGE_START: str(first), RANGE_END: str(last)}
    return dg.RunRequest(name or request.run_key, tags=tags)


def _nothing_new(store: TripStore, months: list[Month]) -> str:
    if store.synthetic and not store.months("trip_features"):
        return (
            "the synthetic sample is ingested automatically only after its first month: click "
            "Materialize all…, or run `ml-assets run`"
        )
    return f"nothing is published from {months[0]} to {months[-1]} that is not stored"
