"""Dagster resources for the trips: where months come from, and where they are kept."""

from pathlib import Path

import dagster as dg

from ml_assets.ingestion import TripSource, open_source
from ml_assets.serving.request_log.files import FOLDER
from ml_assets.storage.record_store import RecordStore
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month_limits import MonthLimits


class TripSourceResource(dg.ConfigurableResource):
    """The source of published months (``ML_ASSETS_TRIPS``, ``ML_ASSETS_TAXI``)."""

    trips: str
    taxi: str
    max_month_rows: int | None = None

    def open(self) -> TripSource:
        """The source; makes no network call yet."""
        return open_source(self.trips, self.taxi, max_month_rows=self.max_month_rows)


class TripStoreResource(dg.ConfigurableResource):
    """The months and records of one dataset below ``ML_ASSETS_HOME``."""

    home: str
    taxi: str
    synthetic: bool
    max_month_rows: int | None = None

    def limits(self) -> MonthLimits:
        """How large a published month may be."""
        return MonthLimits.of(self.taxi, self.max_month_rows)

    def tables(self) -> TripStore:
        """Raw files and monthly tables."""
        return TripStore(self.home, self.taxi, self.synthetic)

    def records(self) -> RecordStore:
        """Training sets, figures and decisions."""
        return RecordStore(self.home, self.tables().dataset)


class RequestLogResource(dg.ConfigurableResource):
    """Where the service on this machine writes what it answers.

    Attributes:
        local_home: The home's local folder (``Settings.local_home``).
    """

    local_home: str

    @property
    def folder(self) -> Path:
        """Folder of the log; it is there once something was served."""
        return Path(self.local_home) / FOLDER
