"""Ingest months through the graph: ``python -m benchmarks.peak_of_ingestion FIRST LAST``.

Prints one JSON line: memory before and at the peak, in megabytes.
"""

import json
import resource
import sys
from pathlib import Path

from rich.console import Console

from ml_assets.cli.execution import Execution
from ml_assets.settings import read_settings
from ml_assets.trips.month import Month

_STATUS = Path("/proc/self/status")


def peak_megabytes() -> float:
    """The most memory that this process has had resident."""
    if _STATUS.is_file():
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    """Ingest the months of the command line under the settings of the environment."""
    first, last = (Month.parse(text) for text in sys.argv[1:3])
    execution = Execution(read_settings(), Console(stderr=True))
    before = peak_megabytes()
    execution.ingest(first, last)
    print(json.dumps({"before_megabytes": before, "peak_megabytes": peak_megabytes()}))


if __name__ == "__main__":
    main()
