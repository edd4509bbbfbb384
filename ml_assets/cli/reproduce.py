"""``ml-assets reproduce``: refit a registered version and compare its predictions."""

import json
from typing import TYPE_CHECKING

import click

from ml_assets.cli.console import stdout_redirected
from ml_assets.config.settings import read_settings
from ml_assets.reproduction import MAX_REQUESTS
from ml_assets.storage.model_version import PREDICTION_TOLERANCE
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.target import TARGET

if TYPE_CHECKING:
    from ml_assets.reproduction.reproduce import Reproduction


@click.command()
@click.argument("version", default="champion")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=PREDICTION_TOLERANCE,
    help="Maximum difference of predictions, in minutes.",
)
@click.option(
    "--requests",
    "max_requests",
    type=click.IntRange(min=1),
    default=MAX_REQUESTS,
    help="Maximum number of requests to compare, spread evenly over the test month.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def reproduce(version: str, tolerance: float, max_requests: int, as_json: bool) -> None:
    """Refit a registered VERSION from its training record, and compare predictions.

    VERSION is a number or an alias (champion, previous, challenger). Months, checksums, parameters
    and seed are those of its training; each input that has changed since is named. Exits with 0
    when every prediction is equal, or within the tolerance, and with 1 otherwise.
    """
    settings = read_settings()
    from ml_assets.registry.registry import Registry
    from ml_assets.reproduction.reproduce import reproduce as reproduce_version

    store = TripStore(settings.home, settings.taxi, settings.synthetic)
    with stdout_redirected():
        found = reproduce_version(
            Registry.of(settings),
            version,
            store,
            tolerance=tolerance,
            max_requests=max_requests,
        )
    if as_json:
        click.echo(json.dumps({**found.model_dump(), "sentence": found.sentence}))
    else:
        click.echo("\n".join(_lines(found)))
    if found.verdict == "differs":
        raise click.exceptions.Exit(1)


def _lines(found: "Reproduction") -> list[str]:
    lines = [
        f"version {found.version} ({found.model}), refitted on "
        f"{', '.join(found.training_months)} in {found.seconds:.1f} s",
        found.sentence,
        f"RMSE with the metered distance: {found.rmse_recorded:.6f} {TARGET.symbol} as registered, "
        f"{found.rmse_reproduced:.6f} {TARGET.symbol} refitted; without a distance: "
        f"{found.rmse_usual_recorded:.6f} and {found.rmse_usual_reproduced:.6f} {TARGET.symbol}",
    ]
    if not found.differences:
        return [*lines, "no input differs"]
    lines.append("changed inputs:")
    return lines + [
        f"  {entry.input}: {entry.recorded} then, {entry.now} now" for entry in found.differences
    ]
