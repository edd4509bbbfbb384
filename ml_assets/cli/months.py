"""``ml-assets months``: what is published, and what is here."""

import json
from collections.abc import Mapping, Sequence

import click

from ml_assets.settings import read_settings, without_credentials
from ml_assets.sources import open_source
from ml_assets.storage.trip_store import DamagedMonth, TripStore
from ml_assets.trips.calendar import latest_published_month, new_york_date
from ml_assets.trips.month import Month, months_between


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def months(as_json: bool) -> None:
    """Show which months the source has published, and which are ingested."""
    settings = read_settings()
    wanted = list(months_between(settings.first_month, latest_published_month(new_york_date())))
    published = open_source(settings.trips, settings.taxi).published(wanted)
    store = TripStore(settings.home, settings.taxi, settings.synthetic)
    ingested = set(store.months("trip_features"))
    rows = [
        {
            "month": str(month),
            "published": month in published,
            "version": published[month].version if month in published else None,
            "ingested": month in ingested,
            **(_stored(store, month) if month in ingested else {"kept_trips": None}),
        }
        for month in wanted
    ]
    source = without_credentials(settings.trips)
    if as_json:
        click.echo(json.dumps({"source": source, "months": rows}))
        return
    _print_table(source, rows)


def _stored(store: TripStore, month: Month) -> dict[str, object]:
    """Kept trips of a month, or what is wrong with it; the other months are shown all the same."""
    try:
        return {"kept_trips": store.lineage("trip_features", month)[1]}
    except DamagedMonth as error:
        return {"kept_trips": None, "fault": str(error)}


def _print_table(source: str, rows: Sequence[Mapping[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{source}{' (synthetic sample)' if source == 'sample' else ''}")
    for name in ("month", "published", "ingested", "kept trips"):
        table.add_column(name, justify="right" if name == "kept trips" else "left")
    for row in rows:
        kept = row["kept_trips"]
        table.add_row(
            str(row["month"]),
            "yes" if row["published"] else "not yet",
            "damaged" if row.get("fault") else "yes" if row["ingested"] else "–",
            f"{kept:,}" if kept is not None else "",
        )
    console = Console()
    console.print(table)
    for row in rows:
        if row.get("fault"):
            console.print(str(row["fault"]), markup=False, soft_wrap=True)
