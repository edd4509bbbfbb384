"""``ml-assets`` in this process: ``python -m benchmarks.peak_of_run ARGUMENT ...``.

Its last line of output is JSON: wall seconds, and the peak of this process's memory in megabytes.
The processes of the service that check a promoted version come on top of it, after the fits.
"""

import json
import sys
import time

from benchmarks.peak_of_stage import peak_megabytes
from ml_assets.cli import main as ml_assets


def main() -> None:
    """Run the command; fail as it fails."""
    begun = time.perf_counter()
    sys.argv = ["ml-assets", *sys.argv[1:]]
    try:
        ml_assets()
    except SystemExit as ended:
        if ended.code:
            raise
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "peak_megabytes": peak_megabytes()}))


if __name__ == "__main__":
    main()
