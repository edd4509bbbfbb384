"""Sources of published months: the sample, the TLC's site, or a folder or URL."""

from ml_assets.ingestion.open_source import open_source
from ml_assets.ingestion.source import (
    ChangedDuringDownload,
    InvalidFile,
    InvalidSource,
    Progress,
    PublishedMonth,
    SourceUnavailable,
    TripSource,
    published_filename,
)
from ml_assets.trips.month import PUBLICATION_LAG_MONTHS, latest_published_month

__all__ = [
    "PUBLICATION_LAG_MONTHS",
    "ChangedDuringDownload",
    "InvalidFile",
    "InvalidSource",
    "Progress",
    "PublishedMonth",
    "SourceUnavailable",
    "TripSource",
    "latest_published_month",
    "open_source",
    "published_filename",
]
