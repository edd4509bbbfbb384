"""Cost of the asset graph, from the UI and the command, against a plain process."""

import statistics
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Section
from benchmarks.materialize_all import materialize_all
from benchmarks.options import Options
from benchmarks.servers import serving
from benchmarks.subprocesses import REPOSITORY, last_json, run_alone
from benchmarks.timeline import breakdown, run_name
from ml_assets.defs.training.models import ModelConfig
from ml_assets.trips.month import latest_published_month

LAST = latest_published_month(date.today())
FIRST = LAST.shift(-5)
"""The newest six months: exactly those that the button's *All* covers when FIRST is the first."""
TRIALS = ModelConfig().trials
ROUNDS = 3
CLI = "from ml_assets.cli import main; main()"
OVERHEAD_SHARE = 0.10
SECONDS_A_STEP = 0.5
BUTTON, COMMAND = "Materialize all… → All", "`ml-assets run`"
NOTES = [
    f"{BUTTON}: the UI's own GraphQL mutation to `ml-assets dev` on an empty home, from the "
    "mutation until the backfill and all its runs have succeeded, polled every 0.2 s.",
    f"{COMMAND}: an empty home too, from process start to exit. Both with MLflow, charts, metadata "
    "and every check.",
    "Plain: one process, from start to exit, that ingests, cleans, stores, tunes, trains and "
    "evaluates all models and baselines, compares the best one over every channel of the service, "
    "predicts all months and runs the backtest, with the same functions; without MLflow, charts, "
    "drift and checks, which count as overhead. The command neither predicts the months nor runs "
    "the backtest: it is compared with the rest.",
    f"All three: {FIRST} to {LAST}, {TRIALS} trials a model (the default). They take turns; "
    "medians count.",
    "Allowed: 10 % of the plain time plus half a second for each step that materializes an asset; "
    "steps of checks get none.",
]


@dataclass(frozen=True)
class Timed:
    """Wall seconds of one way through the graph, and the runs that Dagster recorded."""

    seconds: float
    runs: list[dict[str, Any]]
    breakdown: dict[str, float]

    @property
    def asset_steps(self) -> int:
        """Steps that materialized an asset."""
        return sum(run["asset_steps"] for run in self.runs)

    @property
    def step_seconds(self) -> dict[str, float]:
        """Seconds of each step, those of checks too."""
        return {name: taken for run in self.runs for name, taken in run["step_seconds"].items()}


@dataclass(frozen=True)
class Plain:
    """Wall seconds of the plain process, and of its parts."""

    seconds: float
    parts: dict[str, float]

    def seconds_for(self, way: str) -> float:
        """Seconds of the same work: the command neither predicts the months nor backtests."""
        omitted = ("trip_predictions", "backtest") if way == COMMAND else ()
        return self.seconds - sum(self.parts[part] for part in omitted)


def measure(options: Options) -> Section:
    """All three in turn, each on an empty home."""
    plain: list[Plain] = []
    timed: dict[str, list[Timed]] = {BUTTON: [], COMMAND: []}
    rounds = options.rounds_or(ROUNDS)
    for turn in range(rounds):
        plain.append(_plain(options.scratch / f"plain_{turn}"))
        timed[BUTTON].append(_clicked(options.scratch / f"press_{turn}"))
        timed[COMMAND].append(_commanded(options.scratch / f"command_{turn}"))
        options.say(
            f"round {turn + 1} of {rounds}: plain {plain[-1].seconds:.1f} s, "
            + ", ".join(f"{way} {taken[-1].seconds:.1f} s" for way, taken in timed.items())
        )
    figures = [_overhead(way, taken, plain) for way, taken in timed.items()]
    figures += [
        Figure(
            f"{way}, wall time of the whole graph",
            "one plain process",
            statistics.median(one.seconds for one in taken)
            / statistics.median(one.seconds_for(way) for one in plain),
            detail=figure.detail,
        )
        for (way, taken), figure in zip(timed.items(), figures, strict=True)
    ]
    trips = "SYNTHETIC sample (by design: it is what the Materialize button runs on first)"
    return Section(figures, trips, [*NOTES, _breakdown_note(timed[BUTTON])])


def _overhead(way: str, taken: list[Timed], plain: list[Plain]) -> Figure:
    seconds = statistics.median(one.seconds for one in taken)
    plain_seconds = statistics.median(one.seconds_for(way) for one in plain)
    steps = taken[0].asset_steps
    overhead = seconds - plain_seconds
    allowed = OVERHEAD_SHARE * plain_seconds + SECONDS_A_STEP * steps
    return Figure(
        f"{way}, overhead of the whole graph, {steps} asset steps",
        "what is allowed (10 % + 0.5 s a step)",
        overhead / allowed,
        1.0,
        detail={
            "seconds": [round(one.seconds, 2) for one in taken],
            "plain_seconds": [round(one.seconds_for(way), 2) for one in plain],
            "overhead_seconds": round(overhead, 2),
            "allowed_seconds": round(allowed, 2),
            "asset_steps": steps,
            "steps_with_checks": len(taken[0].step_seconds),
            "breakdowns": [one.breakdown for one in taken],
            "step_seconds": [one.step_seconds for one in taken],
            "plain_step_seconds": [one.parts for one in plain],
        },
    )


def _plain(home: Path) -> Plain:
    arguments = ["-m", "benchmarks.plain_process", str(FIRST), str(LAST), str(TRIALS)]
    seconds, output = run_alone(arguments, _home(home))
    return Plain(seconds, last_json(output))


def _commanded(home: Path) -> Timed:
    arguments = ["-c", CLI, "run", "--first", str(FIRST), "--last", str(LAST)]
    seconds, _ = run_alone(arguments, _home(home))
    runs = _runs(home)
    inside = {run_name(run): run["ended"] - run["started"] for run in runs}
    rest = {"outside of runs (imports, leaderboard)": seconds - sum(inside.values())}
    return Timed(seconds, runs, _rounded(inside | rest))


def _clicked(home: Path) -> Timed:
    home.mkdir()
    log = home / "server.log"
    with serving(["ml-assets", "dev"], _home(home), REPOSITORY, log, min_assets=1) as server:
        launched, ended = materialize_all(server)
    runs = _runs(home)
    return Timed(ended - launched, runs, _rounded(breakdown(runs, launched, ended)))


def _breakdown_note(taken: list[Timed]) -> str:
    """Return the breakdown of the run with the median time, as a sentence."""
    middle = sorted(taken, key=lambda one: one.seconds)[len(taken) // 2]
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in middle.breakdown.items())
    return f"The button's {middle.seconds:.1f} s: {parts}."


def _runs(home: Path) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = last_json(
        run_alone(["-m", "benchmarks.dagster_runs"], _home(home))[1]
    )
    return runs


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in seconds.items()}


def _home(folder: Path) -> dict[str, str]:
    return {
        "ML_ASSETS_TRIPS": "sample",
        "ML_ASSETS_TAXI": "green",
        "ML_ASSETS_HOME": str(folder),
        "ML_ASSETS_FIRST_MONTH": str(FIRST),
    }
