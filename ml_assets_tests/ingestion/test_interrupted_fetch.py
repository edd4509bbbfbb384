"""A full disk and a killed process during a download."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ml_assets.ingestion.http import HttpSource
from ml_assets.ingestion.source import published_filename
from ml_assets_tests.ingestion.conftest import JANUARY
from ml_assets_tests.ingestion.trip_server import TripServer, drip

_FETCH = """
import resource, sys
from pathlib import Path
from ml_assets.ingestion.open_source import open_source
from ml_assets.trips.month import Month

url, destination, limit = sys.argv[1:]
month = Month(2023, 1)
source = open_source(url, "green")
listed = source.published([month])[month]
if limit != "none":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
source.fetch(listed, Path(destination))
"""


def _fetching(server: TripServer, destination: Path, limit: str = "none") -> list[str]:
    return [sys.executable, "-c", _FETCH, server.url, str(destination), limit]


def test_a_full_disk_keeps_the_stored_version(
    server: TripServer, destination: Path, assert_kept: Callable[[], None]
) -> None:
    command = _fetching(server, destination, limit="60000")
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    last_line = ended.stderr.strip().splitlines()[-1]
    for part in ("OSError", "no space to store", FILE, str(destination.parent)):
        assert part in last_line
    assert_kept()


def test_a_kill_during_the_download_keeps_the_stored_version(
    server: TripServer, source: HttpSource, destination: Path, january: bytes
) -> None:
    server.misbehave["GET", FILE] = [drip(1_000, first=50_000)]
    process = subprocess.Popen(_fetching(server, destination))
    until = time.monotonic() + 30
    while not _partial_bytes(destination) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    assert _partial_bytes(destination) < len(january)
    assert destination.read_bytes() == b"the last good version"

    source.fetch(source.published([JANUARY])[JANUARY], destination)
    assert destination.read_bytes() == january


def _partial_bytes(destination: Path) -> int:
    others = [file for file in destination.parent.iterdir() if file != destination]
    return sum(file.stat().st_size for file in others)


FILE = published_filename("green", JANUARY)
