"""Checks of ingested months: the rules of ``ml_assets.trips.quality``, all in one step.

Each check has one result for all months, also in a run over a range of months. Dagster's
partitioned checks (a preview) record a partition only for a run of a single one; in a run over a
range they would leave planned evaluations without results.
"""

from collections.abc import Iterator

import dagster as dg

from ml_assets.defs.check_results import MonthFinding, monthly_result
from ml_assets.defs.resources.trips import TripStoreResource
from ml_assets.storage.month_profiles import MonthProfiles
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets.trips.quality.finding import Finding, Verdict
from ml_assets.trips.quality.month_rejection import RULES, history_before, is_settled

_RULES = {dg.AssetCheckKey(dg.AssetKey(rule.table), rule.name): rule for rule in RULES}


@dg.multi_asset_check(
    name="ingestion_checks",
    specs=[
        dg.AssetCheckSpec(
            key.name, asset=key.asset_key, description=rule.description, blocking=rule.blocking
        )
        for key, rule in _RULES.items()
    ],
    can_subset=True,
)
def ingestion_checks(
    context: dg.AssetCheckExecutionContext, trip_store: TripStoreResource
) -> Iterator[dg.AssetCheckResult]:
    """Check every stored month against the months before it; an unreadable month fails."""
    store = trip_store.tables()
    profiles = MonthProfiles(store)
    stored = profiles.months()
    in_run = _months_of_run(context)
    whole, damaged = profiles.readable_and_corrupt()
    for key, rule in _RULES.items():
        if key not in context.selected_asset_check_keys:
            continue
        found = [
            MonthFinding(str(month), Finding(Verdict.FAIL, why), in_run is None or month in in_run)
            for month, why in damaged.items()
        ]
        for position, month in enumerate(whole):
            earlier, later = history_before(whole, month.month), whole[position + 1 :]
            finding = rule.check(month, earlier)
            found.append(
                MonthFinding(
                    month.month,
                    finding,
                    in_run is None or Month.parse(month.month) in in_run,
                    finding.verdict == Verdict.WARN and is_settled(rule, month, later),
                )
            )
        found.sort(key=lambda entry: entry.month)
        yield monthly_result(key, found, _unpublished(store, in_run, stored))


def _months_of_run(context: dg.AssetCheckExecutionContext) -> set[Month] | None:
    """Return the months of this run; None for a run of checks alone, which covers all months."""
    if not context.run.is_partitioned:
        return None
    return {Month.parse(key) for key in context.partition_keys}


def _unpublished(store: TripStore, in_run: set[Month] | None, stored: list[Month]) -> list[str]:
    absent = sorted((in_run or set()) - set(stored))
    return [str(month) for month in absent if store.raw_record(month) is None]
