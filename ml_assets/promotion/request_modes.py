"""A model's predictions for the same trips with and without a distance."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_assets.evaluation.leaderboard import MODES
from ml_assets.monitoring.online.request_mix import RequestMix

Minutes = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ModePredictions:
    """A model's predictions for the same trips in both modes, minutes, shape (n,).

    Attributes:
        stated: With the metered distance of each trip.
        usual: Without a distance.
    """

    stated: Minutes
    usual: Minutes

    @property
    def by_mode(self) -> Mapping[str, Minutes]:
        """The predictions by mode, in the order of ``MODES``."""
        return dict(zip(MODES, (self.stated, self.usual), strict=True))

    def squared_errors(self, actual: Minutes, mix: RequestMix) -> Minutes:
        """Return the squared error of each trip, weighted by how often each mode is requested."""
        share = mix.share_stated
        return share * (self.stated - actual) ** 2 + (1 - share) * (self.usual - actual) ** 2
