"""Which months are to be brought: those that the source has and the store has not, or not so."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from hashlib import sha256

from pydantic import AwareDatetime, BaseModel

from ml_assets.ingestion.source import PublishedMonth
from ml_assets.storage.trip_store import CorruptMonth, MonthNotFound, TripStore
from ml_assets.trips.month import Month

PAUSES = (timedelta(hours=1), timedelta(hours=4), timedelta(days=1))
"""Before the second, third and every later attempt."""


class RunState(Enum):
    """What became of a run that was asked for."""

    UNKNOWN = "unknown"
    ONGOING = "ongoing"
    SUCCEEDED = "succeeded"
    TRANSIENT_FAILURE = "failed for a transient reason"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Outcome:
    """The state of the newest run under a key, and since when; no time when there is no run."""

    state: RunState
    at: datetime | None = None
    run_id: str = ""

    def __str__(self) -> str:
        return f"run {self.run_id[:8]} {self.state.value}" if self.run_id else self.state.value


TABLES = ("trip_features", "rejected_trips")
MAX_MONTHS_TOGETHER = 12


@dataclass(frozen=True)
class PendingMonth:
    """A month to bring.

    Attributes:
        month: Which.
        publication: What tells this publication of it from others: the source's ETag or the like,
            and the source.
        why: ``new``, ``republished``, or ``lost on the way`` (the file is there, but not what is
            made from it).
        changed_at: When its file changed last, where it is one on this machine.
    """

    month: Month
    publication: str
    why: str
    changed_at: datetime | None = None

    def changed_within(self, period: timedelta, now: datetime) -> bool:
        """Whether its file changed in the period before now; one dated later has not."""
        return self.changed_at is not None and timedelta(0) <= now - self.changed_at < period

    def __str__(self) -> str:
        return f"{self.month} ({self.why})"


class RequestedMonth(BaseModel):
    """How a month was asked for last.

    Attributes:
        publication: As in ``PendingMonth``.
        run_key: Of the run that was to bring it.
        attempts: So many times.
        together: Whether that run was to bring other months, too.
        at: When.
    """

    publication: str
    run_key: str
    attempts: int
    together: bool
    at: AwareDatetime


class IngestCursor(BaseModel):
    """What was asked for so far: the sensor's memory.

    Attributes:
        months: By ``YYYY-MM``.
        newest_at_first: The newest month that was listed when nothing was remembered yet.
    """

    months: dict[str, RequestedMonth] = {}
    newest_at_first: str | None = None


@dataclass(frozen=True)
class Request:
    """Months to bring in one run, and the key under which it is asked for."""

    months: tuple[PendingMonth, ...]
    run_key: str
    attempts: int


@dataclass(frozen=True)
class Plan:
    """What to ask for now, and why other wanted months have to wait, a line each."""

    requests: list[Request]
    waiting: list[str]


def pending_months(
    source: str, published: Mapping[Month, PublishedMonth], store: TripStore
) -> list[PendingMonth]:
    """The published months that are not stored just so, in order.

    Args:
        source: The source's name.
        published: What it lists.
        store: What is there.
    """
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
    whole = all(_made_from(store, table, published.month) == record.sha256 for table in TABLES)
    return None if whole else "lost on the way"


def _made_from(store: TripStore, table: str, month: Month) -> str | None:
    try:
        return store.lineage(table, month)[0].raw_sha256
    except (MonthNotFound, CorruptMonth):
        return None


def plan_runs(
    wanted: Sequence[PendingMonth],
    asked: IngestCursor,
    outcome_of: Callable[[str], Outcome],
    now: datetime,
) -> Plan:
    """Ask for each publication once, and again only for what may go well another time.

    Months that follow each other and were never asked for come in one run. When such a run fails,
    its months are asked for one by one, so that a bad month is found and keeps no other from
    coming.

    Args:
        wanted: The months to bring, in order.
        asked: What was asked for before.
        outcome_of: What became of the run with a key.
        now: The present instant.
    """
    fresh: list[PendingMonth] = []
    requests: list[Request] = []
    waiting: list[str] = []
    for month in wanted:
        before = asked.months.get(str(month.month))
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


def remember(
    asked: IngestCursor, wanted: Sequence[PendingMonth], plan: Plan, now: datetime
) -> IngestCursor:
    """What is remembered after the plan was asked for; months that are in are forgotten."""
    open_ = {str(month.month) for month in wanted}
    months = {name: before for name, before in asked.months.items() if name in open_}
    for request in plan.requests:
        for month in request.months:
            months[str(month.month)] = RequestedMonth(
                publication=month.publication,
                run_key=request.run_key,
                attempts=request.attempts,
                together=len(request.months) > 1,
                at=now,
            )
    return asked.model_copy(update={"months": months})


def _reason_to_wait(before: RequestedMonth, outcome: Outcome, now: datetime) -> str | None:
    """Why a month that was asked for is not asked for again now; None when it is."""
    if outcome.state == RunState.ONGOING:
        return f"{outcome}"
    for_good = outcome.state in (RunState.FAILED, RunState.CANCELLED)
    if before.together and outcome.state == RunState.FAILED:
        return None  # not for good of this month: any of them can have been at fault
    if for_good:
        return f"{outcome}; it is asked for again when it is published anew"
    due = next_retry_at(before.attempts, outcome.at or before.at)
    return None if now >= due else f"{outcome}; next attempt at {due:%Y-%m-%d %H:%M} UTC"


def _request(months: tuple[PendingMonth, ...], attempts_before: int) -> Request:
    if len(months) == 1:
        name = f"{months[0].month}@{months[0].publication}"
    else:
        publications = "\n".join(month.publication for month in months)
        digest = sha256(publications.encode()).hexdigest()[:16]
        name = f"{months[0].month} to {months[-1].month}@{digest}"
    return Request(months, run_key(name, attempts_before), attempts_before + 1)


def _contiguous_runs(months: Sequence[PendingMonth]) -> Iterator[tuple[PendingMonth, ...]]:
    """Months that follow each other, together, not too many at a time."""
    together: list[PendingMonth] = []
    for month in months:
        follows = together and together[-1].month.shift(1) == month.month
        if together and (not follows or len(together) == MAX_MONTHS_TOGETHER):
            yield tuple(together)
            together = []
        together.append(month)
    if together:
        yield tuple(together)


def next_retry_at(attempts: int, since: datetime) -> datetime:
    """When the next attempt is due after so many that came to nothing (at least one).

    Args:
        attempts: How often it was asked for.
        since: When the last attempt ended, or was asked for.
    """
    return since + PAUSES[min(attempts, len(PAUSES)) - 1]


def run_key(wanted: str, attempt: int) -> str:
    """The key of an attempt, counted from 0: the first is what is wanted, nothing else."""
    return f"{wanted} #{attempt + 1}" if attempt else wanted
