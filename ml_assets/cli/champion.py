"""``ml-assets rollback`` and ``ml-assets promote``: change the champion manually."""

from typing import Any

import click

from ml_assets.cli.streams import stdout_redirected, unredirected_console
from ml_assets.config.settings import REGISTERED_MODEL, Settings, read_settings
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.trip_store import TripStore

_DEFAULT_REASON = "rolled back manually"


@click.command()
@click.argument("version", required=False)
@click.option("--reason", default=_DEFAULT_REASON, show_default=True, help="Why, for the record.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def rollback(version: str | None, reason: str, as_json: bool) -> None:
    """Make the previous champion, or the named registry VERSION, champion again.

    It is loaded and tested before the alias moves. A later retraining replaces it only if it is
    better on a newer month.
    """
    _override("rollback_champion", "rollback", version, reason, as_json)


@click.command()
@click.argument("version")
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def promote(version: str, reason: str, as_json: bool) -> None:
    """Make the registry VERSION champion, also against an earlier decision."""
    _override("promote_version", "promote", version, reason, as_json)


def _override(job: str, op: str, version: str | None, reason: str, as_json: bool) -> None:
    if not reason.strip():
        raise click.UsageError("--reason is empty: give the reason, it is kept in the decision log")
    settings = read_settings()
    config: dict[str, Any] = {"reason": reason}
    if version is not None:
        config["version"] = version
    with stdout_redirected():
        _require_possible(settings, version)
        from ml_assets.cli.execution import Execution

        with unredirected_console() as console:
            Execution(settings, console).run_step(job, op, config)
    decision = DecisionLog(settings.home, _dataset(settings)).all()[-1]
    if as_json:
        click.echo(decision.model_dump_json())
        return
    click.echo(f"Champion: {decision.champion}, version {decision.registry_version}")
    click.echo(decision.reason)


def _require_possible(settings: Settings, version: str | None) -> None:
    """Check before there is a run, which would be listed as failed.

    Raises:
        click.ClickException: with why that version cannot serve, and the remedy.
    """
    from ml_assets.promotion.manual import OverrideRejected, require_possible
    from ml_assets.registry import TrackingUnavailable
    from ml_assets.registry.mlflow_store import TrackingStore
    from ml_assets.registry.registry import LOCK, Registry, repair_aliases
    from ml_assets.storage.atomic import locked

    try:
        client = TrackingStore.of(settings).reader()
        registry = Registry(client, REGISTERED_MODEL, settings.local_home)
        with locked(registry.lock_folder / LOCK):  # not during a promotion
            repair_aliases(registry.client, registry.name)  # after an interrupted promotion
        require_possible(registry, _dataset(settings), version)
    except (OverrideRejected, TrackingUnavailable) as error:
        raise click.ClickException(str(error)) from error


def _dataset(settings: Settings) -> str:
    return TripStore(settings.home, settings.taxi, settings.synthetic).dataset
