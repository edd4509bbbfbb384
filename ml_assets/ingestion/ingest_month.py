"""Ingest one published month, unless the store already holds that publication."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq

from ml_assets.ingestion.part_files import part_records
from ml_assets.ingestion.source import ChangedDuringDownload, Progress, PublishedMonth, TripSource
from ml_assets.storage.trip_store import PublishedFileRecord, TripStore, checksum
from ml_assets.trips.month import Month

Outcome = Literal["fetched", "republished", "unchanged", "not published"]


@dataclass(frozen=True)
class IngestResult:
    """Outcome of ingesting a month, and the stored file's record if there is one."""

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
    """Fetch a month's file unchanged and record its origin and checksum.

    A month published as a folder of parts becomes one file with their rows in order; its record
    then has the checksum of each part as well as that of the file.

    Args:
        published: The month as the source lists it; None when it is not available. A stored copy is
            then kept.

    Returns:
        The result. A stored copy is left alone (``unchanged``) when it is that publication and
        matches its checksum; a copy damaged on disk is fetched again.

    Raises:
        SourceUnavailable: when the source is down; the stored copy is kept.
        InvalidFile: when the file is not a trip file; the stored copy is kept.
        StorageError: when the disk is full or not writable; the stored copy is kept.
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
    with store.staging_dir() as folder:
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
    """Fetch a month; if it was republished since the listing, list and fetch it once more."""
    try:
        source.fetch(published, file, progress)
    except ChangedDuringDownload:
        newer = source.published([published.month]).get(published.month)
        if newer is None:
            raise
        source.fetch(newer, file, progress)
        return newer
    return published
