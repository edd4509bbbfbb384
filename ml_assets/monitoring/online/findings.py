"""What the request log says of requests that models do not know, and of answers it lacks."""

from datetime import date, timedelta

from ml_assets.monitoring.champion import MEASURED
from ml_assets.monitoring.online.records import (
    LOST_DAYS,
    NOTHING_SERVED,
    WINDOW_DAYS,
    OnlineRecord,
    drift_of_requests,
)
from ml_assets.trips.quality import Finding, Verdict

_WAY_OUT = (
    "look at who sends them, and at units, time zone and zone numbers in what they send; "
    "predictions for such requests are less sure than their intervals say"
)


def online_finding(record: OnlineRecord) -> Finding:
    """Whether served requests are like the champion's trips, and none of late is missing."""
    if record.status != MEASURED:
        return Finding(Verdict.UNJUDGED, NOTHING_SERVED)
    drift, missing, told = record.drift, _missing(record), drift_of_requests(record)
    if drift is None or not drift.psi:
        unjudged = Verdict.ODD if missing else Verdict.UNJUDGED
        return Finding(unjudged, f"{missing} | {told}" if missing else told)
    verdict = Verdict.ODD if missing or drift.over else Verdict.FINE
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
