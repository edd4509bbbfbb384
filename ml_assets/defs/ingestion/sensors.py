"""The sensor that brings months as they are published, or published anew."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial

import dagster as dg

from ml_assets.config.settings import Settings
from ml_assets.defs.automation import reason_tag
from ml_assets.defs.common import INGESTION_POOL
from ml_assets.defs.cursor import load_cursor, skip
from ml_assets.defs.operations.run_outcomes import active_run, outcome_of
from ml_assets.defs.resources.trips import TripSourceResource, TripStoreResource
from ml_assets.ingestion import InvalidSource, SourceUnavailable
from ml_assets.ingestion.ingest_plan import (
    IngestCursor,
    PendingMonth,
    Request,
    pending_months,
    plan_runs,
    remember,
)
from ml_assets.ingestion.open_source import list_with_timeout, near_misses_within
from ml_assets.ingestion.source import near_miss_lines
from ml_assets.storage.trip_store import TripStore
from ml_assets.training.windows import span
from ml_assets.trips.calendar import latest_published_month, new_york_date
from ml_assets.trips.month import Month, months_between

NAME = "ingest_new_months"
INGEST_JOB = "ingest_trips"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
LISTING_SECONDS = 40.0
"""Dagster gives a sensor 60 seconds."""

_FOLDER_SECONDS = 30
_FOLDER_OF_A_REMOTE_HOME_SECONDS = 300
_REMOTE_SECONDS = 3600

_STILL = timedelta(seconds=5)
"""A file that changed no longer ago may be half a file; the next look takes it."""

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present instant."""
    return datetime.now(UTC)


def poll_seconds(settings: Settings) -> int:
    """How often to look: a folder at hand is looked at for next to nothing, a server is not."""
    if settings.synthetic or settings.trips == "tlc" or "://" in settings.trips:
        return _REMOTE_SECONDS
    return _FOLDER_SECONDS if settings.home_is_local else _FOLDER_OF_A_REMOTE_HOME_SECONDS


def new_months_sensor(settings: Settings, now: Clock = utc_now) -> dg.SensorDefinition:
    """The sensor for these settings; ``now`` tells the time."""

    @dg.sensor(
        name=NAME,
        job_name=INGEST_JOB,
        minimum_interval_seconds=poll_seconds(settings),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Bring each month once it is published, and once more for each time that it is "
        "published anew.",
    )
    def ingest_new_months(
        context: dg.SensorEvaluationContext,
        trip_source: TripSourceResource,
        trip_store: TripStoreResource,
    ) -> dg.SensorResult:
        if busy := active_run(context.instance, INGESTION_POOL):
            return skip(f"months are being brought: {busy}")
        asked = load_cursor(IngestCursor, context.cursor)
        months = months_until(settings, new_york_date(now()))
        if asked.newest_at_first is None:
            asked = asked.model_copy(update={"newest_at_first": str(months[-1])})
        store = trip_store.tables()
        try:
            wanted = look_for_months(trip_source, store, months, asked.newest_at_first or "")
            growing = [month for month in wanted if month.changed_within(_STILL, now())]
        except (SourceUnavailable, InvalidSource, OSError) as error:
            return skip(str(error))
        settled = [month for month in wanted if month not in growing]
        plan = plan_runs(settled, asked, partial(outcome_of, context.instance), now())
        cursor = remember(asked, wanted, plan, now())
        if not plan.requests:
            waiting = [f"{month}: its file is still being written" for month in growing]
            waiting += plan.waiting
            reason = "; ".join(waiting) or _nothing_new(store, months)
            return skip(f"{reason}{not_read(trip_source, store, months)}", cursor)
        return dg.SensorResult(
            [run_request(request) for request in plan.requests], cursor=cursor.model_dump_json()
        )

    return ingest_new_months


def months_until(settings: Settings, today: date) -> list[Month]:
    """Every month that has a partition on that day in New York."""
    return list(months_between(settings.first_month, latest_published_month(today)))


def look_for_months(
    trip_source: TripSourceResource, store: TripStore, months: list[Month], sample_since: str
) -> list[PendingMonth]:
    """Which of the months are to be brought.

    The synthetic sample is complete from the start, so all of it would begin by itself. Of its
    months that were never brought, only those count that came out after ``sample_since``, and
    only once something of it is there.

    Raises:
        SourceUnavailable: when the source does not answer in time.
        InvalidSource: when it is not there.
    """
    source = trip_source.open()
    published = list_with_timeout(source, months, LISTING_SECONDS)
    wanted = pending_months(source.name, published, store)
    if not source.synthetic:
        return wanted
    begun = bool(store.months("trip_features"))
    return [
        month
        for month in wanted
        if begun and (month.why != "new" or str(month.month) > sample_since)
    ]


def not_read(trip_source: TripSourceResource, store: TripStore, months: list[Month]) -> str:
    """What looks like months that are not stored, and why it is not read, to end a sentence.

    Empty when there is nothing of the kind, or the source does not answer: it answered a moment
    ago, and the next look tells.
    """
    absent = [month for month in months if store.raw_record(month) is None]
    try:
        found = near_misses_within(trip_source.open(), absent, LISTING_SECONDS / 4)
    except (SourceUnavailable, InvalidSource, OSError):
        return ""
    return "".join(f"; {line}" for line in near_miss_lines(found))


def run_request(request: Request, name: str | None = None) -> dg.RunRequest:
    """The run that brings a request's months, under its key or another name."""
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
            "the synthetic sample comes by itself only once some of it is there: press "
            "Materialize all…, or run `ml-assets run`"
        )
    return f"nothing is published from {months[0]} to {months[-1]} that is not stored"
