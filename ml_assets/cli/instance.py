"""Dagster's own home: made on first use, with settings that suit one machine."""

import fcntl
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
# A run that does not start, or does not stop, within three minutes is ended. (One whose process
# was killed is noticed by the project's sensor fail_dead_runs, not by this.)
run_monitoring:
  enabled: true
  poll_interval_seconds: 15
# One run at a time: training uses every core by itself.
concurrency:
  runs:
    max_concurrent_runs: 1
# A press waits a second for its run to be launched, not five.
run_queue:
  dequeue_interval_seconds: 1
"""


def dagster_home(settings: Settings) -> Path:
    """``DAGSTER_HOME``, or a folder under ``ML_ASSETS_HOME``; made with its ``dagster.yaml``."""
    home = Path(os.environ.get("DAGSTER_HOME") or settings.local_home / "dagster").resolve()
    home.mkdir(parents=True, exist_ok=True)
    instance_settings = home / "dagster.yaml"
    if not instance_settings.exists():
        write_text(str(instance_settings), DAGSTER_YAML)
    return home


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
