"""Asset check results from the findings of domain rules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.storage.record_store import Record
from ml_assets.trips.quality.finding import Finding, Verdict

_NAMED_MONTHS = 3


@dataclass(frozen=True)
class MonthFinding:
    """The finding of a rule on one month.

    Attributes:
        month: As ``YYYY-MM``.
        of_this_run: Whether the current run materialized the month.
        settled: Whether later months show that the change was lasting, not an outlier.
    """

    month: str
    finding: Finding
    of_this_run: bool
    settled: bool = False


def single_result(
    key: dg.AssetCheckKey, finding: Finding, metadata: Mapping[str, dg.MetadataValue] | None = None
) -> dg.AssetCheckResult:
    """Make the result of a check on a whole asset."""
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=finding.verdict < Verdict.WARN,
        severity=_severity(finding.verdict),
        description=finding.sentence,
        metadata={
            "verdict": finding.verdict.name.lower(),
            **_figures(finding),
            **(metadata or {}),
        },
    )


def record_check(
    asset: str,
    name: str,
    kind: type[Record],
    find: Callable[[Record], Finding],
    description: str,
) -> dg.AssetChecksDefinition:
    """Make a check that applies one rule to an asset's record."""

    @dg.asset_check(name=name, asset=asset, description=description)
    def check(trip_store: TripStoreResource) -> dg.AssetCheckResult:
        """Apply the rule to the record."""
        key = dg.AssetCheckKey(dg.AssetKey(asset), name)
        return single_result(key, find(trip_store.records().read(asset, kind)))

    return check


def monthly_result(
    key: dg.AssetCheckKey, findings: Sequence[MonthFinding], unpublished: Sequence[str]
) -> dg.AssetCheckResult:
    """Make one result for all months; only the current run's months can fail the run.

    A failed month of another run stays as a warning, since the latest result stands for the asset.
    A warning is reported by the run that materializes the month, until later months settle it.

    Args:
        findings: Findings on all months, in order.
        unpublished: Months of the run that the source has not published; not a failure.
    """
    reported = [entry for entry in findings if _is_reported(entry)]
    own = [entry.finding.verdict for entry in reported if entry.of_this_run]
    failed = Verdict.FAIL in own
    description = _describe(findings, reported)
    if unpublished:
        description += f" · not published yet: {', '.join(unpublished)}"
    newest = next((entry for entry in reversed(findings) if entry.of_this_run), None)
    metadata: dict[str, dg.MetadataValue | str | int | float] = {
        "months": _table(findings),
        "checked_months": sum(entry.of_this_run for entry in findings),
        "failed_months": ", ".join(entry.month for entry in reported) or "none",
    }
    if newest is not None:
        metadata |= {"newest_month": newest.month, **_figures(newest.finding)}
    if unpublished:
        metadata["not_published_yet"] = ", ".join(unpublished)
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=not reported,
        severity=_severity(Verdict.FAIL if failed else Verdict.WARN),
        description=description,
        metadata=metadata,
    )


def _is_reported(entry: MonthFinding) -> bool:
    threshold = Verdict.WARN if entry.of_this_run and not entry.settled else Verdict.FAIL
    return entry.finding.verdict >= threshold


def _severity(verdict: Verdict) -> dg.AssetCheckSeverity:
    failed = verdict == Verdict.FAIL
    return dg.AssetCheckSeverity.ERROR if failed else dg.AssetCheckSeverity.WARN


def _describe(findings: Sequence[MonthFinding], reported: Sequence[MonthFinding]) -> str:
    if reported:
        worst_first = sorted(reported, key=lambda entry: -entry.finding.verdict)
        named = [f"{entry.month}: {entry.finding.sentence}" for entry in worst_first]
        more = len(named) - _NAMED_MONTHS
        rest = [f"and {more} more months, listed under `months`"] if more > 0 else []
        return " | ".join(named[:_NAMED_MONTHS] + rest)
    own = [entry for entry in findings if entry.of_this_run]
    if not own:
        return "no stored month to check"
    newest = own[-1]
    settled = ", ".join(entry.month for entry in own if entry.settled)
    summary = f"all pass except {settled}, settled by later months" if settled else "all pass"
    count = f"{len(own)} months, {summary}; the newest, " if len(own) > 1 else ""
    return f"{count}{newest.month}: {newest.finding.sentence}"


def _figures(finding: Finding) -> dict[str, float]:
    figures = {"value": finding.value, "lower": finding.lower, "upper": finding.upper}
    return {name: float(value) for name, value in figures.items() if value is not None}


def _table(findings: Sequence[MonthFinding]) -> dg.MetadataValue:
    records = [
        dg.TableRecord(
            {
                "month": entry.month,
                "verdict": entry.finding.verdict.name.lower()
                + (" (settled by later months)" if entry.settled else ""),
                "value": _format_number(entry.finding.value),
                "lower": _format_number(entry.finding.lower),
                "upper": _format_number(entry.finding.upper),
                "finding": entry.finding.sentence,
            }
        )
        for entry in findings
        if entry.of_this_run or _is_reported(entry)
    ]
    names = ("month", "verdict", "value", "lower", "upper", "finding")
    schema = dg.TableSchema(columns=[dg.TableColumn(name=name) for name in names])
    return dg.MetadataValue.table(records, schema)


def _format_number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
