"""Taxi zones: names, boroughs, and location numbers with a special meaning.

``taxi_zones.csv`` is the reference table that New York City publishes with its taxi zone map.
It repeats the number of a zone with several parts (56 Corona twice, 103 Governor's Island three
times), while published trips use the numbers of TLC's lookup table, in which each part has its own
(56, 57 and 103, 104, 105). A repeated number is read as the next free one, as in that table.
"""

import csv
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

NEWARK_AIRPORT_ZONE = 1
JFK_AIRPORT_ZONE = 132
LAGUARDIA_AIRPORT_ZONE = 138
AIRPORT_ZONES = (NEWARK_AIRPORT_ZONE, JFK_AIRPORT_ZONE, LAGUARDIA_AIRPORT_ZONE)
UNKNOWN_ZONE = 264
OUTSIDE_ZONE = 265
UNKNOWN_BOROUGH = "Unknown"
OUTSIDE_BOROUGH = "Outside of NYC"


@cache
def taxi_zones() -> "pa.Table":
    """Return the 263 zones on the map, ordered by number.

    Returns:
        Columns ``LocationID`` (int16, 1 to 263, unique), ``zone`` and ``borough`` (string).
    """
    import pyarrow as pa

    rows = sorted(_read_zones().items())
    return pa.table(
        {
            "LocationID": pa.array([location for location, _ in rows], pa.int16()),
            "zone": pa.array([zone for _, (zone, _) in rows], pa.string()),
            "borough": pa.array([borough for _, (_, borough) in rows], pa.string()),
        }
    )


@cache
def borough_by_location() -> npt.NDArray[np.str_]:
    """Return the borough of every location number.

    Returns:
        Read-only array of 266 names, indexed by ``PULocationID`` or ``DOLocationID``: 0 and 264 are
        ``Unknown``, 265 is ``Outside of NYC``.
    """
    names = [UNKNOWN_BOROUGH] * OUTSIDE_ZONE + [OUTSIDE_BOROUGH]
    for location, (_, borough) in _read_zones().items():
        names[location] = borough
    lookup = np.array(names)
    lookup.flags.writeable = False
    return lookup


@cache
def _read_zones() -> dict[int, tuple[str, str]]:
    """Return zone name and borough by location number."""
    text = resources.files(__package__).joinpath("taxi_zones.csv").read_text(encoding="utf-8")
    rows: dict[int, tuple[str, str]] = {}
    for row in csv.DictReader(text.splitlines()):
        location = int(row["LocationID"])
        while location in rows:
            location += 1
        rows[location] = (row["zone"], row["borough"])
    return rows
