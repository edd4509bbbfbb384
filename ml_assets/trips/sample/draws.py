"""Random draws that are reproducible on every platform and with every NumPy version.

NumPy guarantees a stable stream only for its bit generators, not for the methods of ``Generator``,
so everything here uses the raw 64-bit stream of PCG64.
"""

from zlib import crc32

import numpy as np
import numpy.typing as npt

SAMPLE_SEED = 20_230_101

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


class Draws:
    """A stream of random numbers, identified by its key; different keys are independent."""

    def __init__(self, *key: int | str) -> None:
        words = [crc32(part.encode()) if isinstance(part, str) else part for part in key]
        self._bits = np.random.PCG64(np.random.SeedSequence([SAMPLE_SEED, *words]))

    def uniform(self, count: int) -> Floats:
        """Uniform numbers between 0 and 1, both excluded."""
        raw = self._bits.random_raw(count)
        return ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def normal(self, count: int) -> Floats:
        """Standard normal numbers (Box-Muller transform)."""
        radius = np.sqrt(-2.0 * np.log(self.uniform(count)))
        return radius * np.cos(2.0 * np.pi * self.uniform(count))

    def heavy_tailed(self, count: int, core: float, tail: float, tail_share: float) -> Floats:
        """Normal noise of deviation ``core``, and ``tail`` for a share ``tail_share`` of it."""
        deviation = np.where(self.chance(count, tail_share), tail, core)
        return deviation * self.normal(count)

    def chance(self, count: int, probability: float | Floats) -> Booleans:
        """True with the given probability, common or individual."""
        return self.uniform(count) < probability

    def choose(self, values: npt.ArrayLike, weights: npt.ArrayLike, count: int) -> npt.NDArray:
        """Draw values with the given weights."""
        options = np.asarray(values)
        table = np.asarray(weights, dtype=np.float64)[None, :]
        return options[self.pick(table, np.zeros(count, dtype=np.int64))]

    def pick(self, weights: Floats, rows: Integers) -> Integers:
        """Draw, for each entry of ``rows``, a column by the weights of that row.

        Args:
            weights: shape (tables, options), not negative, with a positive sum in each row.
            rows: shape (n,), the table to draw from.

        Returns:
            Shape (n,), the drawn column numbers.
        """
        cumulative = np.cumsum(weights, axis=1)
        cumulative /= cumulative[:, -1:]
        options = weights.shape[1]
        # Row r is shifted to (r, r + 1], so that one search serves all rows.
        ladder = (cumulative + np.arange(len(weights))[:, None]).ravel()
        found = np.searchsorted(ladder, rows + self.uniform(len(rows)), side="right")
        columns: Integers = np.clip(found - rows * options, 0, options - 1)
        return columns
