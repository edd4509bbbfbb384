"""How much memory a process and all its descendants need together, at their peak."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_PROC = Path("/proc")


class TreeMemory:
    """Samples the proportional set size of a process tree; Linux only, elsewhere it stays at 0.

    Proportional: a page that several processes share counts once, in parts; so what a fork server
    has loaded for its workers is not counted for each of them.
    """

    def __init__(self, seconds_between: float = 0.2) -> None:
        self.peak_megabytes = 0.0
        self.max_processes = 0
        self._seconds_between = seconds_between
        self._root: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def watch(self, process: int) -> None:
        """The id of the process to watch."""
        self._root = process

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(self._seconds_between):
            if self._root is None:
                continue
            tree = _tree(self._root)
            kilobytes = sum(_proportional_kilobytes(process) for process in tree)
            self.peak_megabytes = max(self.peak_megabytes, kilobytes / 1024)
            self.max_processes = max(self.max_processes, len(tree))


def _tree(root: int) -> list[int]:
    """The process and its descendants, as far as they are still there."""
    found = [root]
    for process in found:
        for children in (_PROC / str(process)).glob("task/*/children"):
            found += [int(child) for child in _read(children).split()]
    return found


def _proportional_kilobytes(process: int) -> int:
    for line in _read(_PROC / str(process) / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def _read(file: Path) -> str:
    """A file of a process that may be gone by now."""
    try:
        return file.read_text()
    except OSError:
        return ""
