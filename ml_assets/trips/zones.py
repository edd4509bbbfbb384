"""The city's taxi zones: names, boroughs, and the location numbers with a special meaning.

``taxi_zones.csv`` is the reference table that New York City publishes with its taxi zone map.
There the islands of one zone repeat its number (56 Corona twice, 103 Governor's Island three
times), while trips are published with the numbers of TLC's lookup table, in which each has its own
(56, 57 and 103, 104, 105). A repeated number is read as the next free one, as in that table.
"""

import csv
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt
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
def taxi_zones() -> pa.Table:
    """The 263 zones on the map, ordered by number.

    Returns:
        Columns ``LocationID`` (int16, 1 to 263, unique), ``zone`` and ``borough`` (string).
    """
    source = resources.files(__package__).joinpath("taxi_zones.csv")
    rows: dict[int, tuple[str, str]] = {}
    with source.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            location = int(row["LocationID"])
            while location in rows:
                location += 1
            rows[location] = (row["zone"], row["borough"])
    numbers = sorted(rows)
    return pa.table(
        {
            "LocationID": pa.array(numbers, pa.int16()),
            "zone": pa.array([rows[number][0] for number in numbers], pa.string()),
            "borough": pa.array([rows[number][1] for number in numbers], pa.string()),
        }
    )


@cache
def borough_by_location() -> npt.NDArray[np.str_]:
    """The borough of every location number, to be indexed by ``PULocationID`` or ``DOLocationID``.

    Returns:
        Read-only array of 266 names: 0 and 264 are ``Unknown``, 265 is ``Outside of NYC``.
    """
    zones = taxi_zones()
    boroughs = zones["borough"].to_pylist()
    longest = max(len(name) for name in (*boroughs, UNKNOWN_BOROUGH, OUTSIDE_BOROUGH))
    lookup = np.full(OUTSIDE_ZONE + 1, UNKNOWN_BOROUGH, dtype=f"<U{longest}")
    lookup[zones["LocationID"].to_numpy()] = boroughs
    lookup[OUTSIDE_ZONE] = OUTSIDE_BOROUGH
    lookup.flags.writeable = False
    return lookup
