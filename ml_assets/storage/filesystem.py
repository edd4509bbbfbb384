"""File operations on local paths and fsspec URLs."""

from pathlib import Path
from typing import Any, BinaryIO

import fsspec

_LOCAL = ("file://", "local://")


def local_path(url: str) -> Path | None:
    """Return the local path of a path or URL; None for a remote one."""
    for prefix in _LOCAL:
        if url.startswith(prefix):
            return Path(url.removeprefix(prefix))
    return None if "://" in url else Path(url)


def exists(url: str) -> bool:
    """Whether a file or folder exists."""
    file_system, path = _open(url)
    return bool(file_system.exists(path))


def size(url: str) -> int:
    """Return the size of a file in bytes."""
    file_system, path = _open(url)
    return int(file_system.size(path))


def names(folder: str) -> list[str]:
    """Return the names of a folder's entries; none when there is no such folder."""
    file_system, path = _open(folder)
    if not file_system.exists(path):
        return []
    return [entry.rstrip("/").rsplit("/", 1)[-1] for entry in file_system.ls(path, detail=False)]


def remove(url: str) -> None:
    """Remove a file if it exists."""
    file_system, path = _open(url)
    if file_system.exists(path):
        file_system.rm_file(path)


def open_binary(url: str) -> BinaryIO:
    """Open a file for reading."""
    return fsspec.open(url, "rb").open()  # type: ignore[no-any-return]


def read_bytes(url: str) -> bytes:
    """Read a file."""
    with open_binary(url) as file:
        return file.read()


def _open(url: str) -> tuple[Any, str]:
    """Return file system and path, with cleared listings, since other processes write as well."""
    file_system, path = fsspec.core.url_to_fs(url)
    file_system.invalidate_cache()
    return file_system, path
