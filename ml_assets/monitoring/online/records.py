"""What is known of predictions that the service has made: by day, and against the champion's trips.

Served requests bear no id of a trip, and published trips none of a request: how far a served
prediction was off is not known, only how the same model does on whole months
(``prediction_performance``).
"""

from datetime import date, timedelta
from typing import Literal

from pydantic import BaseModel

from ml_assets.monitoring.drift.records import DRIFT_LIMIT
from ml_assets.monitoring.status import MEASURED
from ml_assets.trips.quality import Finding, Verdict

OnlineStatus = Literal["measured", "nothing_served"]

WINDOW_DAYS = 28
"""Requests of so many days, today among them, are held against trips: four whole weeks."""

LOST_DAYS = 7
"""Lost answers and unreadable lines of so many days are warned of."""

MAX_DAYS = 400
"""So many days, the newest, are kept."""

NOTHING_SERVED = (
    "nothing has been served yet: `ml-assets serve` answers requests, and what it answers is "
    "measured here"
)


class OnlineDay(BaseModel):
    """What one version has answered on one day.

    Attributes:
        day: ``YYYY-MM-DD``, in UTC.
        version: Registry version.
        requests: Calls of the service, a list being one.
        answers: Predictions.
        mean_minutes: Of the predictions.
        p50_milliseconds: Half of the calls were answered in less; None when no call is whole.
        p99_milliseconds: 99 % were.
    """

    day: str
    version: str
    requests: int
    answers: int
    mean_minutes: float
    p50_milliseconds: float | None
    p99_milliseconds: float | None


class DayFaults(BaseModel):
    """What one day's log lacks.

    Attributes:
        lost: Answers that the service could not write down, by its own count.
        unreadable: Lines that are torn, or somebody else's.
    """

    lost: int = 0
    unreadable: int = 0

    def __bool__(self) -> bool:
        return bool(self.lost or self.unreadable)


class OnlineDrift(BaseModel):
    """The window's requests against the trips that the champion was fitted on.

    Attributes:
        version: Of the champion.
        reference: Its months, as far as they are stored.
        psi: Population stability index by feature; see :mod:`.stability_index`.
        left_out: Features that are not judged, and why.
        no_distance: Share of requests that state 0 miles, or an impossible number.
        far_off: Share whose distance is far off the usual one of their two zones.
        trips_no_distance: The same share of the newest of the months.
        trips_far_off: Likewise.
        limit: Index above which a feature has drifted.
    """

    version: str
    reference: list[str]
    psi: dict[str, float]
    left_out: dict[str, str] = {}
    no_distance: float
    far_off: float
    trips_no_distance: float
    trips_far_off: float
    limit: float = DRIFT_LIMIT

    @property
    def over(self) -> dict[str, float]:
        """The features over the limit, the farthest first."""
        ranked = sorted(self.psi.items(), key=lambda item: -item[1])
        return {name: index for name, index in ranked if not index <= self.limit}


class OnlineRecord(BaseModel):
    """What is known of served predictions.

    Attributes:
        dataset: Of the trips that they are held against.
        synthetic: Whether that is the synthetic sample.
        status: Whether anything was ever served.
        measured_at: When, in ISO 8601 with offset.
        log_written: When the log was last written before it was read, in seconds since 1970.
        first: First day of the window.
        days: In order.
        faults: By day, where there are any.
        empty: Days before the window whose log was read and holds nothing.
        window_answers: Answers in the window.
        drift: None when it could not be measured.
        why_no_drift: Why it could not.
    """

    dataset: str
    synthetic: bool
    status: OnlineStatus = MEASURED
    measured_at: str = ""
    log_written: float | None = None
    first: str = ""
    days: list[OnlineDay] = []
    faults: dict[str, DayFaults] = {}
    empty: list[str] = []
    window_answers: int = 0
    drift: OnlineDrift | None = None
    why_no_drift: str = ""

    def faults_since(self, day: str) -> DayFaults:
        """What the log lacks from this day on."""
        found = [faults for at, faults in self.faults.items() if at >= day]
        lost, unreadable = (sum(getattr(f, name) for f in found) for name in DayFaults.model_fields)
        return DayFaults(lost=lost, unreadable=unreadable)


def online_sentence(record: OnlineRecord) -> str:
    """What was served and how far it is from the champion's trips, for people."""
    if record.status != MEASURED:
        return NOTHING_SERVED
    answers = sum(day.answers for day in record.days)
    told = f"{answers:,} answers on record, {record.window_answers:,} since {record.first}"
    return f"{told}; {drift_of_requests(record)}"


def drift_of_requests(record: OnlineRecord) -> str:
    """How far the window's requests have moved, in a sentence without its full stop."""
    drift = record.drift
    if drift is None:
        return record.why_no_drift
    if not drift.psi:
        return "no feature can be judged"
    against = f"the trips that version {drift.version} was fitted on"
    if not drift.over:
        feature, index = max(drift.psi.items(), key=lambda item: item[1])
        return (
            f"{feature} is farthest from {against}, by {index:.3f}, within the limit "
            f"{drift.limit:g}"
        )
    named = ", ".join(f"{name} by {index:.3f}" for name, index in drift.over.items())
    return f"requests are not like {against}: {named}, over the limit {drift.limit:g}"


_WAY_OUT = (
    "look at who sends them, and at units, time zone and zone numbers in what they send; "
    "predictions for such requests are less sure than their intervals say"
)


def online_finding(record: OnlineRecord) -> Finding:
    """Whether served requests are like the champion's trips, and none of late is missing."""
    if record.status != MEASURED:
        return Finding(Verdict.SKIP, NOTHING_SERVED)
    drift, missing, told = record.drift, _missing(record), drift_of_requests(record)
    if drift is None or not drift.psi:
        unjudged = Verdict.WARN if missing else Verdict.SKIP
        return Finding(unjudged, f"{missing} | {told}" if missing else told)
    verdict = Verdict.WARN if missing or drift.over else Verdict.PASS
    sentences = (missing, f"{told}; {_WAY_OUT}" if drift.over else told)
    sentence = " | ".join(filter(None, sentences))
    return Finding(verdict, sentence, max(drift.psi.values()), 0.0, drift.limit)


def _missing(record: OnlineRecord) -> str:
    """What the log of the last days lacks; empty when nothing."""
    first = date.fromisoformat(record.first) + timedelta(days=WINDOW_DAYS - LOST_DAYS)
    faults = record.faults_since(str(first))
    lost = (
        f"{faults.lost:,} answers since {first} are not in the request log, by the service's own "
        "count: look at its messages, and at the disk of the home"
    )
    unreadable = (
        f"{faults.unreadable:,} lines of the request log since {first} are unreadable: torn when "
        "the service was killed, or written by something else"
    )
    return " | ".join(
        told for count, told in ((faults.lost, lost), (faults.unreadable, unreadable)) if count
    )
