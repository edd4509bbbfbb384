"""The trip rules: request columns, limits of kept trips, valid zone numbers.

Plain constants without imports, shared by training, checks and the prediction service.
"""

from typing import Final

REQUEST_COLUMNS: Final = (
    "PULocationID",
    "DOLocationID",
    "trip_distance",
    "pickup_datetime",
    "passenger_count",
)
"""Columns known when a ride is requested: all that a model may use."""

STATED: Final = "stated"
USUAL: Final = "usual"
"""The distance that a prediction uses: a plausible one of the request, or the expected one of its
two zones."""

TIME_PREFIXES: Final = {"green": "lpep", "yellow": "tpep"}
"""Prefix of the time columns in published files, by taxi."""

FIRST_ZONE: Final = 1
LAST_ZONE: Final = 265  # 264 (unknown) and 265 (outside the city) are zones of the published map
ZONE_CODES: Final = LAST_ZONE + 1
"""Length of an array indexed by zone; 0 is a zone that is not on the map."""

MAX_MILES: Final = 1_000_000
"""Faulty meters reach 278,990 miles (green, September 2023), which the course's rule keeps; far
larger numbers would overflow when a least-squares fit squares them."""
