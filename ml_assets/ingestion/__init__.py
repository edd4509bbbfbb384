"""Where published months of trips come from: the sample, the TLC's site, or a folder or URL."""

from ml_assets.ingestion.open_source import open_source
from ml_assets.ingestion.source import (
    BadPublication,
    Progress,
    PublishedMonth,
    RepublishedMeanwhile,
    SourceUnavailable,
    TripSource,
    WrongSource,
    published_filename,
)
from ml_assets.trips.calendar import PUBLICATION_LAG_MONTHS, latest_published_month

__all__ = [
    "PUBLICATION_LAG_MONTHS",
    "BadPublication",
    "Progress",
    "PublishedMonth",
    "RepublishedMeanwhile",
    "SourceUnavailable",
    "TripSource",
    "WrongSource",
    "latest_published_month",
    "open_source",
    "published_filename",
]
