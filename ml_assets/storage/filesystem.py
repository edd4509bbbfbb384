"""Paths and fsspec URLs alike: whether something is there, what it holds, and its removal."""

from pathlib import Path
from typing import Any, BinaryIO

import fsspec

_LOCAL = ("file://", "local://")


def local_path(place: str) -> Path | None:
    """The path on this machine that a path or URL stands for; None when it lies elsewhere."""
    for prefix in _LOCAL:
        if place.startswith(prefix):
            return Path(place.removeprefix(prefix))
    return None if "://" in place else Path(place)


def exists(place: str) -> bool:
    """Whether a file or folder is there."""
    file_system, path = _opened(place)
    return bool(file_system.exists(path))


def size(place: str) -> int:
    """Size of a file in bytes."""
    file_system, path = _opened(place)
    return int(file_system.size(path))


def names(folder: str) -> list[str]:
    """Names of what lies in a folder; none when there is no such folder."""
    file_system, path = _opened(folder)
    if not file_system.exists(path):
        return []
    return [entry.rstrip("/").rsplit("/", 1)[-1] for entry in file_system.ls(path, detail=False)]


def remove(place: str) -> None:
    """Remove a file, if it is there."""
    file_system, path = _opened(place)
    if file_system.exists(path):
        file_system.rm_file(path)


def open_binary(place: str) -> BinaryIO:
    """Open a file for reading."""
    return fsspec.open(place, "rb").open()  # type: ignore[no-any-return]


def read_bytes(place: str) -> bytes:
    """All bytes of a file."""
    with open_binary(place) as file:
        return file.read()


def _opened(place: str) -> tuple[Any, str]:
    """The file system, without the listings that it remembers: other processes write there, too."""
    file_system, path = fsspec.core.url_to_fs(place)
    file_system.invalidate_cache()
    return file_system, path
