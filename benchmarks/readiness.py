"""How much later this project's UI is ready than that of a project with nothing in it."""

import statistics
from pathlib import Path

from benchmarks.figures import Figure, Section
from benchmarks.options import Options
from benchmarks.servers import serving
from benchmarks.subprocesses import REPOSITORY

ROUNDS = 5
MAX_SECONDS_LATER = 2.0
ASSETS = 14
"""Ingestion 3, zones, training set, models 7, leaderboard, champion; fewer is not yet ready."""
EMPTY, OURS, PLAIN = "empty", "ml-assets dev", "dagster dev -w workspace.yaml"
DEFINITIONS = "import dagster as dg\n\ndefs = dg.Definitions()\n"
NO_TELEMETRY = "telemetry:\n  enabled: false\n"
NOTES = [
    "From process start until GraphQL answers that every code location is loaded and lists its "
    f"assets (at least {ASSETS} for this project, none for the empty one).",
    "The empty project is `dagster dev -f` on a file with `dg.Definitions()`. Every start has a "
    "fresh home, without telemetry; the commands take turns, medians count.",
]


def measure(options: Options) -> Section:
    """Start each command in turn, several times."""
    seconds: dict[str, list[float]] = {EMPTY: [], OURS: [], PLAIN: []}
    rounds = options.rounds_or(ROUNDS)
    for turn in range(rounds):
        for name, taken in seconds.items():
            home = options.scratch / f"{name.split()[0]}_{len(name)}_{turn}"
            taken.append(_seconds_to_ready(name, home))
        options.say(
            f"round {turn + 1} of {rounds}: "
            + ", ".join(f"{name} {taken[-1]:.1f} s" for name, taken in seconds.items())
        )
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    detail = {
        "seconds": {name: [round(value, 2) for value in taken] for name, taken in seconds.items()}
    }
    figures = [
        Figure(
            f"`{name}` ready later by",
            "an empty project's `dagster dev`",
            medians[name] - medians[EMPTY],
            MAX_SECONDS_LATER,
            unit="s",
            detail=detail,
        )
        for name in (OURS, PLAIN)
    ]
    return Section(figures, "no trips are read", NOTES)


def _seconds_to_ready(name: str, home: Path) -> float:
    """Start one command on a fresh home, and stop it once it is ready."""
    dagster_home = home / "dagster"
    dagster_home.mkdir(parents=True)
    variables = {"DAGSTER_HOME": str(dagster_home)}
    folder, command, assets = REPOSITORY, ["dagster", "dev", "-w", "workspace.yaml"], ASSETS
    if name == EMPTY:
        (home / "definitions.py").write_text(DEFINITIONS)
        folder, command, assets = home, ["dagster", "dev", "-f", "definitions.py"], 0
    elif name == OURS:
        # Its own home, which it makes with its own settings: no telemetry either.
        variables = {}
        command = ["ml-assets", "dev"]
    if name != OURS:
        (dagster_home / "dagster.yaml").write_text(NO_TELEMETRY)
    variables |= {"ML_ASSETS_HOME": str(home), "ML_ASSETS_TRIPS": "sample"}
    with serving(command, variables, folder, home / "server.log", assets) as server:
        return server.ready_seconds
