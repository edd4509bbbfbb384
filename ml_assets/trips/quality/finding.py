"""What a rule finds in a month, and what a rule is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from ml_assets.trips.quality.bands import Band
from ml_assets.trips.quality.profile import MonthProfile


class Verdict(IntEnum):
    """How a month fares under a rule, from best to worst."""

    PASS = 0
    SKIP = 1
    """There is nothing to compare with yet, or nothing to measure."""
    WARN = 2
    """Shown, and trained on: look at it."""
    FAIL = 3
    """Training on this month would be worse than training without it."""


@dataclass(frozen=True)
class Finding:
    """What one rule says of one month.

    Attributes:
        verdict: How the month fares.
        sentence: Without the month's name, to stand after it and a colon.
        value: The figure that was judged.
        lower: The lowest that is fine.
        upper: The highest that is fine.
    """

    verdict: Verdict
    sentence: str
    value: float | None = None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Rule:
    """One thing that is demanded of every month.

    Attributes:
        name: Name of the check.
        table: The table that it speaks of: ``raw_trips``, ``trip_features`` or ``rejected_trips``.
        refuses: Whether it can refuse a month; such a rule is a blocking check.
        description: What is demanded, for people.
        judge: ``(month, earlier months in order)`` to the finding.
    """

    name: str
    table: str
    refuses: bool
    description: str
    judge: Callable[[MonthProfile, Sequence[MonthProfile]], Finding]


def within(value: float, band: Band | None, what: str, unit: str = "{:.1%}") -> Finding:
    """A finding on one figure: odd outside its band, unjudged without one.

    Args:
        value: The figure.
        band: What is usual.
        what: Names the figure in the sentence.
        unit: Format of figures.
    """
    shown = unit.format(value)
    if band is None:
        sentence = f"{what} {shown}; too few earlier months to compare"
        return Finding(Verdict.SKIP, sentence, value)
    limits = f"{unit.format(band.lower)} to {unit.format(band.upper)}"
    if value in band:
        return Finding(
            Verdict.PASS, f"{what} {shown}, usual is {limits}", value, band.lower, band.upper
        )
    return Finding(
        Verdict.WARN,
        f"{what} {shown}, outside the usual {limits} (look at the month before trusting what is "
        "trained on it)",
        value,
        band.lower,
        band.upper,
    )


def worst(findings: Sequence[Finding]) -> Finding:
    """The worst of several findings; the first of equals, with every odd sentence of its rank."""
    level = max(finding.verdict for finding in findings)
    chosen = [finding for finding in findings if finding.verdict == level]
    if level < Verdict.WARN or len(chosen) == 1:
        return chosen[0]
    first = chosen[0]
    sentence = "; ".join(finding.sentence for finding in chosen)
    return Finding(level, sentence, first.value, first.lower, first.upper)
