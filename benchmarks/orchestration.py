"""What the asset graph costs: its wall time against the same functions in one plain process."""

import statistics
from pathlib import Path

from benchmarks.figures import Figure, Section
from benchmarks.subprocesses import last_json, run_alone

FIRST, LAST = "2023-01", "2023-06"
ROUNDS = 1
CLI = "from ml_assets.cli import main; main()"
OVERHEAD_SHARE = 0.25
SECONDS_A_STEP = 1.0
NOTES = [
    "Graph: `ml-assets run --trials 0` on an empty home, from process start to exit, with MLflow, "
    "charts, metadata and every check. Not in it: the UI's launch of a run.",
    "Plain: one process that fetches, cleans, stores, loads, trains and judges all models and "
    "baselines with the same functions; no MLflow, charts or checks, so these count as overhead.",
    "Allowed: 25 % of the plain time plus one second a step. Steps that materialize assets give "
    "the allowance of the figure; `steps_with_checks` is what Dagster ran.",
]


def measure(scratch: Path) -> Section:
    """Both in turn, each on its own empty home."""
    graph, plain = [], []
    for turn in range(ROUNDS):
        home = scratch / f"graph_{turn}"
        command = ["-c", CLI, "run", "--first", FIRST, "--last", LAST, "--trials", "0"]
        plain_home = scratch / f"plain_{turn}"
        plain.append(
            run_alone(["-m", "benchmarks.plain_process", FIRST, LAST], _home(plain_home))[0]
        )
        graph.append(run_alone(command, _home(home))[0])
    counted = last_json(run_alone(["-m", "benchmarks.count_steps"], _home(scratch / "graph_0"))[1])
    graph_seconds, plain_seconds = statistics.median(graph), statistics.median(plain)
    overhead = graph_seconds - plain_seconds
    allowed = OVERHEAD_SHARE * plain_seconds + SECONDS_A_STEP * counted["asset_steps"]
    detail = {
        "graph_seconds": [round(value, 2) for value in graph],
        "plain_seconds": [round(value, 2) for value in plain],
        "overhead_seconds": round(overhead, 2),
        "allowed_seconds": round(allowed, 2),
        "asset_steps": counted["asset_steps"],
        "steps_with_checks": counted["steps"],
    }
    return Section(
        [
            Figure(
                f"overhead of the whole graph, {counted['asset_steps']} asset steps",
                "what is allowed (25 % + 1 s a step)",
                overhead / allowed,
                1.0,
                detail=detail,
            ),
            Figure(
                "wall time of the whole graph",
                "one plain process",
                graph_seconds / plain_seconds,
                detail=detail,
            ),
        ],
        "SYNTHETIC sample (by design: it is what the Materialize button runs on first)",
        NOTES,
    )


def _home(folder: Path) -> dict[str, str]:
    return {"ML_ASSETS_TRIPS": "sample", "ML_ASSETS_TAXI": "green", "ML_ASSETS_HOME": str(folder)}
