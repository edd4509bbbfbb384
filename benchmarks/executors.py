"""The training job under Dagster's executors: wall time and memory against the in-process one."""

import shutil
import statistics
from pathlib import Path

from benchmarks.executor_job import EXECUTORS, VARIABLE, WORKERS
from benchmarks.figures import Figure, Section
from benchmarks.options import Options
from benchmarks.process_tree import TreeMemory
from benchmarks.subprocesses import run_alone

FIRST, LAST = "2023-01", "2023-03"
ROUNDS = 3
PEER = "in_process"
CLI = "from ml_assets.cli import main; main()"
RUN = "from benchmarks.executor_job import run; run()"
NOTES = [
    f"The project's `train_models` with all its checks, {FIRST} to {LAST} of the sample, no "
    "trials; from process start to exit, on a copy of one ingested home each, in turn, medians.",
    "in_process is Dagster's own; spawn and forkserver are its multiprocess executor with "
    f"{WORKERS} steps at once, forkserver with the libraries that steps import preloaded.",
    "Memory: the proportional set size of the process and all its descendants together, at its "
    "peak, sampled every 0.2 s; it is what the machine has to have.",
]


def measure(options: Options) -> Section:
    """Ingest once, then train under each executor in turn."""
    ingested = options.scratch / "ingested"
    options.say(f"ingesting {FIRST} to {LAST}")
    months = ["--first", FIRST, "--last", LAST]
    run_alone(["-c", CLI, "run", *months, "--ingest-only"], _home(ingested))
    seconds: dict[str, list[float]] = {name: [] for name in EXECUTORS}
    megabytes: dict[str, list[float]] = {name: [] for name in EXECUTORS}
    for turn in range(options.rounds_or(ROUNDS)):
        for name in EXECUTORS:
            home = options.scratch / f"{name}_{turn}"
            shutil.copytree(ingested, home)
            with TreeMemory() as memory:
                taken, _ = run_alone(["-c", RUN], _home(home) | {VARIABLE: name}, memory.watch)
            seconds[name].append(taken)
            megabytes[name].append(memory.peak_megabytes)
            options.say(f"{name}: {taken:.1f} s, {memory.peak_megabytes:.0f} MB")
    figures = _against_in_process("wall time of the training job", seconds)
    figures += _against_in_process("peak memory of the training job", megabytes)
    return Section(figures, "SYNTHETIC sample (by design: the same on any machine)", NOTES)


def _against_in_process(what: str, measured: dict[str, list[float]]) -> list[Figure]:
    medians = {name: statistics.median(values) for name, values in measured.items()}
    detail = {name: [round(value, 2) for value in values] for name, values in measured.items()}
    return [
        Figure(f"{what}, {name}", PEER, medians[name] / medians[PEER], detail=detail)
        for name in EXECUTORS
        if name != PEER and medians[PEER]
    ]


def _home(folder: Path) -> dict[str, str]:
    return {"ML_ASSETS_TRIPS": "sample", "ML_ASSETS_TAXI": "green", "ML_ASSETS_HOME": str(folder)}
