"""The two ways in which families see a request; scikit-learn is imported only when one is made."""

from typing import Any


def trip_history() -> Any:
    """Dense encodings learned from past trips, for trees."""
    from ml_assets.modeling.encoders import TripHistory

    return TripHistory()


def trip_indicators(least_rows: int = 2) -> Any:
    """Sparse indicators of what occurs in at least so many training rows, for linear models."""
    from ml_assets.modeling.encoders import TripIndicators

    return TripIndicators(least_rows)
