"""``ml-assets dev`` as a process of its own, and what its GraphQL says about launches and runs."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests

from ml_assets_tests.conftest import REPOSITORY, inherited_environment

READY_SECONDS = 120
STOP_SECONDS = 30
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
Awaited = TypeVar("Awaited")


@dataclass(frozen=True)
class Launch:
    """What *Materialize* started: a backfill, or a single run."""

    id: str
    status: str


class DagsterUi:
    """A running UI with its daemon and code server, all in the session of one process."""

    def __init__(self, address: str, log: Path, session: int) -> None:
        self.address = address
        self.log = log
        self.session = session
        self._ticked = 0.0

    def printed_address(self) -> str:
        """The URL that ``ml-assets dev`` printed."""
        (printed,) = re.findall(r"^ +(http://\S+)$", self.log.read_text(), re.MULTILINE)
        return printed

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL response."""
        answer = requests.post(
            f"{self.address}/graphql", json={"query": query, "variables": variables}, timeout=30
        )
        answer.raise_for_status()
        assert not answer.json().get("errors"), answer.json()["errors"]
        return answer.json()["data"]

    def newest_launch(self) -> Launch | None:
        """The newest backfill, or run outside of a backfill; None when nothing was launched."""
        feed = self.query(
            "{ runsFeedOrError(limit: 1, view: ROOTS)"
            " { ... on RunsFeedConnection { results { id runStatus } } } }"
        )["runsFeedOrError"]["results"]
        return Launch(feed[0]["id"], feed[0]["runStatus"]) if feed else None

    def wait_for_launch(self, after: Launch | None, seconds: float) -> Launch:
        """What was launched after ``after``, once it has ended, whichever way."""

        def ended() -> Launch | None:
            newest = self.newest_launch()
            if newest is None or (after is not None and newest.id == after.id):
                return None
            return newest if newest.status in ENDED else None

        return wait_for(ended, seconds, f"the end of what was launched; see {self.log}")

    def launch_job(
        self,
        job: str,
        assets: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Launch a job, or the part of it that makes these assets; returns the run's id."""
        selection = {"assetSelection": [{"path": [asset]} for asset in assets]} if assets else {}
        launched = self.query(
            "mutation($selector: JobOrPipelineSelector!, $config: RunConfigData!,"
            " $tags: [ExecutionTag!]) { launchPipelineExecution(executionParams: {"
            " selector: $selector, runConfigData: $config, executionMetadata: {tags: $tags}})"
            " { __typename ... on LaunchRunSuccess { run { runId } } } }",
            selector={
                "repositoryLocationName": "ml_assets",
                "repositoryName": "__repository__",
                "pipelineName": job,
                **selection,
            },
            config={"ops": dict(config or {})},
            tags=[{"key": key, "value": value} for key, value in (tags or {}).items()],
        )["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def terminate(self, run_id: str) -> None:
        """Cancel a run."""
        self.query(
            "mutation($run: String!) { terminateRun(runId: $run) { __typename } }", run=run_id
        )

    def answers_of(self, run_id: str) -> list[dict[str, Any]]:
        """What a run of ``predict_requests`` has answered, from the JSON of its step's output."""
        events = self.query(
            "query ($run: ID!) { runOrError(runId: $run) { ... on Run { eventConnection { events {"
            " ... on ExecutionStepOutputEvent { metadataEntries { label"
            " ... on JsonMetadataEntry { jsonString } } } } } } } }",
            run=run_id,
        )["runOrError"]["eventConnection"]["events"]
        entries = [entry for event in events for entry in event.get("metadataEntries", [])]
        [found] = [entry["jsonString"] for entry in entries if entry["label"] == "answers"]
        return json.loads(found)

    def status_of(self, run_id: str) -> str:
        """Status of a run."""
        return self.query(
            "query($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }", run=run_id
        )["runOrError"]["status"]

    def ended_as(self, run_id: str) -> str | None:
        """Final status of a run; None while it is in progress."""
        status = self.status_of(run_id)
        return status if status in ENDED else None

    def retry_of(self, run_id: str) -> str | None:
        """The automatic retry of a run; None when there is none."""
        runs = self.query(
            "query($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags})"
            " { ... on Runs { results { runId } } } }",
            tags=[{"key": "dagster/parent_run_id", "value": run_id}],
        )["runsOrError"]["results"]
        return runs[0]["runId"] if runs else None

    def worker_of(self, run_id: str) -> int | None:
        """The process that executes a run; None while there is none."""
        events = self.query(
            "query($run: ID!) { logsForRun(runId: $run) { ... on EventConnection"
            " { events { ... on MessageEvent { message } } } } }",
            run=run_id,
        )["logsForRun"]["events"]
        match = re.search(
            r"Executing steps in process \(pid: (\d+)\)", " ".join(e["message"] for e in events)
        )
        return int(match[1]) if match else None

    def unhealthy_daemons(self) -> list[str]:
        """Daemons that should send heartbeats and do not."""
        daemons = self.query(
            "{ instance { daemonHealth { allDaemonStatuses { daemonType healthy required } } } }"
        )["instance"]["daemonHealth"]["allDaemonStatuses"]
        return [d["daemonType"] for d in daemons if d["required"] and not d["healthy"]]

    def sensor(self, name: str) -> dict[str, Any]:
        """State and last tick of a sensor."""
        selector = (
            f'{{repositoryName: "__repository__", repositoryLocationName: "ml_assets",'
            f' sensorName: "{name}"}}'
        )
        return self.query(
            f"{{ sensorOrError(sensorSelector: {selector}) {{ ... on Sensor {{ id"
            " sensorState { status ticks(limit: 1) { status skipReason } } } } }"
        )["sensorOrError"]

    def switch_off(self, name: str) -> None:
        """Stop a sensor as the page Automation does, until it stays off.

        Dagster writes the whole state of a sensor at the start and the end of a tick, with the
        status read before, so a change in between is lost.
        """

        def stays_off() -> bool:
            self.query(
                "mutation($id: String!) { stopSensor(id: $id) { __typename } }",
                id=self.sensor(name)["id"],
            )
            for _ in range(5):
                time.sleep(1)
                if self.sensor(name)["sensorState"]["status"] != "STOPPED":
                    return False
            return True

        wait_for(stays_off, 60, f"{name} to stay switched off")

    def tick_now(self, home: Path, *sensors: str) -> None:
        """Make the next tick of these sensors due, as it is once their interval has passed.

        One statement, so that nothing that the daemon writes meanwhile is lost; at most once in six
        seconds, so that it may be called in a loop.
        """
        if time.monotonic() < self._ticked + 6:
            return
        self._ticked = time.monotonic()
        data = "$.job_specific_data.last_tick"
        with (
            closing(sqlite3.connect(home / "dagster/schedules/schedules.db", 30)) as states,
            states,
        ):
            states.executemany(
                "UPDATE instigators SET instigator_body = json_set(instigator_body,"
                f" '{data}_timestamp', 0.0, '{data}_start_timestamp', 0.0)"
                " WHERE json_extract(instigator_body, '$.origin.job_name') = ?",
                [(sensor,) for sensor in sensors],
            )

    def failures(self) -> list[str]:
        """Failed runs with their failed steps, for the message of a failing test."""
        runs = self.query(
            "{ runsOrError(filter: {statuses: [FAILURE, CANCELED]}) { ... on Runs { results"
            " { runId status stepStats { stepKey status } } } } }"
        )["runsOrError"]["results"]
        return [
            f"run {run['runId']} {run['status']}: "
            + (", ".join(s["stepKey"] for s in run["stepStats"] if s["status"] == "FAILURE") or "-")
            for run in runs
        ]

    def not_green(self) -> list[str]:
        """Assets without a materialization, or with partitions missing or failed."""
        nodes = self.query(
            "{ assetNodes { assetKey { path } assetMaterializations(limit: 1) { timestamp }"
            " partitionStats { numPartitions numMaterialized numFailed } } }"
        )["assetNodes"]
        return [
            f"{node['assetKey']['path'][-1]}: {node['partitionStats'] or 'never materialized'}"
            for node in nodes
            if not node["assetMaterializations"] or not _complete(node["partitionStats"])
        ]


@contextmanager
def running_ui(
    environment: Mapping[str, str], log: Path, folder: Path = REPOSITORY, background: bool = False
) -> Iterator[DagsterUi]:
    """``ml-assets dev`` with these variables added; stopped, with all its children, at the end.

    Args:
        environment: Added to the variables of this process.
        log: File for its output.
        folder: Checkout whose code is run.
        background: Start it as a shell starts a background job, which ignores Ctrl-C.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", "from ml_assets.cli import main; main()"]
    before = signal.getsignal(signal.SIGINT)
    if background:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with log.open("w") as output:
            process = subprocess.Popen(
                [*command, "dev", "--port", str(port)],
                cwd=folder,
                env={**inherited_environment(), "PYTHONPATH": str(folder), **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    finally:
        signal.signal(signal.SIGINT, before)
    ui = DagsterUi(f"http://127.0.0.1:{port}", log, process.pid)
    try:
        wait_for(lambda: _is_ready(ui, process), READY_SECONDS, f"the UI; see {log}")
        yield ui
    finally:
        _stop(process)


def processes_of(session: int) -> list[int]:
    """Processes of a session that are not zombies."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(folder.name))
    return found


SHARED = 3
"""Tests with a daemon that run side by side on two cores: each takes as many times as long."""


def wait_for(look: Callable[[], Awaited | None], seconds: float, what: str) -> Awaited:
    """What ``look`` returns, as soon as that is true.

    Args:
        look: Called twice a second.
        seconds: How long it may take on a machine that does nothing else.
        what: Is waited for, for the message.

    Raises:
        TimeoutError: when it took ``SHARED`` times as long.
    """
    end = time.monotonic() + seconds * SHARED
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.5)
    raise TimeoutError(f"waited {seconds * SHARED} s for {what}")


def _is_ready(ui: DagsterUi, process: subprocess.Popen) -> bool:
    assert process.poll() is None, f"ml-assets dev ended: {ui.log.read_text()[-2000:]}"
    try:
        return bool(ui.query("{ assetNodes { id } }")["assetNodes"])
    except requests.ConnectionError:
        return False


def _stop(process: subprocess.Popen) -> None:
    """As Ctrl-C does; whatever of its process group is left after that is killed."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _complete(partitions: dict[str, int] | None) -> bool:
    return partitions is None or partitions["numMaterialized"] == partitions["numPartitions"]
