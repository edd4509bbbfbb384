"""*Materialize all* without a browser: the mutation that the UI sends, until it has succeeded."""

import time
from typing import Any

from benchmarks.servers import Server

_POLL_SECONDS = 0.2
_MAX_SECONDS = 1800.0
_LAUNCH = """mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
  }
}"""
_STATUS = """query($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status }
  }
}"""
_RUNS = "{ runsOrError { ... on Runs { results { runId status } } } }"
_ASSETS = "{ assetNodes { assetKey { path } partitionKeys } }"


def materialize_all(server: Server) -> tuple[float, float]:
    """Launch *Materialize all… → All*, and wait until all runs have succeeded.

    The UI sends the same: all assets, the partitions of the one root asset that has partitions
    (``pureWithAnchorAsset`` in its ``LaunchAssetChoosePartitionsDialog``), and no configuration.

    Returns:
        Time of the launch and of the end, in seconds since the epoch as in Dagster's events.

    Raises:
        RuntimeError: It cannot be launched, or a run fails.
        TimeoutError: It does not end in time.
    """
    nodes = server.query(_ASSETS)["assetNodes"]
    params = {
        "tags": [],
        "assetSelection": [{"path": node["assetKey"]["path"]} for node in nodes],
        "partitionNames": max((node["partitionKeys"] for node in nodes), key=len),
        "fromFailure": False,
    }
    launched_at = time.time()
    launched = server.query(_LAUNCH, params=params)["launchPartitionBackfill"]
    if launched["__typename"] != "LaunchBackfillSuccess":
        raise RuntimeError(f"nothing was launched: {launched}")
    _wait_for_success(server, launched["backfillId"])
    ended_at = time.time()
    failed = [run for run in _runs(server) if run["status"] != "SUCCESS"]
    if failed:
        raise RuntimeError(f"the backfill succeeded, but not its runs: {failed}")
    return launched_at, ended_at


def _wait_for_success(server: Server, backfill: str) -> None:
    end = time.monotonic() + _MAX_SECONDS
    status = "unknown"
    while time.monotonic() < end:
        status = server.query(_STATUS, id=backfill)["partitionBackfillOrError"]["status"]
        if status == "COMPLETED_SUCCESS":
            return
        if status not in ("REQUESTED", "COMPLETED"):
            raise RuntimeError(f"backfill {backfill} is {status}: {_runs(server)}")
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"backfill {backfill} is {status} after {_MAX_SECONDS} s: {_runs(server)}")


def _runs(server: Server) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = server.query(_RUNS)["runsOrError"]["results"]
    return runs
