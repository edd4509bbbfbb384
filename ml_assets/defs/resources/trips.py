"""Dagster resources of the trips: source, store and request log."""

import logging
from pathlib import Path

import dagster as dg

from ml_assets.ingestion.open_source import open_source
from ml_assets.ingestion.source import TripSource
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.serving.request_log.files import FOLDER
from ml_assets.storage.record_store import Record, RecordStore, UnreadableRecord
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month_limits import MonthLimits


class TripSourceResource(dg.ConfigurableResource):
    """The source of published months (``ML_ASSETS_TRIPS``, ``ML_ASSETS_TAXI``)."""

    trips: str
    taxi: str
    max_month_rows: int | None = None

    def open(self) -> TripSource:
        """Open the source, without a network request."""
        return open_source(self.trips, self.taxi, max_month_rows=self.max_month_rows)


class TripStoreResource(dg.ConfigurableResource):
    """The months and records of one dataset below ``ML_ASSETS_HOME``."""

    home: str
    taxi: str
    synthetic: bool
    max_month_rows: int | None = None

    def limits(self) -> MonthLimits:
        """Return the maximum size of a published month."""
        return MonthLimits.of(self.taxi, self.max_month_rows)

    def tables(self) -> TripStore:
        """Return the store of raw files and monthly tables."""
        return TripStore(self.home, self.taxi, self.synthetic)

    def records(self) -> RecordStore:
        """Return the store of training sets and metrics."""
        return RecordStore(self.home, self.tables().dataset)

    def decisions(self) -> DecisionLog:
        """Return the log of promotion decisions."""
        return DecisionLog(self.home, self.tables().dataset)

    def find_record(
        self, asset: str, kind: type[Record], log: logging.Logger, otherwise: str = ""
    ) -> Record | None:
        """Return an asset's record; None without one and, with a warning, for an unreadable one.

        Args:
            otherwise: Beginning of the warning: what happens without the record.
        """
        try:
            return self.records().find(asset, kind)
        except UnreadableRecord as error:
            log.warning(": ".join(filter(None, (otherwise, str(error)))))
            return None


class RequestLogResource(dg.ConfigurableResource):
    """The request log of the prediction service on this machine.

    Attributes:
        local_home: The home's local folder (``Settings.local_home``).
    """

    local_home: str

    @property
    def folder(self) -> Path:
        """Folder of the log; it exists once a prediction was served."""
        return Path(self.local_home) / FOLDER
