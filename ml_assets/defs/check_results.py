"""From findings of the domain's rules to results that Dagster shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from ml_assets.trips.quality import Finding, Verdict

_NAMED_MONTHS = 3


@dataclass(frozen=True)
class MonthFinding:
    """What a rule found in a month.

    Attributes:
        month: ``YYYY-MM``.
        finding: What the rule found.
        of_this_run: Whether the run that asks has made that month.
        settled: Whether an odd month is as usual by the months after it.
    """

    month: str
    finding: Finding
    of_this_run: bool
    settled: bool = False


def single_result(
    key: dg.AssetCheckKey, finding: Finding, shown: Mapping[str, dg.MetadataValue] | None = None
) -> dg.AssetCheckResult:
    """The result of a check that speaks of the whole asset.

    Args:
        key: The check.
        finding: What it found.
        shown: More metadata.
    """
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=finding.verdict < Verdict.WARN,
        severity=_severity(finding.verdict),
        description=finding.sentence,
        metadata={
            "verdict": finding.verdict.name.lower(),
            **_figures(finding),
            **(shown or {}),
        },
    )


def monthly_result(
    key: dg.AssetCheckKey, found: Sequence[MonthFinding], unpublished: Sequence[str]
) -> dg.AssetCheckResult:
    """One result for all months: it fails the run for the run's own months only.

    A refused month that another run made stays in sight as a warning, since the latest result
    stands for the asset. An odd one is shown by the run that makes it, until the months after it
    have settled that it was the beginning of something usual.

    Args:
        key: The check.
        found: Months in order, with what was found.
        unpublished: Months of the run that the source has not published; no fault.
    """
    shown = [entry for entry in found if _is_shown(entry)]
    own = [entry.finding.verdict for entry in shown if entry.of_this_run]
    refused = Verdict.FAIL in own
    description = _sentence(found, shown)
    if unpublished:
        description += f" · not published yet: {', '.join(unpublished)}"
    newest = next((entry for entry in reversed(found) if entry.of_this_run), None)
    metadata: dict[str, dg.MetadataValue | str | int | float] = {
        "months": _table(found),
        "months_judged": sum(entry.of_this_run for entry in found),
        "failed_months": ", ".join(entry.month for entry in shown) or "none",
    }
    if newest is not None:
        metadata |= {"newest_month": newest.month, **_figures(newest.finding)}
    if unpublished:
        metadata["not_published_yet"] = ", ".join(unpublished)
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=not shown,
        severity=_severity(Verdict.FAIL if refused else Verdict.WARN),
        description=description,
        metadata=metadata,
    )


def _is_shown(entry: MonthFinding) -> bool:
    least = Verdict.WARN if entry.of_this_run and not entry.settled else Verdict.FAIL
    return entry.finding.verdict >= least


def _severity(verdict: Verdict) -> dg.AssetCheckSeverity:
    refused = verdict == Verdict.FAIL
    return dg.AssetCheckSeverity.ERROR if refused else dg.AssetCheckSeverity.WARN


def _sentence(found: Sequence[MonthFinding], shown: Sequence[MonthFinding]) -> str:
    if shown:
        worst_first = sorted(shown, key=lambda entry: -entry.finding.verdict)
        named = [f"{entry.month}: {entry.finding.sentence}" for entry in worst_first]
        more = len(named) - _NAMED_MONTHS
        rest = [f"and {more} more months, listed under `months`"] if more > 0 else []
        return " | ".join(named[:_NAMED_MONTHS] + rest)
    own = [entry for entry in found if entry.of_this_run]
    if not own:
        return "no stored month to judge"
    newest = own[-1]
    settled = ", ".join(entry.month for entry in own if entry.settled)
    odd = f"none of them odd but {settled}, which later months settled" if settled else ""
    count = f"{len(own)} months, {odd or 'none of them odd'}; the newest, " if len(own) > 1 else ""
    return f"{count}{newest.month}: {newest.finding.sentence}"


def _figures(finding: Finding) -> dict[str, float]:
    figures = {"value": finding.value, "lower": finding.lower, "upper": finding.upper}
    return {name: float(value) for name, value in figures.items() if value is not None}


def _table(found: Sequence[MonthFinding]) -> dg.MetadataValue:
    records = [
        dg.TableRecord(
            {
                "month": entry.month,
                "verdict": entry.finding.verdict.name.lower()
                + (" (settled by later months)" if entry.settled else ""),
                "value": _shown_number(entry.finding.value),
                "lower": _shown_number(entry.finding.lower),
                "upper": _shown_number(entry.finding.upper),
                "finding": entry.finding.sentence,
            }
        )
        for entry in found
        if entry.of_this_run or _is_shown(entry)
    ]
    names = ("month", "verdict", "value", "lower", "upper", "finding")
    schema = dg.TableSchema(columns=[dg.TableColumn(name=name) for name in names])
    return dg.MetadataValue.table(records, schema)


def _shown_number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
