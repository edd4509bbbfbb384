"""``ml-assets rollback`` and ``ml-assets promote``: a person decides who serves."""

from typing import Any

import click

from ml_assets.cli.streams import standard_output_kept, unredirected_console
from ml_assets.modeling.decision_log import DecisionLog
from ml_assets.modeling.records import ChampionDecision
from ml_assets.settings import Settings, read_settings
from ml_assets.storage.trip_store import TripStore

_DEFAULT_REASON = "rolled back by hand"


@click.command()
@click.argument("version", required=False)
@click.option("--reason", default=_DEFAULT_REASON, show_default=True, help="Why, for the record.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def rollback(version: str | None, reason: str, as_json: bool) -> None:
    """Let the champion before serve again, or the named registry VERSION.

    It is loaded and asked before the alias moves. The next retraining does not undo it, unless it
    is better on a month that came later.
    """
    _decide("roll_back_champion", "roll_back", version, reason, as_json)


@click.command()
@click.argument("version")
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def promote(version: str, reason: str, as_json: bool) -> None:
    """Let the registry VERSION serve, whatever a decision said of it."""
    _decide("promote_version", "promote", version, reason, as_json)


def _decide(job: str, op: str, version: str | None, reason: str, as_json: bool) -> None:
    if not reason.strip():
        raise click.UsageError("--reason is empty: say why, others will read it in the record")
    settings = read_settings()
    config: dict[str, Any] = {"reason": reason}
    if version is not None:
        config["version"] = version
    with standard_output_kept():
        from ml_assets.cli.execution import Execution

        with unredirected_console() as console:
            Execution(settings, console).decide_by_hand(job, op, config)
    decision = _newest(settings)
    if as_json:
        click.echo(decision.model_dump_json())
        return
    click.echo(f"Champion: {decision.champion}, version {decision.registry_version}")
    click.echo(decision.reason)


def _newest(settings: Settings) -> ChampionDecision:
    dataset = TripStore(settings.home, settings.taxi, settings.synthetic).dataset
    return DecisionLog(settings.home, dataset).all()[-1]
