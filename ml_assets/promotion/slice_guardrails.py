"""Modes and slices in which a new champion may not be much worse, even if it is better overall."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_assets.evaluation.leaderboard import MODES
from ml_assets.evaluation.metrics import Mask, root_mean_squared_error, slice_masks
from ml_assets.monitoring.online.request_mix import ModePredictions
from ml_assets.trips.target import TARGET

GUARDED = ("airport/either end", "pair/unseen", "borough/")
"""Prefixes of guarded slices: expensive rides, zone pairs unseen in training, and each borough.
Hours and distances vary with the overall error and are only reported."""

TOLERANCE = 0.03
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
            {"airport": TOLERANCE, "pair": TOLERANCE, "borough": TOLERANCE}
        )
    )
    min_trips: int = 300

    def of(self, slice_name: str) -> float:
        """Return the tolerance of a slice; 0 without a matching prefix."""
        named = [start for start in self.tolerance if slice_name.startswith(start)]
        return self.tolerance[max(named, key=len)] if named else 0.0


@dataclass(frozen=True)
class ModeComparison:
    """The RMSE of champion and challenger on the same trips in one mode, minutes.

    Attributes:
        mode: One of ``MODES``.
    """

    mode: str
    champion_rmse: float
    challenger_rmse: float

    @property
    def change(self) -> float:
        """Relative increase of the challenger's RMSE over the champion's."""
        if self.champion_rmse == 0:
            return 0.0 if self.challenger_rmse == 0 else float("inf")
        return self.challenger_rmse / self.champion_rmse - 1

    def __str__(self) -> str:
        rmse = f"RMSE {self.challenger_rmse:.3f} against {self.champion_rmse:.3f}"
        return f"{rmse} {MODES[self.mode]} ({self.change:+.1%})"


@dataclass(frozen=True)
class SliceComparison:
    """Both models on one guarded slice, in both modes."""

    slice: str
    trips: int
    modes: list[ModeComparison]
    tolerance: float

    @property
    def change(self) -> float:
        """The larger relative increase of the RMSE in the two modes."""
        return max(mode.change for mode in self.modes)


def compare_modes(
    actual: npt.NDArray[np.float64],
    champion: ModePredictions,
    challenger: ModePredictions,
    mask: Mask | slice = slice(None),
) -> list[ModeComparison]:
    """Compare two models in each mode, on all trips or on those of a mask."""
    return [
        ModeComparison(
            mode,
            root_mean_squared_error(actual[mask], champion.by_mode[mode][mask]),
            root_mean_squared_error(actual[mask], challenger.by_mode[mode][mask]),
        )
        for mode in MODES
    ]


def compare_slices(
    test_trips: pd.DataFrame,
    champion: ModePredictions,
    challenger: ModePredictions,
    train_pairs: npt.NDArray[np.int64],
    guard: SliceGuardrail,
) -> list[SliceComparison]:
    """Compare two models on every guarded slice of the test month with enough trips.

    Args:
        test_trips: Request columns and ``duration_minutes``, one row per trip.
        champion: The champion's predictions for these trips.
        challenger: The challenger's.
        train_pairs: ``pair_codes`` of the challenger's training months: others are unseen.
    """
    actual = test_trips[TARGET.name].to_numpy(dtype=np.float64)
    return [
        SliceComparison(
            slice=name,
            trips=int(np.count_nonzero(mask)),
            modes=compare_modes(actual, champion, challenger, mask),
            tolerance=guard.of(name),
        )
        for name, mask in slice_masks(test_trips, train_pairs).items()
        if name.startswith(GUARDED) and np.count_nonzero(mask) >= max(guard.min_trips, 1)
    ]
