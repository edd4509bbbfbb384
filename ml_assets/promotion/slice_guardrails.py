"""Slices on which a new champion may not be much worse, even if it is better overall."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.evaluation.metrics import pair_codes, root_mean_squared_error, slice_masks
from ml_assets.trips.target import TARGET

GUARDED = ("airport/either end", "pair/unseen", "borough/")
"""Prefixes of guarded slices: expensive rides, zone pairs unseen in training, and each borough.
Hours and distances vary with the overall error and are only reported."""

_TOLERANCE = 0.03
"""Measured on green months 2023-04 to 2023-09: xgboost and random_forest fitted on two months, and
again on two that end a month later. Whenever the later one was better on the whole, no guarded
slice of 1,000 trips or more got worse by more than 0.7 %."""


@dataclass(frozen=True)
class SliceGuardrail:
    """Limits of the slices.

    Attributes:
        tolerance: Share by which a slice's RMSE may rise, by prefix of the slice's name
            (``airport``, ``pair``, ``borough``, ``borough/Queens``); the longest prefix counts.
        min_trips: Slices with fewer trips are ignored: their RMSE is mostly noise.
    """

    tolerance: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType(
            {"airport": _TOLERANCE, "pair": _TOLERANCE, "borough": _TOLERANCE}
        )
    )
    min_trips: int = 300

    def of(self, slice_name: str) -> float:
        """Return the tolerance of a slice; 0 without a matching prefix."""
        named = [start for start in self.tolerance if slice_name.startswith(start)]
        return self.tolerance[max(named, key=len)] if named else 0.0


@dataclass(frozen=True)
class SliceComparison:
    """The RMSE of champion and challenger on one guarded slice, minutes."""

    slice: str
    trips: int
    champion_rmse: float
    challenger_rmse: float
    tolerance: float

    @property
    def change(self) -> float:
        """Relative increase of the challenger's RMSE over the champion's."""
        if self.champion_rmse == 0:
            return 0.0 if self.challenger_rmse == 0 else float("inf")
        return self.challenger_rmse / self.champion_rmse - 1

    @property
    def within_tolerance(self) -> bool:
        """Whether the increase is within the tolerance."""
        return self.change <= self.tolerance


def compare_slices(
    test_trips: pd.DataFrame,
    champion: npt.NDArray[np.float64],
    challenger: npt.NDArray[np.float64],
    training_trips: pd.DataFrame,
    guard: SliceGuardrail,
) -> list[SliceComparison]:
    """Compare two models on every guarded slice of the test month with enough trips.

    Args:
        test_trips: Request columns and ``duration_minutes``, one row per trip.
        champion: The champion's predictions in minutes, shape (n,).
        challenger: The challenger's predictions in minutes, shape (n,).
        training_trips: Trips that the challenger was fitted on, which define the unseen pairs.
    """
    actual = test_trips[TARGET.name].to_numpy(dtype=np.float64)
    return [
        SliceComparison(
            slice=name,
            trips=int(np.count_nonzero(mask)),
            champion_rmse=root_mean_squared_error(actual[mask], champion[mask]),
            challenger_rmse=root_mean_squared_error(actual[mask], challenger[mask]),
            tolerance=guard.of(name),
        )
        for name, mask in slice_masks(test_trips, pair_codes(training_trips)).items()
        if name.startswith(GUARDED) and np.count_nonzero(mask) >= max(guard.min_trips, 1)
    ]
