"""Plan the ingestion: months that are new, republished or incomplete, and the runs for them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from hashlib import sha256

from pydantic import AwareDatetime, BaseModel

from ml_assets.ingestion.source import PublishedMonth
from ml_assets.storage.trip_store import CorruptMonth, MonthNotFound, TripStore
from ml_assets.trips.month import Month

RETRY_DELAYS = (timedelta(hours=1), timedelta(hours=4), timedelta(days=1))
"""Delay before the second, the third and every later attempt."""


class RunState(Enum):
    """State of a requested run."""

    UNKNOWN = "unknown"
    ONGOING = "ongoing"
    SUCCEEDED = "succeeded"
    TRANSIENT_FAILURE = "failed for a transient reason"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class RunOutcome:
    """State of the newest run with a key, and since when; without a time when there is no run."""

    state: RunState
    at: datetime | None = None
    run_id: str = ""

    def __str__(self) -> str:
        return f"run {self.run_id[:8]} {self.state.value}" if self.run_id else self.state.value


TABLES = ("trip_features", "rejected_trips")
MAX_MONTHS_PER_RUN = 12


@dataclass(frozen=True)
class PendingMonth:
    """A month to ingest.

    Attributes:
        publication: Identifier of its publication: the source's version and name.
        why: ``new``, ``republished``, or ``incomplete`` (the file is stored, but not all tables
            made from it).
        changed_at: When its file changed last; None unless it is a local file.
    """

    month: Month
    publication: str
    why: str
    changed_at: datetime | None = None

    def changed_within(self, period: timedelta, now: datetime) -> bool:
        """Whether its file changed in the period before now; a later date does not count."""
        return self.changed_at is not None and timedelta(0) <= now - self.changed_at < period

    def __str__(self) -> str:
        return f"{self.month} ({self.why})"


class RequestedMonth(BaseModel):
    """The last request of a month.

    Attributes:
        publication: See ``PendingMonth``.
        together: Whether that run covers other months as well.
    """

    publication: str
    run_key: str
    attempts: int
    together: bool
    at: AwareDatetime


class IngestCursor(BaseModel):
    """Requests so far: the sensor's cursor.

    Attributes:
        months: The last request of each month, by ``YYYY-MM``.
    """

    months: dict[str, RequestedMonth] = {}
    newest_at_first: str | None = None


@dataclass(frozen=True)
class IngestRequest:
    """Months to ingest in one run, and the run's key."""

    months: tuple[PendingMonth, ...]
    run_key: str
    attempts: int


@dataclass(frozen=True)
class Plan:
    """Runs to request now, and why other pending months wait, one line each."""

    requests: list[IngestRequest]
    waiting: list[str]


def pending_months(
    source: str, published: Mapping[Month, PublishedMonth], store: TripStore
) -> list[PendingMonth]:
    """Return the published months that are not stored completely in this version, in order."""
    found = ((month, _why(source, published[month], store)) for month in sorted(published))
    return [
        PendingMonth(
            month, f"{published[month].version} from {source}", why, published[month].changed_at
        )
        for month, why in found
        if why is not None
    ]


def _why(source: str, published: PublishedMonth, store: TripStore) -> str | None:
    record = store.raw_record(published.month)
    if record is None:
        return "new"
    if (record.version, record.source) != (published.version, source):
        return "republished"
    complete = all(_made_from(store, table, published.month) == record.sha256 for table in TABLES)
    return None if complete else "incomplete"


def _made_from(store: TripStore, table: str, month: Month) -> str | None:
    try:
        return store.lineage(table, month)[0].raw_sha256
    except (MonthNotFound, CorruptMonth):
        return None


def plan_runs(
    pending: Sequence[PendingMonth],
    cursor: IngestCursor,
    outcome_of: Callable[[str], RunOutcome],
    now: datetime,
) -> Plan:
    """Request each publication once, and again only after a transient failure.

    Consecutive months that were never requested are ingested in one run. When such a run fails,
    its months are requested one by one, so that a bad month is found and blocks no other.
    """
    fresh: list[PendingMonth] = []
    requests: list[IngestRequest] = []
    waiting: list[str] = []
    for month in pending:
        before = cursor.months.get(str(month.month))
        if before is None or before.publication != month.publication:
            fresh.append(month)
            continue
        reason = _reason_to_wait(before, outcome_of(before.run_key), now)
        if reason is None:
            requests.append(_request((month,), before.attempts))
        else:
            waiting.append(f"{month}: {reason}")
    requests += [_request(months, 0) for months in _contiguous_runs(fresh)]
    return Plan(sorted(requests, key=lambda request: request.months[0].month), waiting)


def update_cursor(
    cursor: IngestCursor, pending: Sequence[PendingMonth], plan: Plan, now: datetime
) -> IngestCursor:
    """Return the cursor with the plan's requests and without months that are no longer pending."""
    open_ = {str(month.month) for month in pending}
    months = {name: before for name, before in cursor.months.items() if name in open_}
    for request in plan.requests:
        for month in request.months:
            months[str(month.month)] = RequestedMonth(
                publication=month.publication,
                run_key=request.run_key,
                attempts=request.attempts,
                together=len(request.months) > 1,
                at=now,
            )
    return cursor.model_copy(update={"months": months})


def _reason_to_wait(before: RequestedMonth, outcome: RunOutcome, now: datetime) -> str | None:
    """Return why a requested month is not requested again now; None when it is."""
    if outcome.state == RunState.ONGOING:
        return f"{outcome}"
    if before.together and outcome.state == RunState.FAILED:
        return None  # any of the run's months may have caused the failure
    if outcome.state in (RunState.FAILED, RunState.CANCELLED):
        return f"{outcome}; it will be requested again when it is republished"
    due = next_retry_at(before.attempts, outcome.at or before.at)
    return None if now >= due else f"{outcome}; next attempt at {due:%Y-%m-%d %H:%M} UTC"


def _request(months: tuple[PendingMonth, ...], attempts_before: int) -> IngestRequest:
    if len(months) == 1:
        name = f"{months[0].month}@{months[0].publication}"
    else:
        publications = "\n".join(month.publication for month in months)
        digest = sha256(publications.encode()).hexdigest()[:16]
        name = f"{months[0].month} to {months[-1].month}@{digest}"
    return IngestRequest(months, run_key(name, attempts_before), attempts_before + 1)


def _contiguous_runs(months: Sequence[PendingMonth]) -> Iterator[tuple[PendingMonth, ...]]:
    """Yield groups of consecutive months, of at most ``MAX_MONTHS_PER_RUN``."""
    together: list[PendingMonth] = []
    for month in months:
        follows = together and together[-1].month.shift(1) == month.month
        if together and (not follows or len(together) == MAX_MONTHS_PER_RUN):
            yield tuple(together)
            together = []
        together.append(month)
    if together:
        yield tuple(together)


def next_retry_at(attempts: int, since: datetime) -> datetime:
    """Return when the next attempt is due.

    Args:
        attempts: Number of failed attempts, at least one.
        since: When the last attempt ended, or was requested.
    """
    return since + RETRY_DELAYS[min(attempts, len(RETRY_DELAYS)) - 1]


def run_key(name: str, attempt: int) -> str:
    """Return the run key of an attempt, counted from 0: the first key is the name alone."""
    return f"{name} #{attempt + 1}" if attempt else name
