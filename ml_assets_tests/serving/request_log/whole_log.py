"""The whole request log as one frame."""

from datetime import date
from pathlib import Path

import polars as pl

from ml_assets.serving.request_log.reader import COLUMNS, read_chunks


def read_log(folder: Path, first: date | None = None, last: date | None = None) -> pl.DataFrame:
    """Read the whole log into a frame with ``COLUMNS``.

    Args:
        folder: Folder of the log; a missing folder is an empty log.
        first: First day (UTC), by default the oldest.
        last: Last day, by default the newest.
    """
    chunks = [chunk.predictions for chunk in read_chunks(folder, first, last)]
    return pl.concat([pl.DataFrame(schema=COLUMNS), *chunks])
