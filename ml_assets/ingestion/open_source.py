"""From the value of ``ML_ASSETS_TRIPS`` to a source."""

from ml_assets.ingestion.source import TripSource, WrongSource
from ml_assets.trips.month_limits import MonthLimits


def open_source(
    trips: str, taxi: str, rows_scale: float = 1.0, max_month_rows: int | None = None
) -> TripSource:
    """The source that ``ML_ASSETS_TRIPS`` names; nothing is asked over the network yet.

    Args:
        trips: ``sample``, ``tlc``, an ``http(s)://`` URL, or any folder or URL that fsspec opens.
        taxi: ``green`` or ``yellow``.
        rows_scale: size of the sample's months, as a share of the usual; no other source heeds it.
        max_month_rows: how many rows a month may have; by default that of the taxi.

    Raises:
        WrongSource: when the value names nothing that can be opened; for a remote folder that does
            not exist, only its first use tells.
    """
    # Each source is imported only when it is the one asked for, so that no one pays for the rest.
    value = trips.strip()
    limits = None if max_month_rows is None else MonthLimits(taxi, max_month_rows)
    if value == "sample":
        from ml_assets.ingestion.sample import SampleSource

        return SampleSource(taxi, rows_scale)
    if value == "tlc" or value.startswith(("http://", "https://")):
        from ml_assets.ingestion.http import TLC_URL, HttpSource

        url, name = (TLC_URL, "tlc") if value == "tlc" else (value, None)
        return HttpSource(url, taxi, name, limits=limits)
    if not value:
        raise WrongSource(trips, "the value is empty", taxi)
    from ml_assets.ingestion.folder import FolderSource

    return FolderSource(value, taxi, limits)
