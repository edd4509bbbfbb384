"""Memory that this process may use: what the machine has left, within the limits of its cgroup."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/")
_UNLIMITED: Final = 1 << 60
"""cgroup v1 states no limit as a number near 2^63."""


def available_memory(root: Path = _ROOT) -> int | None:
    """Return the bytes that a process can still take; None where the system does not tell (macOS).

    It is the least of the memory that the machine can free and of what each limit of this
    process's cgroup and its parents leaves, version 1 or 2. Cached files that can be dropped do not
    count as used.

    Args:
        root: Folder with ``proc`` and ``sys``.
    """
    found = [*_of_machine(root), *_of_groups(root)]
    return max(0, min(found)) if found else None


def _of_machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _of_groups(root: Path) -> Iterator[int]:
    """Yield what is left of each limit."""
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            top, names = "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # In a container the path is the host's, and its own group is mounted at the top.
        folder = Path(os.path.normpath(root / top / path.lstrip("/")))
        while folder.is_relative_to(root / top):
            yield from _of_group(folder, *names)
            folder = folder.parent


def _of_group(folder: Path, limit: str, used: str, cached: str) -> Iterator[int]:
    stated = "".join(_lines(folder / limit)).strip()
    if not stated.isdigit() or int(stated) >= _UNLIMITED:  # also "max"
        return
    usage = int("".join(_lines(folder / used)).strip() or 0)
    droppable = sum(
        int(line.split()[1])
        for line in _lines(folder / "memory.stat")
        if line.split()[:1] == [cached]
    )
    yield int(stated) - max(0, usage - droppable)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:  # another system, or a limit that this process may not read
        return []
