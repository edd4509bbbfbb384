"""``ml-assets decisions``: the promotion decisions and their reasons."""

import click
from rich.console import Console

from ml_assets.cli.command_lines import next_command
from ml_assets.config.settings import Settings, read_settings
from ml_assets.evaluation.records import ChampionDecision
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.trip_store import TripStore


@click.command()
@click.argument("decision_id", required=False)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Maximum number of decisions, the newest first.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def decisions(decision_id: str | None, limit: int, as_json: bool) -> None:
    """List the promotion decisions, or show one by its id.

    With a DECISION_ID: every criterion with its figure, the months, and the cost.
    """
    settings = read_settings()
    dataset = TripStore(settings.home, settings.taxi, settings.synthetic).dataset
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
    import json

    click.echo(json.dumps({"decisions": [decision.model_dump() for decision in made]}))


def _print_lines(
    settings: Settings, dataset: str, made: list[ChampionDecision], total: int
) -> None:
    console = Console(highlight=False)
    console.print(f"Decisions on {dataset}, newest first ({len(made)} of {total})\n", style="bold")
    for decision in made:
        when = decision.decided_at[:16].replace("T", " ")
        tested = f", test month {decision.test_month}" if decision.test_month else ""
        head = f"{decision.decision_id}  {when} UTC  {decision.outcome}"
        console.print(f"{head}: {_serves(decision)} serves{tested}", soft_wrap=True, markup=False)
        console.print(
            f"{'':<10}trigger: {decision.trigger}",
            style="dim",
            soft_wrap=True,
            markup=False,
        )
        console.print(f"{'':<10}{decision.reason}", soft_wrap=True, markup=False)
    one = next_command(settings, f"decisions {made[0].decision_id}")
    console.print(f"\nDetails of a decision: {one}", style="dim", soft_wrap=True, markup=False)


def _print_details(decision: ChampionDecision) -> None:
    console = Console(highlight=False)
    lines = {
        "decision": f"{decision.decision_id}, {decision.decided_at}",
        "outcome": decision.outcome,
        "reason": decision.reason,
        "trigger": decision.trigger,
        "champion": _serves(decision),
        "previous": (
            f"version {decision.previous_version}" if decision.previous_version else "nothing"
        ),
        "challenger": _challenger(decision),
        "test month": decision.test_month,
        "code": decision.code_version,
        "run": decision.dagster_run_id,
    }
    if decision.seconds is not None and decision.cpu_seconds is not None:
        lines["cost"] = f"{decision.seconds:.1f} s, {decision.cpu_seconds:.1f} s of processor time"
    for name, text in lines.items():
        if not text:
            continue
        console.print(f"{name:<16} {text}", soft_wrap=True, markup=False)
    for criterion in decision.criteria:
        mark = "✓" if criterion.passed else "✗"
        console.print(
            f"  {mark} {criterion.name}: {criterion.finding}", soft_wrap=True, markup=False
        )
    for other in decision.other_candidates:
        line = f"  ✗ {other.model}, version {other.version}, also evaluated: {other.reason}"
        console.print(line, soft_wrap=True, markup=False)
    for use in decision.months:
        console.print(
            f"  {use.role:<10} {use.month}: {use.rows:,} trips, {use.raw_sha256[:12]}, "
            f"{use.source}",
            soft_wrap=True,
            markup=False,
        )


def _challenger(decision: ChampionDecision) -> str:
    if decision.challenger is None:
        return ""
    return f"{decision.challenger}, version {decision.challenger_version or 'none'}"


def _serves(decision: ChampionDecision) -> str:
    if decision.champion is None:
        return "nothing"
    return f"{decision.champion} (version {decision.registry_version})"
