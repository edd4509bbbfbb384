"""What a command leaves when it is killed at random moments is removed by the next one.

``ML_ASSETS_KILLS=25`` sets the number of kills. After every five, a complete run follows and
leftovers are looked for.
"""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import dagster as dg
import pytest

from ml_assets.defs.operations.run_outcomes import UNFINISHED
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.trips.month import Month
from ml_assets_tests.browser.dagster_ui import processes_of
from ml_assets_tests.cli.calling import COMMAND
from ml_assets_tests.conftest import REPOSITORY, inherited_environment
from ml_assets_tests.published_months import publish

KILLS = int(os.environ.get("ML_ASSETS_KILLS", "0"))
ROUNDS = [min(5, KILLS - done) for done in range(0, KILLS, 5)] or [3]
"""Numbers of kills before each search for leftovers."""

RUN = [
    "run", "--first", "2023-01", "--last", "2023-02", "--models", "linear_regression",
    "--trials", "1",
]  # fmt: skip
RUNNING, PENDING = "RUNNING", 1
END_SECONDS = 600


class Home:
    """A home with tiny months, and a folder for temporary files."""

    def __init__(self, folder: Path) -> None:
        self.home, self.temporary = folder / "home", folder / "temporary"
        self.temporary.mkdir()
        for number in (1, 2):
            publish(folder / "published", Month(2023, number))
        self._environment = inherited_environment() | {
            "ML_ASSETS_HOME": str(self.home),
            "ML_ASSETS_TRIPS": str(folder / "published"),
            "TMPDIR": str(self.temporary),
        }

    def start(self, log: Path) -> subprocess.Popen:
        with log.open("w") as output:
            return subprocess.Popen(
                [*COMMAND, *RUN], cwd=REPOSITORY, env=self._environment, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def leftovers(self) -> list[str]:
        """Return the names of what a killed process may leave; none in a clean home."""
        files = [*self.home.rglob(".*.tmp"), *self.home.rglob(".incoming_*")]
        files += [*self.temporary.iterdir(), *(self.home / "dagster" / "heartbeats").iterdir()]
        with dg.DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            unfinished = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
        with contextlib.closing(sqlite3.connect(self.home / "mlflow.db")) as database:
            runs = database.execute("SELECT run_uuid FROM runs WHERE status = ?", [RUNNING])
            models = database.execute(
                "SELECT model_id FROM logged_models WHERE status = ?", [PENDING]
            )
            tracked = [f"MLflow {name}" for (name,) in [*runs, *models]]
        return [
            *(str(path.relative_to(self.home.parent)) for path in files),
            *(f"{run.status.value} {run.run_id}" for run in unfinished),
            *tracked,
        ]


def run_to_end(home: Home, log: Path) -> float:
    """Run to the end; return the time in seconds."""
    begun = time.monotonic()
    process = home.start(log)
    try:
        assert process.wait(END_SECONDS) == 0, log.read_text()[-3000:]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return time.monotonic() - begun


def kill_after(home: Home, seconds: float, log: Path) -> str | None:
    """Start a run and kill it; return its last line, or None when it had ended before."""
    process = home.start(log)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return None
    process.kill()
    process.wait()
    end = time.monotonic() + 30
    while processes_of(process.pid):
        assert time.monotonic() < end, "a process of the killed command is still running"
        time.sleep(0.2)
    return (log.read_text().strip().splitlines() or ["nothing"])[-1]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are counted in /proc")
def test_random_kills_leave_nothing_behind(tmp_path):
    home = Home(tmp_path)
    seconds = run_to_end(home, tmp_path / "first.log")
    assert home.leftovers() == []
    moments, left, done = random.Random(2026), {}, 0
    for kills in ROUNDS:
        aim = done + kills
        while done < aim:
            after = moments.uniform(0.05, 1.0) * seconds
            begun = time.monotonic()
            last = kill_after(home, after, tmp_path / f"killed_{done}.log")
            if last is None:  # faster than the run that was measured
                seconds = time.monotonic() - begun
            else:
                done += 1
                print(f"kill {done} after {after:.1f} of {seconds:.1f} s, at: {last[:90]}")
        before = len(home.leftovers())
        run_to_end(home, tmp_path / f"after_{done}.log")
        left[done] = home.leftovers()
        print(f"{before} leftovers before the next complete run, {len(left[done])} after it")
        newest = DecisionLog(str(home.home), "green").all()[-1]
        assert newest.applied
        assert newest.registry_version is not None
    assert {number: found for number, found in left.items() if found} == {}
