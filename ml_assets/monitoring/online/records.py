"""Stored record of the request log: predictions by day, and request drift.

A served request has no trip id and a published trip no request id, so the error of a single served
prediction is unknown; ``prediction_performance`` has the model's error on whole months.
"""

from datetime import date, timedelta
from typing import Literal

from pydantic import BaseModel

from ml_assets.monitoring import MEASURED
from ml_assets.monitoring.drift.records import DRIFT_LIMIT
from ml_assets.storage.former_names import StoredRecord
from ml_assets.trips.quality.finding import Finding, Verdict

OnlineStatus = Literal["measured", "nothing_served"]

WINDOW_DAYS = 28
"""Days of requests, including today, that drift is measured on: four whole weeks."""

DROPPED_DAYS = 7
"""Dropped entries and unreadable lines of this many days cause a warning."""

MAX_DAYS = 400
"""How many days are kept, the newest."""

NOTHING_SERVED = (
    "no prediction has been served yet: start the service with `ml-assets serve`; its request log "
    "is measured here"
)


class OnlineDay(BaseModel):
    """Predictions of one version on one day.

    Attributes:
        day: ``YYYY-MM-DD``, in UTC.
        requests: Calls of the service; a list counts as one.
        stated: Predictions for the request's own distance; None in records before version 0.2.
        p50_milliseconds: Median latency of a call; None when no call is complete in the log.
        p99_milliseconds: 99th percentile of the latency.
    """

    day: str
    version: str
    requests: int
    answers: int
    mean_minutes: float
    p50_milliseconds: float | None
    p99_milliseconds: float | None
    stated: int | None = None


class DayFaults(StoredRecord):
    """Faults of the log of one day.

    Attributes:
        dropped: Predictions that the service could not log, by its own count.
        unreadable: Lines that are truncated or not written by the service.
    """

    dropped: int = 0
    unreadable: int = 0

    def __bool__(self) -> bool:
        return bool(self.dropped or self.unreadable)


class OnlineDrift(BaseModel):
    """Drift of the window's requests against the champion's training months.

    Attributes:
        reference: The champion's training months that are stored.
        psi: Population stability index by feature; see
            :mod:`ml_assets.monitoring.drift.histograms`.
        left_out: Features that were not measured, with the reason.
        no_distance: Share of requests without a distance, or with one of 0 or implausible miles.
        far_off: Share of requests with a distance far from the expected one of their zone pair.
        trips_no_distance: ``no_distance`` of the trips of the newest reference month.
        trips_far_off: ``far_off`` of the trips of the newest reference month.
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
        """The features over the limit, the highest index first."""
        ranked = sorted(self.psi.items(), key=lambda item: -item[1])
        return {name: index for name, index in ranked if not index <= self.limit}


class OnlineRecord(BaseModel):
    """Metrics of the request log.

    Attributes:
        status: Whether a prediction was ever served.
        measured_at: Time of the measurement, ISO 8601 with offset.
        log_written: When the log was last written before it was read, in seconds since 1970.
        days: Predictions by day and version, in order.
        faults: Faults by day, for days that have any.
        empty: Days before the window whose log has no entries.
        window_answers: Predictions in the window.
        window_stated: Those for the request's own distance; None in records before version 0.2.
        why_no_drift: Why drift could not be measured.
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
    window_stated: int | None = None
    drift: OnlineDrift | None = None
    why_no_drift: str = ""

    @property
    def stated_share(self) -> float | None:
        """Share of the window's predictions whose request states its distance, 0 to 1.

        None when the window has no predictions, or the record is of a version before 0.2.
        """
        if self.window_stated is None or not self.window_answers:
            return None
        return self.window_stated / self.window_answers

    def faults_since(self, day: str) -> DayFaults:
        """Sum the faults of the log from this day on."""
        found = [faults for at, faults in self.faults.items() if at >= day]
        dropped, unreadable = (
            sum(getattr(f, name) for f in found) for name in DayFaults.model_fields
        )
        return DayFaults(dropped=dropped, unreadable=unreadable)


def request_log_summary(record: OnlineRecord) -> str:
    """Summarize the served predictions and the drift of their requests in one sentence."""
    if record.status != MEASURED:
        return NOTHING_SERVED
    answers = sum(day.answers for day in record.days)
    served = f"{answers:,} predictions logged, {record.window_answers:,} since {record.first}"
    if record.stated_share is not None:
        served += f", {record.stated_share:.0%} of them for a stated distance"
    return f"{served}; {request_drift_summary(record)}"


def request_drift_summary(record: OnlineRecord) -> str:
    """Summarize the drift of the window's requests in one clause."""
    drift = record.drift
    if drift is None:
        return record.why_no_drift
    if not drift.psi:
        return "no feature can be measured"
    against = f"the training months of version {drift.version}"
    if not drift.over:
        feature, index = max(drift.psi.items(), key=lambda item: item[1])
        return (
            f"{feature} has drifted most from {against}, by {index:.3f}, within the limit "
            f"{drift.limit:g}"
        )
    named = ", ".join(f"{name} by {index:.3f}" for name, index in drift.over.items())
    return f"requests have drifted from {against}: {named}, over the limit {drift.limit:g}"


_REMEDY = (
    "check the clients, and the units, time zone and zone numbers of their requests; predictions "
    "for such requests are less certain than their intervals state"
)


def online_finding(record: OnlineRecord) -> Finding:
    """Check that requests have not drifted and that the recent request log is complete."""
    if record.status != MEASURED:
        return Finding(Verdict.SKIP, NOTHING_SERVED)
    drift, missing, summary = record.drift, _missing(record), request_drift_summary(record)
    if drift is None or not drift.psi:
        verdict = Verdict.WARN if missing else Verdict.SKIP
        return Finding(verdict, f"{missing} | {summary}" if missing else summary)
    verdict = Verdict.WARN if missing or drift.over else Verdict.PASS
    sentences = (missing, f"{summary}; {_REMEDY}" if drift.over else summary)
    sentence = " | ".join(filter(None, sentences))
    return Finding(verdict, sentence, max(drift.psi.values()), 0.0, drift.limit)


def _missing(record: OnlineRecord) -> str:
    """Describe the faults of the recent log; empty without any."""
    first = date.fromisoformat(record.first) + timedelta(days=WINDOW_DAYS - DROPPED_DAYS)
    faults = record.faults_since(str(first))
    dropped = (
        f"{faults.dropped:,} predictions since {first} are missing from the request log, by the "
        "service's own count: check the service's messages and the disk of the home"
    )
    unreadable = (
        f"{faults.unreadable:,} lines of the request log since {first} are unreadable: truncated "
        "when the service was killed, or written by another program"
    )
    return " | ".join(
        text
        for count, text in ((faults.dropped, dropped), (faults.unreadable, unreadable))
        if count
    )
