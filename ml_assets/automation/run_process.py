"""Which process of which machine does a run's work: told by the run's tags."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

HOST_TAG = "ml_assets/host"
PROCESS_TAG = "ml_assets/process"

_STATE, _STARTED = 0, 19  # of the fields after the name in /proc/PID/stat; see proc(5)


def process_tags(pid: int | None = None) -> dict[str, str]:
    """Tags for a run that this process, or the one with that number, works on."""
    pid = os.getpid() if pid is None else pid
    return {HOST_TAG: socket.gethostname(), PROCESS_TAG: f"{pid}:{_beginning(pid) or ''}"}


def process_number(tags: Mapping[str, str]) -> int | None:
    """The number of the process that works on the run with these tags; None when they lack it."""
    number = tags.get(PROCESS_TAG, "").partition(":")[0]
    return int(number) if number.isdecimal() else None


def is_gone(tags: Mapping[str, str]) -> bool:
    """Whether the process that these tags name is gone for sure.

    False for a process of another machine, of which this one knows nothing, and for tags that name
    none. A process that has its number by now, but began at another time, is another one.
    """
    pid = process_number(tags)
    if pid is None or tags.get(HOST_TAG) != socket.gethostname():
        return False
    now, then = _beginning(pid), tags[PROCESS_TAG].partition(":")[2]
    if now is None:
        return True
    return bool(now and then) and now != then


def _beginning(pid: int) -> str | None:
    """What tells a process from others with its number: when it began, and since which boot.

    Returns:
        An empty string for a process whose beginning the system does not tell; None when there is
        no such process, or only what is left of it until its parent takes note.
    """
    try:
        # The name stands in brackets, and may hold spaces and brackets of its own.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # no /proc, or it hides the processes of others
        return "" if _answers(pid) else None
    return None if fields[_STATE] in "ZXx" else f"{fields[_STARTED]}@{boot}"


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
