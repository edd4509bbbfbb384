"""Data-quality rules, their findings and verdicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from ml_assets.trips.quality.bands import Band
from ml_assets.trips.quality.profile import MonthProfile


class Verdict(IntEnum):
    """Result of a rule for a month, from best to worst."""

    PASS = 0
    SKIP = 1
    """Nothing to compare with yet, or nothing to measure."""
    WARN = 2
    """Reported, but still used for training."""
    FAIL = 3
    """Training on this month would be worse than training without it."""


@dataclass(frozen=True)
class Finding:
    """The result of one rule for one month.

    Attributes:
        verdict: The verdict.
        sentence: Explanation, without the month's name, to follow it after a colon.
        value: The figure that was checked.
        lower: Its lower limit.
        upper: Its upper limit.
    """

    verdict: Verdict
    sentence: str
    value: float | None = None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Rule:
    """A requirement on every month.

    Attributes:
        name: Name of the check.
        table: The checked table: ``raw_trips``, ``trip_features`` or ``rejected_trips``.
        blocking: Whether it can fail a month; it is then a blocking check.
        description: The requirement, in one sentence.
        check: Function of the month and the earlier months, in order; returns the finding.
    """

    name: str
    table: str
    blocking: bool
    description: str
    check: Callable[[MonthProfile, Sequence[MonthProfile]], Finding]


def within(value: float, band: Band | None, what: str, unit: str = "{:.1%}") -> Finding:
    """Check one figure against its band: WARN outside, SKIP without a band.

    Args:
        value: The figure.
        band: The expected range.
        what: Name of the figure in the sentence.
        unit: Format of figures.
    """
    shown = unit.format(value)
    if band is None:
        sentence = f"{what} {shown}; too few earlier months to compare"
        return Finding(Verdict.SKIP, sentence, value)
    limits = f"{unit.format(band.lower)} to {unit.format(band.upper)}"
    if value in band:
        return Finding(
            Verdict.PASS, f"{what} {shown}, expected {limits}", value, band.lower, band.upper
        )
    return Finding(
        Verdict.WARN,
        f"{what} {shown}, outside the expected {limits} (check the month before trusting models "
        "trained on it)",
        value,
        band.lower,
        band.upper,
    )


def worst(findings: Sequence[Finding]) -> Finding:
    """Return the worst of several findings; equal warnings or failures are joined to one."""
    level = max(finding.verdict for finding in findings)
    chosen = [finding for finding in findings if finding.verdict == level]
    if level < Verdict.WARN or len(chosen) == 1:
        return chosen[0]
    first = chosen[0]
    sentence = "; ".join(finding.sentence for finding in chosen)
    return Finding(level, sentence, first.value, first.lower, first.upper)
