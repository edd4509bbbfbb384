"""``python -m ml_assets_tests.graph.ingest_months HOME TRIPS FIRST LAST``: one run, one process."""

import sys
from pathlib import Path

from ml_assets_tests.project import open_project, settings_for

if __name__ == "__main__":
    home, trips, first, last = sys.argv[1:]
    with open_project(settings_for(Path(home), trips)) as project:
        if not project.ingest(first, last).success:
            raise SystemExit("the run failed")
