"""Dagster's own home: made on first use, with settings that suit one machine."""

import fcntl
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ml_assets.settings import Settings
from ml_assets.storage.atomic import write_text

if TYPE_CHECKING:
    from dagster import DagsterInstance

DAGSTER_YAML = """\
# Written once by ml-assets; yours to change.
telemetry:
  enabled: false
# No invitation to Dagster's community in front of the first page.
nux:
  enabled: false
# A run that does not start, or does not stop, within three minutes is ended. (One whose process
# was killed is noticed by the project's sensor fail_dead_runs, not by this.)
run_monitoring:
  enabled: true
  poll_interval_seconds: 15
# A run whose process was killed is started again, twice at most, from where it was. Not so one that
# a step has failed: what may pass is asked for again by the project's sensors, later each time.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
# Two runs at a time, so that months are ingested while a model trains. The pools (ingestion,
# training) allow one run each; raise max_concurrent_runs for more predictions and measurements.
concurrency:
  pools:
    granularity: run
    default_limit: 1
  runs:
    max_concurrent_runs: 2
# A press waits a second for its run to be launched, not five.
run_queue:
  dequeue_interval_seconds: 1
"""
_FORMER_DAGSTER_YAML = {
    "43ed54f96beb30ad16cebdfc0b16d8786f988204113a6d4c6c75464c0d1e1cb7",
    "a7f8bf3e1be7bbe82dae5bde7e125dbf12634e4d3dbdbbce56c9f1283e421a6f",
}
"""SHA-256 of what was written before; such a file is replaced, one that was changed is not."""


def dagster_home(settings: Settings) -> Path:
    """``DAGSTER_HOME``, or a folder under ``ML_ASSETS_HOME``; made with its ``dagster.yaml``.

    A ``dagster.yaml`` that an earlier version wrote, and nobody changed, is brought up to date.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or settings.local_home / "dagster").resolve()
    home.mkdir(parents=True, exist_ok=True)
    instance_settings = home / "dagster.yaml"
    if not instance_settings.exists() or _is_former(instance_settings):
        write_text(str(instance_settings), DAGSTER_YAML)
    return home


def _is_former(instance_settings: Path) -> bool:
    digest = hashlib.sha256(instance_settings.read_bytes()).hexdigest()
    return digest in _FORMER_DAGSTER_YAML


def open_instance(settings: Settings) -> "DagsterInstance":
    """The Dagster instance in that home, the same that ``make dev`` shows.

    Dagster looks whether a database is there and then makes it: of two commands that open a new
    home at once, both may make it, and leave one that neither can open any more. So they enter one
    after the other.
    """
    home = dagster_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    from dagster import DagsterInstance

    with open(home / ".opening.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        instance = DagsterInstance.get()
        instance.all_asset_keys()  # the index of events is made when it is first asked for
    return instance
