"""Write to a temporary name, then rename: a reader sees the old file or the new one, never half.

Local folders rename within the folder (atomic on POSIX). For URLs the finished local file is
uploaded in one put, which object stores make visible only when it is complete.
"""

import contextlib
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec

STALE_SECONDS = 24 * 3600


@contextlib.contextmanager
def replacing(target: str) -> Iterator[Path]:
    """A local temporary path that becomes ``target`` when the block ends without an error.

    Args:
        target: A local path or an fsspec URL.

    Yields:
        The path to write to. On an error (a full disk, say) it is removed and the target is left
        as it was.
    """
    if "://" in target:
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / target.rsplit("/", 1)[-1]
            yield temporary
            file_system, path = fsspec.core.url_to_fs(target)
            file_system.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            file_system.put_file(str(temporary), path)
        return
    final = Path(target)
    final.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(final.parent)
    temporary = final.parent / f".{final.name}.{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target: str, text: str) -> None:
    """Replace ``target`` (path or URL) by this text, whole or not at all."""
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _remove_stale(folder: Path) -> None:
    """Remove what a killed process left behind, once it is surely no longer being written."""
    limit = time.time() - STALE_SECONDS
    for leftover in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):  # another run may be tidying, too
            if leftover.stat().st_mtime < limit:
                leftover.unlink()
