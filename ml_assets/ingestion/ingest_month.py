"""Bring one published month into the store, unless the stored copy is that very publication."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq

from ml_assets.ingestion.part_files import part_records
from ml_assets.ingestion.source import (
    ChangedDuringDownload,
    Progress,
    PublishedMonth,
    TripSource,
)
from ml_assets.storage.trip_store import PublishedFileRecord, TripStore, checksum
from ml_assets.trips.month import Month

Outcome = Literal["fetched", "republished", "unchanged", "not published"]


@dataclass(frozen=True)
class IngestResult:
    """What became of one month: the outcome, and the stored file's record if there is one."""

    month: Month
    outcome: Outcome
    record: PublishedFileRecord | None


def ingest_month(
    source: TripSource,
    store: TripStore,
    month: Month,
    published: PublishedMonth | None,
    progress: Progress | None = None,
) -> IngestResult:
    """Fetch a month's file as published, byte for byte, and record what it is.

    A month that was published as a folder of parts becomes one file with their rows in order; the
    record then has the checksum of each part beside that of the file.

    Args:
        source: Where months come from.
        store: Where they go.
        month: The month.
        published: What the source says of it; None when it is not there (yet). A copy that was
            stored before is then kept.
        progress: Told the bytes so far and in all.

    Returns:
        What became of it. A stored copy is left alone (``unchanged``) when it is that publication
        and still has its checksum; one that was damaged on the disk is fetched again.

    Raises:
        SourceUnavailable: when the source is down; the stored copy stays.
        InvalidFile: when what came is no trip file; the stored copy stays.
        StorageError: when there is no room, or no permission to write; the stored copy stays.
    """
    stored = store.raw_record(month)
    if published is None:
        return IngestResult(month, "not published", stored)
    same = stored is not None and (stored.version, stored.source) == (
        published.version,
        source.name,
    )
    if stored is not None and same and store.verify_raw(month, stored):
        return IngestResult(month, "unchanged", stored)
    with store.scratch() as folder:
        file = folder / Path(store.raw_path(month)).name
        published = _fetch(source, published, file, progress)
        footer = pq.read_metadata(file)
        record = PublishedFileRecord(
            month=str(month),
            taxi=source.taxi,
            source=source.name,
            location=published.location,
            version=published.version,
            sha256=checksum(file),
            size_bytes=file.stat().st_size,
            rows=footer.num_rows,
            synthetic=source.synthetic,
            parts=part_records(footer) if published.is_folder else [],
        )
        store.store_raw(month, file, record)
    changed = stored is not None and stored.sha256 != record.sha256
    return IngestResult(month, "republished" if changed else "fetched", record)


def _fetch(
    source: TripSource, published: PublishedMonth, file: Path, progress: Progress | None
) -> PublishedMonth:
    """Fetch a month; when it was republished since the listing, list and fetch it once more."""
    try:
        source.fetch(published, file, progress)
    except ChangedDuringDownload:
        newer = source.published([published.month]).get(published.month)
        if newer is None:
            raise
        source.fetch(newer, file, progress)
        return newer
    return published
