"""The two ways in which families see a request; scikit-learn is imported only when one is made.

Features are named, so that a clone of a fitted pipeline is fitted with the same ones again.
"""

from typing import Any


def trip_history() -> Any:
    """Dense encodings learned from past trips, for trees."""
    from ml_assets.pipeline.encoders import TripHistory
    from ml_assets.pipeline.features import FEATURES
    from ml_assets.pipeline.trip_tables import ENCODINGS

    return TripHistory(features=list(FEATURES.current), encodings=ENCODINGS.current)


def trip_indicators(least_rows: int = 2) -> Any:
    """Sparse indicators of what occurs in at least so many training rows, for linear models."""
    from ml_assets.pipeline.encoders import INDICATORS, TripIndicators
    from ml_assets.pipeline.features import FEATURES

    return TripIndicators(
        least_rows, features=list(FEATURES.current), indicators=INDICATORS.current
    )
