"""Memory of a process with its descendants."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.process_tree import TreeMemory

CHILD = "held = b'1' * 60_000_000; import time; time.sleep(2)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
def test_memory_of_a_child_counts():
    process = subprocess.Popen([sys.executable, "-c", PARENT])
    with TreeMemory(seconds_between=0.05) as memory:
        memory.watch(process.pid)
        while process.poll() is None:
            time.sleep(0.05)
    assert memory.peak_megabytes > 60
    assert memory.max_processes == 2
