"""``ml-assets report``: the essentials of a month, from what the assets have kept."""

import click

from ml_assets.cli.console import plain_console
from ml_assets.cli.options import MonthType
from ml_assets.config.settings import Settings, read_settings
from ml_assets.monitoring.data_profile.measure import DataProfiles
from ml_assets.monitoring.drift.records import DriftRecord
from ml_assets.monitoring.performance.records import KeptErrors, PerformanceRecord
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.reporting.month_report import ChampionError, Drift, MonthReport, Trips, month_report
from ml_assets.storage.record_store import RecordStore
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MonthLimits
from ml_assets.trips.zones import taxi_zones


@click.command()
@click.option(
    "--month", type=MonthType(), help="Month of the report.", show_default="the newest ingested"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def report(month: Month | None, as_json: bool) -> None:
    """Show a month's trips, the champion's error on it, and its drift.

    Nothing is measured: the report reads what data_profile, prediction_performance and
    feature_drift have kept.
    """
    settings = read_settings()
    store = TripStore(settings.home, settings.taxi, settings.synthetic)
    if month is None:
        stored = store.months("trip_features")
        if not stored:
            raise click.ClickException(
                "no month is ingested: ingest months first (`ml-assets run`), or name one with "
                "--month"
            )
        month = stored[-1]
    found = read_report(settings, store, month)
    if as_json:
        click.echo(found.model_dump_json())
        return
    console = plain_console()
    for line in report_lines(found):
        console.print(line)


def read_report(settings: Settings, store: TripStore, month: Month) -> MonthReport:
    """Read the kept records, and put together what they say about a month.

    Raises:
        UnreadableRecord: naming the file and the asset to materialize again.
    """
    records = RecordStore(settings.home, store.dataset)
    performance = records.find("prediction_performance", PerformanceRecord)
    errors = None
    if performance is not None:
        kept, scores = KeptErrors(records), performance.scores_of(performance.champion)
        score = next((each for each in scores if each.month == str(month)), None)
        errors = kept.find(score) if score is not None else None
    zones = taxi_zones().to_pydict()
    return month_report(
        month,
        store.dataset,
        settings.synthetic,
        profile=DataProfiles(store, MonthLimits.of(settings.taxi)).find(month),
        performance=performance,
        errors=errors,
        drift=records.find("feature_drift", DriftRecord),
        decisions=DecisionLog(settings.home, store.dataset).all(),
        zone_names=dict(zip(zones["LocationID"], zones["zone"], strict=True)),
    )


def report_lines(found: MonthReport) -> list[str]:
    """Format a report, a line for each item."""
    trips = ", synthetic sample" if found.synthetic else ""
    lines = [f"{found.month} ({found.dataset}{trips})"]
    lines += _part("trips", found, None if found.trips is None else _trip_lines(found.trips))
    champion = found.champion
    lines += _part("champion", found, None if champion is None else _champion_lines(champion))
    lines += _part("drift", found, None if found.drift is None else _drift_lines(found.drift))
    if found.decisions:
        lines.append("decisions tested on this month")
        lines += [
            f"  {each.decision_id}: {'promoted' if each.promoted else 'not promoted'}, "
            f"{each.reason}"
            for each in found.decisions
        ]
    return lines


def _part(name: str, found: MonthReport, lines: list[str] | None) -> list[str]:
    """Return a heading with indented lines, or with the reason why there are none."""
    shown = lines if lines is not None else [found.missing[name]]
    return [name, *(f"  {line}" for line in shown)]


def _trip_lines(trips: Trips) -> list[str]:
    share = f" ({trips.kept / trips.published:.1%})" if trips.published else ""
    lines = [f"{trips.published:,} published, {trips.kept:,} kept{share}"]
    if trips.rejected:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in trips.rejected.items())
        lines.append(f"rejected: {reasons}")
    if trips.empty_columns:
        lines.append(f"columns without any value: {', '.join(trips.empty_columns)}")
    return lines


def _champion_lines(error: ChampionError) -> list[str]:
    seen = ", which it was trained or tuned on: optimistic" if error.seen else ""
    lines = [
        f"version {error.version} ({error.model}) on {error.trips:,} trips{seen}",
        _mode("with the metered distance", error.rmse, error.mae, error.coverage),
    ]
    if error.rmse_usual is not None and error.mae_usual is not None:
        usual = error.rmse_usual, error.mae_usual, error.coverage_usual
        lines.append(_mode("without a distance", *usual))
    if error.limit is not None:
        relation = "within" if error.relative_error <= error.limit else "OVER"
        lines.append(
            f"relative error of requests {error.relative_error:.3f}, {relation} the limit "
            f"{error.limit:.3f}"
        )
    if error.worst:
        worst = (f"{each.name} {each.rmse:.2f} min ({each.trips:,} trips)" for each in error.worst)
        lines.append(f"largest errors: {', '.join(worst)}")
    return lines


def _mode(name: str, rmse: float, mae: float, coverage: float | None) -> str:
    covered = "" if coverage is None else f", intervals cover {coverage:.1%}"
    return f"{name}: RMSE {rmse:.2f} min, MAE {mae:.2f} min{covered}"


def _drift_lines(drift: Drift) -> list[str]:
    lines = [
        f"{name} {index:.3f}{' OVER the limit' if index > drift.limit else ''}"
        for name, index in drift.indexes.items()
    ]
    lines += [f"{name} {index:.3f} (no limit)" for name, index in drift.outcomes.items()]
    own = ", a training month" if drift.training_month else ""
    reference = f"{drift.reference[0]} to {drift.reference[-1]}" if drift.reference else "nothing"
    return [
        f"stability index against {reference}{own}; limit {drift.limit:g}",
        *lines,
    ]
