"""``ml-assets months``: which months are published and which are ingested."""

import json
from collections.abc import Mapping, Sequence

import click
from rich.console import Console
from rich.table import Table

from ml_assets.cli.console import print_table
from ml_assets.config.settings import read_settings
from ml_assets.ingestion.open_source import open_source
from ml_assets.ingestion.source import near_miss_lines
from ml_assets.secrets import without_credentials
from ml_assets.storage.trip_store import CorruptMonth, TripStore
from ml_assets.training.training_set import rejected_months
from ml_assets.training.windows import span
from ml_assets.trips.month import Month, latest_published_month, months_between, new_york_date


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def months(as_json: bool) -> None:
    """Show which months the source has published, and which are ingested."""
    settings = read_settings()
    all_months = list(months_between(settings.first_month, latest_published_month(new_york_date())))
    source = open_source(settings.trips, settings.taxi)
    published = source.published(all_months)
    not_read = source.near_misses([month for month in all_months if month not in published])
    store = TripStore(settings.home, settings.taxi, settings.synthetic)
    ingested = set(store.months("trip_features"))
    rejections = rejected_months(store, sorted(ingested))
    rows = [
        {
            "month": str(month),
            "published": month in published,
            "version": published[month].version if month in published else None,
            "ingested": month in ingested,
            **(_stored(store, month) if month in ingested else {"kept_trips": None}),
            **({"refused": rejections[month]} if month in rejections else {}),
            **({"not_read": not_read[month]} if month in not_read else {}),
        }
        for month in all_months
    ]
    name = without_credentials(settings.trips)
    if as_json:
        click.echo(json.dumps({"source": name, "months": rows}))
        return
    _print_table(name, rows)
    for line in near_miss_lines(not_read):
        click.echo(line)


def _stored(store: TripStore, month: Month) -> dict[str, object]:
    """Return the kept trips of a month, or its error; other months are shown all the same."""
    try:
        return {"kept_trips": store.lineage("trip_features", month)[1]}
    except CorruptMonth as error:
        return {"kept_trips": None, "fault": str(error)}


def _up_to_the_last_known(
    rows: Sequence[Mapping[str, object]],
) -> Sequence[Mapping[str, object]]:
    """Return the rows without the unpublished months at the end."""
    known = [at for at, row in enumerate(rows) if row["published"] or row["ingested"]]
    return rows[: known[-1] + 1] if known else rows[:0]


def _print_table(source: str, rows: Sequence[Mapping[str, object]]) -> None:
    table = Table(title=f"{source}{' (synthetic sample)' if source == 'sample' else ''}")
    for name in ("month", "published", "ingested", "kept trips"):
        table.add_column(name, justify="right" if name == "kept trips" else "left")
    shown = _up_to_the_last_known(rows)
    for row in shown:
        kept = row["kept_trips"]
        table.add_row(
            str(row["month"]),
            "yes" if row["published"] else "not yet",
            _ingested(row),
            f"{kept:,}" if kept is not None else "",
        )
    console = Console()
    print_table(console, table)
    if hidden := rows[len(shown) :]:
        months = span([Month.parse(str(row["month"])) for row in hidden])
        console.print(f"Not published yet: {months}.", style="dim")
    for row in shown:
        if why := row.get("fault"):
            console.print(str(why), markup=False, soft_wrap=True)
        elif why := row.get("refused"):
            line = f"{row['month']} is rejected and not used for training: {why}"
            console.print(line, markup=False, soft_wrap=True)


def _ingested(row: Mapping[str, object]) -> str:
    if row.get("fault"):
        return "damaged"
    if row.get("refused"):
        return "rejected"
    return "yes" if row["ingested"] else "–"
