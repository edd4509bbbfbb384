"""The Materialize button without a browser: the mutation that the UI sends, and its end."""

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
    """Press *Materialize all… → All*; returns when it was pressed and when all was green.

    The UI sends the same: all assets, the partitions of the one root asset that has partitions
    (``pureWithAnchorAsset`` in its ``LaunchAssetChoosePartitionsDialog``), and no configuration.

    Returns:
        Seconds since the epoch, as Dagster's events have them.

    Raises:
        RuntimeError: when it cannot be launched, or a run does not succeed.
        TimeoutError: when it does not end.
    """
    nodes = server.ask(_ASSETS)["assetNodes"]
    params = {
        "tags": [],
        "assetSelection": [{"path": node["assetKey"]["path"]} for node in nodes],
        "partitionNames": max((node["partitionKeys"] for node in nodes), key=len),
        "fromFailure": False,
    }
    pressed = time.time()
    launched = server.ask(_LAUNCH, params=params)["launchPartitionBackfill"]
    if launched["__typename"] != "LaunchBackfillSuccess":
        raise RuntimeError(f"the press launched nothing: {launched}")
    _wait_for_success(server, launched["backfillId"])
    green = time.time()
    failed = [run for run in _runs(server) if run["status"] != "SUCCESS"]
    if failed:
        raise RuntimeError(f"the backfill succeeded, but not its runs: {failed}")
    return pressed, green


def _wait_for_success(server: Server, backfill: str) -> None:
    end = time.monotonic() + _MAX_SECONDS
    status = "never asked"
    while time.monotonic() < end:
        status = server.ask(_STATUS, id=backfill)["partitionBackfillOrError"]["status"]
        if status == "COMPLETED_SUCCESS":
            return
        if status not in ("REQUESTED", "COMPLETED"):
            raise RuntimeError(f"backfill {backfill} is {status}: {_runs(server)}")
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"backfill {backfill} is {status} after {_MAX_SECONDS} s: {_runs(server)}")


def _runs(server: Server) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = server.ask(_RUNS)["runsOrError"]["results"]
    return runs
