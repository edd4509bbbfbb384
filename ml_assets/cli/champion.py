"""``ml-assets decisions``, ``rollback`` and ``promote``: decisions on the champion."""

import json
from typing import Any

import click

from ml_assets.cli.console import plain_console, stdout_redirected, unredirected_console
from ml_assets.cli.environment import next_command
from ml_assets.config.settings import Settings, read_settings
from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.trip_store import TripStore

_DEFAULT_REASON = "rolled back manually"


@click.command()
@click.argument("version", required=False)
@click.option("--reason", default=_DEFAULT_REASON, help="Why, for the record.")
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
        OverrideRejected: with why that version cannot serve, and the remedy.
        TrackingUnavailable: when the registry does not respond.
    """
    from ml_assets.promotion.manual import require_possible
    from ml_assets.registry.registry import Registry

    registry = Registry.of(settings)
    with registry.lock():  # not during a promotion
        registry.repair_aliases()  # after an interrupted promotion
    require_possible(registry, _dataset(settings), version)


def _dataset(settings: Settings) -> str:
    return TripStore(settings.home, settings.taxi, settings.synthetic).dataset


@click.command()
@click.argument("decision_id", required=False)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    help="Maximum number of decisions, the newest first.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def decisions(decision_id: str | None, limit: int, as_json: bool) -> None:
    """List the promotion decisions, or show one by its id.

    With a DECISION_ID: every criterion with its figure, the months, and the cost.
    """
    settings = read_settings()
    dataset = _dataset(settings)
    made = DecisionLog(settings.home, dataset).all()[::-1]
    if not made:
        raise click.ClickException(
            f"there is no decision on {dataset} yet: train first (Materialize in the UI, or "
            f"{next_command(settings, 'run --help')})"
        )
    if decision_id is not None:
        chosen = _chosen(made, decision_id)
        _print_json([chosen]) if as_json else _print_details(chosen)
    elif as_json:
        _print_json(made[:limit])
    else:
        _print_lines(settings, dataset, made[:limit], len(made))


def _chosen(made: list[ChampionDecision], decision_id: str) -> ChampionDecision:
    found = [decision for decision in made if decision.decision_id.startswith(decision_id)]
    if len(found) != 1:
        known = ", ".join(decision.decision_id for decision in made[:5])
        problem = "matches several decisions" if found else "matches no decision"
        raise click.UsageError(f"DECISION_ID {decision_id!r} {problem}; the newest are {known}")
    return found[0]


def _print_json(made: list[ChampionDecision]) -> None:
    click.echo(json.dumps({"decisions": [decision.model_dump() for decision in made]}))


def _print_lines(
    settings: Settings, dataset: str, made: list[ChampionDecision], total: int
) -> None:
    console = plain_console()
    console.print(f"Decisions on {dataset}, newest first ({len(made)} of {total})\n", style="bold")
    for decision in made:
        when = decision.decided_at[:16].replace("T", " ")
        tested = f", test month {decision.test_month}" if decision.test_month else ""
        head = f"{decision.decision_id}  {when} UTC  {decision.outcome}"
        console.print(f"{head}: {_serves(decision)} serves{tested}")
        console.print(f"{'':<10}trigger: {decision.trigger}", style="dim")
        console.print(f"{'':<10}{decision.reason}")
    one = next_command(settings, f"decisions {made[0].decision_id}")
    console.print(f"\nDetails of a decision: {one}", style="dim")


def _print_details(decision: ChampionDecision) -> None:
    console = plain_console()
    lines = {
        "decision": f"{decision.decision_id}, {decision.decided_at}",
        "outcome": decision.outcome,
        "reason": decision.reason,
        "trigger": decision.trigger,
        "champion": _serves(decision),
        "previous": f"version {previous}" if (previous := decision.previous_version) else "nothing",
        "challenger": _challenger(decision),
        "test month": decision.test_month,
        "requests": decision.request_mix,
        "code": decision.code_version,
        "run": decision.dagster_run_id,
    }
    if decision.seconds is not None and decision.cpu_seconds is not None:
        lines["cost"] = f"{decision.seconds:.1f} s, {decision.cpu_seconds:.1f} s of processor time"
    for name, text in lines.items():
        if text:
            console.print(f"{name:<16} {text}")
    for criterion in decision.criteria:
        mark = "✓" if criterion.passed else "✗"
        console.print(f"  {mark} {criterion.name}: {criterion.finding}")
    for other in decision.other_candidates:
        line = f"  ✗ {other.model}, version {other.version}, also evaluated: {other.reason}"
        console.print(line)
    for use in decision.months:
        rows = f"{use.rows:,} trips, {use.raw_sha256[:12]}, {use.source}"
        console.print(f"  {use.role:<10} {use.month}: {rows}")


def _challenger(decision: ChampionDecision) -> str:
    if decision.challenger is None:
        return ""
    return f"{decision.challenger}, version {decision.challenger_version or 'none'}"


def _serves(decision: ChampionDecision) -> str:
    if decision.champion is None:
        return "nothing"
    return f"{decision.champion} (version {decision.registry_version})"
