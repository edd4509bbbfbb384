"""The two ways in which families see a request; scikit-learn is imported only when one is made."""

from typing import Any


def trip_history() -> Any:
    """Dense encodings learned from past trips, for trees."""
    from ml_assets.modeling.encoders import TripHistory

    return TripHistory()


def trip_indicators() -> Any:
    """Sparse indicators, for linear models."""
    from ml_assets.modeling.encoders import TripIndicators

    return TripIndicators()
