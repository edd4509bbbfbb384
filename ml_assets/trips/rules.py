"""The trip rules: what a request holds, which trips are kept, which numbers a zone may bear.

Plain constants without an import, so that training, checks and the prediction service share them
at no cost.
"""

from typing import Final

REQUEST_COLUMNS: Final = (
    "PULocationID",
    "DOLocationID",
    "trip_distance",
    "pickup_datetime",
    "passenger_count",
)
"""What is known when a ride is requested: all that a model may read."""

TIME_PREFIXES: Final = {"green": "lpep", "yellow": "tpep"}
"""By taxi, what published files put before the names of their times."""

TARGET: Final = "duration_minutes"
FEATURE_COLUMNS: Final = ("trip_id", *REQUEST_COLUMNS, TARGET)
"""Columns of ``trip_features``: nothing that is not known when a ride is requested, plus target."""

SHORTEST_MINUTES: Final = 1  # the course's rule: 1 <= duration <= 60, both included
LONGEST_MINUTES: Final = 60

FIRST_ZONE: Final = 1
LAST_ZONE: Final = 265  # 264 (unknown) and 265 (outside the city) are zones of the published map
ZONE_CODES: Final = LAST_ZONE + 1
"""Length of an array indexed by zone; 0 stands for a zone that is on no map."""

MAX_MILES: Final = 1_000_000
"""Faulty meters reach 278,990 miles (green, September 2023), which the course's rule keeps; far
larger numbers would overflow when a least-squares fit squares them."""
