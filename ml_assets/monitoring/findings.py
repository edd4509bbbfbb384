"""What the newest month says of drift and of decay: a finding for an asset check."""

from ml_assets.monitoring.drift.records import DriftRecord, drift_sentence
from ml_assets.monitoring.performance.records import PerformanceRecord, performance_sentence
from ml_assets.monitoring.status import MEASURED
from ml_assets.trips.quality import Finding, Verdict

_WAY_OUT = (
    "look at the month's checks and chart; it is retrained for when two of five months are, unless "
    "they were trained on already: then look at its data and features, or roll back"
)


def drift_finding(record: DriftRecord) -> Finding:
    """Whether the newest month that the champion was not fitted on is within the limit."""
    if record.status != MEASURED:
        return Finding(Verdict.SKIP, record.why)
    if not record.new_months:
        return Finding(Verdict.SKIP, "no month came after those that the champion knows")
    newest = record.new_months[-1]
    over = {name: index for name, index in newest.psi.items() if not index <= record.limit}
    worst = newest.worst[1]
    if not over:
        return Finding(Verdict.PASS, drift_sentence(record), worst, 0.0, record.limit)
    ranked = sorted(over.items(), key=lambda item: -item[1])
    named = ", ".join(f"{name} by {index:.3f}" for name, index in ranked)
    sentence = (
        f"{newest.month}: {named}, over the limit {record.limit:g} of the stability index; "
        f"{_WAY_OUT}"
    )
    return Finding(Verdict.WARN, sentence, worst, 0.0, record.limit)


def performance_finding(record: PerformanceRecord) -> Finding:
    """Whether the champion still predicts, and its newest labelled month is within the limit."""
    if record.status == "unscorable":
        return Finding(Verdict.WARN, f"{record.why}; retrain, or roll back to one that predicts")
    limit, windows = record.limit_of(record.champion), record.windows
    if limit is None or not windows:
        return Finding(Verdict.SKIP, performance_sentence(record))
    newest = windows[-1]
    sentence = performance_sentence(record)
    if newest.breached:
        return Finding(Verdict.WARN, f"{sentence}; {_WAY_OUT}", newest.value, 0.0, limit)
    return Finding(Verdict.PASS, sentence, newest.value, 0.0, limit)
