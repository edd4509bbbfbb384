"""The process that executes a run, recorded in the run's tags, and whether it is alive.

Where this machine can look the process up, its start time and boot decide. Where it cannot (another
host, a container with its own PID namespace), the heartbeat in Dagster's home decides.
"""

import contextlib
import enum
import logging
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from ml_assets.defs.operations.run_tags import HOST_TAG, PROCESS_TAG, RUN_TAG, tag_value

if TYPE_CHECKING:
    import dagster as dg

HEARTBEAT_FOLDER: Final = "heartbeats"
"""Folder in Dagster's home; it holds one file per run in progress, named by its id."""

HEARTBEAT_SECONDS = 5.0
"""Interval of the heartbeat of a run's process."""

STALE_HEARTBEAT_SECONDS = 60.0
"""After this time without a heartbeat, a process that cannot be looked up counts as dead: twelve
beats, since a disk may stall, and a library may hold the GIL for some seconds."""

_STATE, _STARTED = 0, 19  # indices of the fields after the name in /proc/PID/stat; see proc(5)
_LOGGER = logging.getLogger(__name__)


class Liveness(enum.Enum):
    """State of the process that executes a run."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class RunProcess:
    """Identity of a process, distinct from a later one with the same PID.

    Attributes:
        start: Start time in clock ticks since boot; empty where the system does not provide it.
    """

    host: str
    pid: int
    start: str = ""
    boot: str = ""
    namespace: str = ""

    @classmethod
    def find(cls, pid: int) -> Self | None:
        """Return this machine's process with that PID; None when there is none, or a zombie."""
        try:
            # The name stands in parentheses, and may itself hold spaces and parentheses.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:  # no /proc, or it hides the processes of others
            return cls(socket.gethostname(), pid) if _exists(pid) else None
        if fields[_STATE] in "ZXx":
            return None
        return cls(socket.gethostname(), pid, fields[_STARTED], boot, _pid_namespace())

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Self | None:
        """Return the process named by a run's tags; None when they name none."""
        host = tag_value(tags, HOST_TAG)
        number, _, identity = (tag_value(tags, PROCESS_TAG) or "").partition(":")
        if not number.isdecimal() or host is None:
            return None
        return cls(host, int(number), *identity.split("@")[:3])

    def to_tags(self, run_id: str) -> dict[str, str]:
        """Return the tags for a run that this process executes."""
        identity = "@".join((self.start, self.boot, self.namespace)).rstrip("@")
        return {HOST_TAG: self.host, PROCESS_TAG: f"{self.pid}:{identity}", RUN_TAG: run_id}

    def liveness(self) -> Liveness:
        """Return whether it is alive, as far as this machine can look it up."""
        here = RunProcess.find(os.getpid())
        if here is None or (self.boot and not self._shares_pids_with(here)):
            return Liveness.UNKNOWN
        found = RunProcess.find(self.pid)
        same_host = self.host == socket.gethostname()
        if not self.start or not here.start:  # only the PID decides, and only on the same host
            if not same_host:
                return Liveness.UNKNOWN
            return Liveness.DEAD if found is None else Liveness.ALIVE
        if found is not None and found.start == self.start:
            return Liveness.ALIVE  # even when the host was renamed since
        return Liveness.DEAD if same_host else Liveness.UNKNOWN

    def ended_with_an_earlier_boot(self) -> bool:
        """Whether its host was rebooted since."""
        here = RunProcess.find(os.getpid())
        same_host = self.host == socket.gethostname()
        return bool(here and same_host and self.boot and here.boot and self.boot != here.boot)

    def _shares_pids_with(self, here: "RunProcess") -> bool:
        same_namespace = not self.namespace or self.namespace == here.namespace
        return self.boot == here.boot and same_namespace


def process_tags(run_id: str, pid: int | None = None) -> dict[str, str]:
    """Return the tags for a run that this process, or the one with that PID, executes."""
    pid = os.getpid() if pid is None else pid
    found = RunProcess.find(pid) or RunProcess(socket.gethostname(), pid)
    return found.to_tags(run_id)


@dataclass(frozen=True)
class Heartbeats:
    """Heartbeat files of the processes that execute runs."""

    folder: Path

    @classmethod
    def of(cls, instance: "dg.DagsterInstance") -> Self:
        """Return the heartbeats of a Dagster instance."""
        return cls(Path(instance.root_directory) / HEARTBEAT_FOLDER)

    @contextlib.contextmanager
    def beating(self, run_id: str) -> Iterator[None]:
        """Keep a run's heartbeat in this process until the block ends, also with an error.

        When it cannot be written (a full disk), a warning is logged and the run continues.
        """
        over = threading.Event()
        self._try_to_beat(run_id)
        thread = threading.Thread(target=self._beat_until, args=(run_id, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            with contextlib.suppress(OSError):  # the next tick of fail_orphaned_runs removes it
                self.remove(run_id)

    def seconds_since(self, run_id: str) -> float | None:
        """Return the age of a run's last heartbeat in seconds; None when it has none.

        Both times come from the file system, since the clocks of two machines may differ.
        """
        then = self._last(run_id)
        if then is None:
            return None
        with tempfile.TemporaryFile(dir=self.folder) as now:
            return max(os.fstat(now.fileno()).st_mtime - then, 0.0)

    def stale(self, run_ids: list[str]) -> list[str]:
        """Return the runs whose heartbeat has stopped.

        Each is observed for two more intervals: after a suspension or a clock change, the last
        heartbeat of a process that is alive looks old.
        """
        old = {}
        for run_id in run_ids:
            age = self.seconds_since(run_id)
            if age is not None and age > STALE_HEARTBEAT_SECONDS:
                old[run_id] = self._last(run_id)
        if old:
            time.sleep(2 * HEARTBEAT_SECONDS)
        return [run_id for run_id, then in old.items() if self._last(run_id) == then]

    def remove(self, run_id: str) -> None:
        """Remove a run's heartbeat, if it has one."""
        (self.folder / run_id).unlink(missing_ok=True)

    def run_ids(self) -> list[str]:
        """Return the runs that have a heartbeat file."""
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []

    def _last(self, run_id: str) -> float | None:
        try:
            # Opening makes a network file system ask its server instead of its cache.
            with open(self.folder / run_id) as file:
                return os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None

    def _beat_until(self, run_id: str, over: threading.Event) -> None:
        failing = False
        while not over.wait(HEARTBEAT_SECONDS):
            failing = not self._try_to_beat(run_id, quietly=failing)

    def _try_to_beat(self, run_id: str, *, quietly: bool = False) -> bool:
        """Write a heartbeat; False when it cannot be written."""
        try:
            self._beat(run_id)
        except OSError as error:
            if not quietly:
                _LOGGER.warning("the heartbeat of run %s cannot be written: %s", run_id, error)
            return False
        return True

    def _beat(self, run_id: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / run_id).write_text(f"{socket.gethostname()} {os.getpid()}\n")


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
