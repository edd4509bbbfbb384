"""Which process executes a run, by the run's tags, and whether it is alive.

Where this machine can look the process up, its start and boot decide. Where it cannot (another
host, a container with process numbers of its own), the heartbeat that the process keeps in
Dagster's home decides.
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
"""In Dagster's home; one file for each run in progress, named by its id."""

HEARTBEAT_SECONDS = 5.0
"""Interval of the heartbeat of a run's process."""

STALE_HEARTBEAT_SECONDS = 60.0
"""Without a heartbeat for so long, a run whose process cannot be looked up is dead: twelve beats,
since a disk may stall, and a library may keep the interpreter to itself for some seconds."""

_STATE, _STARTED = 0, 19  # of the fields after the name in /proc/PID/stat; see proc(5)
_LOGGER = logging.getLogger(__name__)


class Liveness(enum.Enum):
    """What is known of the process that executes a run."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class RunProcess:
    """A process, so that it is not mistaken for a later one with the same number.

    Attributes:
        host: Name of its machine.
        pid: Its number.
        start: When it began, in clock ticks since the boot; empty where the system does not say.
        boot: Id of the boot.
        namespace: The namespace of process numbers that its number belongs to.
    """

    host: str
    pid: int
    start: str = ""
    boot: str = ""
    namespace: str = ""

    @classmethod
    def find(cls, pid: int) -> Self | None:
        """The process of this machine with that number; None when there is none.

        What is left of a process until its parent takes note does not count.
        """
        try:
            # The name stands in brackets, and may hold spaces and brackets of its own.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:  # no /proc, or it hides the processes of others
            return cls(socket.gethostname(), pid) if _exists(pid) else None
        if fields[_STATE] in "ZXx":
            return None
        return cls(socket.gethostname(), pid, fields[_STARTED], boot, _pid_namespace())

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Self | None:
        """The process that a run's tags name; None when they name none."""
        host = tag_value(tags, HOST_TAG)
        number, _, identity = (tag_value(tags, PROCESS_TAG) or "").partition(":")
        if not number.isdecimal() or host is None:
            return None
        return cls(host, int(number), *identity.split("@")[:3])

    def to_tags(self, run_id: str) -> dict[str, str]:
        """Tags for a run that this process executes."""
        identity = "@".join((self.start, self.boot, self.namespace)).rstrip("@")
        return {HOST_TAG: self.host, PROCESS_TAG: f"{self.pid}:{identity}", RUN_TAG: run_id}

    def liveness(self) -> Liveness:
        """Whether it is alive, as far as this machine can look it up."""
        here = RunProcess.find(os.getpid())
        if here is None or (self.boot and not self._has_numbers_of(here)):
            return Liveness.UNKNOWN
        found = RunProcess.find(self.pid)
        same_host = self.host == socket.gethostname()
        if not self.start or not here.start:  # the number alone, and not that of another machine
            if not same_host:
                return Liveness.UNKNOWN
            return Liveness.DEAD if found is None else Liveness.ALIVE
        if found is not None and found.start == self.start:
            return Liveness.ALIVE  # whatever its machine was called then
        return Liveness.DEAD if same_host else Liveness.UNKNOWN

    def ended_with_an_earlier_boot(self) -> bool:
        """Whether a machine of this name has been started again since."""
        here = RunProcess.find(os.getpid())
        same_host = self.host == socket.gethostname()
        return bool(here and same_host and self.boot and here.boot and self.boot != here.boot)

    def _has_numbers_of(self, here: "RunProcess") -> bool:
        same_namespace = not self.namespace or self.namespace == here.namespace
        return self.boot == here.boot and same_namespace


def process_tags(run_id: str, pid: int | None = None) -> dict[str, str]:
    """Tags for a run that this process, or the one with that number, executes."""
    pid = os.getpid() if pid is None else pid
    found = RunProcess.find(pid) or RunProcess(socket.gethostname(), pid)
    return found.to_tags(run_id)


@dataclass(frozen=True)
class Heartbeats:
    """Heartbeats of the processes that execute runs.

    Attributes:
        folder: Where their files lie.
    """

    folder: Path

    @classmethod
    def of(cls, instance: "dg.DagsterInstance") -> Self:
        """The heartbeats of a Dagster instance."""
        return cls(Path(instance.root_directory) / HEARTBEAT_FOLDER)

    @contextlib.contextmanager
    def beating(self, run_id: str) -> Iterator[None]:
        """Keep a run's heartbeat in this process until the block ends, however it does.

        Where it cannot be written (a full disk), a warning says so, and the run goes on.
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
            with contextlib.suppress(OSError):  # the next look at ended runs removes it
                self.remove(run_id)

    def seconds_since(self, run_id: str) -> float | None:
        """Age of a run's last heartbeat; None when it has none.

        Both times are those that the file system gives: clocks of two machines may differ.
        """
        then = self._last(run_id)
        if then is None:
            return None
        with tempfile.TemporaryFile(dir=self.folder) as now:
            return max(os.fstat(now.fileno()).st_mtime - then, 0.0)

    def stale(self, run_ids: list[str]) -> list[str]:
        """Those of the runs whose heartbeat has stopped.

        Each of them is watched for two intervals as well: after a suspension, or when the clock
        was set, the last heartbeat of a process that is alive looks old.
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
        """Runs that have a heartbeat, stopped or not."""
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []

    def _last(self, run_id: str) -> float | None:
        try:
            # Opened: a network file system then asks its server, and does not tell what it keeps.
            with open(self.folder / run_id) as file:
                return os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None

    def _beat_until(self, run_id: str, over: threading.Event) -> None:
        failing = False
        while not over.wait(HEARTBEAT_SECONDS):
            failing = not self._try_to_beat(run_id, quietly=failing)

    def _try_to_beat(self, run_id: str, *, quietly: bool = False) -> bool:
        """Give a heartbeat; False when that cannot be written."""
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
