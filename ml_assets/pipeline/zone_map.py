"""A map of the zones, learned from the distances of trips between them.

The published files have no coordinates of the zones. Points in three dimensions whose distances
match the mean miles between zones give the distance of zone pairs without trips, and the
neighbours of a zone. A third dimension is needed since roads go around water: it allows zones on
opposite banks of a river to be far apart. Fitted by weighted SMACOF (de Leeuw 1977; Borg and
Groenen, Modern Multidimensional Scaling, 2005, ch. 8), whose steps never increase the stress.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import shortest_path

from ml_assets.pipeline.versioned_features import Matrix
from ml_assets.trips.request_columns import ZONE_CODES

PAIRS = ZONE_CODES * ZONE_CODES
DIMENSIONS = 3

MILES_STRENGTH = 3.0
"""Weight of the map's distance of a pair against the pair's own trips, in trips."""

_STEPS = 150
_STEPS_FROM_START = 20
"""Measured on 2023-03 and 04: from the map of all trips, 20 steps on four fifths of them come
nearer to the converged map of these (0.013 log miles on average) than 150 steps without (0.025)."""

_MIN_MILES_APART = 0.3
_ZONE_STRENGTH = 10.0
_STRESS_POWER = 0.5
"""Stress is weighted by 1 / miles to this power: between absolute (0) and relative (2) error."""

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ZoneMap:
    """A map of the zones.

    Attributes:
        points: Coordinates in miles, (266, 3); a zone without trips lies in the centre.
        log_miles: Log miles between two zones on the map, (266 * 266,), indexed by pick-up zone *
            266 + drop-off zone; within a zone, the mean of its own trips.
        usual_log_miles: Expected log miles: ``log_miles`` combined with those of the pair's trips.
    """

    points: npt.NDArray[np.float32]
    log_miles: npt.NDArray[np.float32]
    usual_log_miles: npt.NDArray[np.float32]

    def neighbours(self, reach: float) -> Matrix:
        """Return the proximity of zones: exp(-(miles / reach)² / 2), (266, 266)."""
        apart = _miles_apart(self.points.astype(np.float64))
        kernel: Matrix = np.exp(-0.5 * (apart / reach) ** 2)
        return kernel


def get_zone_map(pipeline: Any) -> ZoneMap | None:
    """Return the zone map of a pipeline's encoder; None for one without."""
    encoder = pipeline[-2] if len(pipeline) > 1 else None
    tables = getattr(encoder, "tables_", None)
    found: ZoneMap | None = (
        getattr(encoder, "zone_map_", None) if tables is None else tables.zone_map
    )
    return found


@dataclass(frozen=True)
class PairMiles:
    """Sums over trips with a stated distance, by zone pair; indexed as ``ZoneMap.log_miles``.

    Attributes:
        trips: Number of trips, (266 * 266,).
        log_miles: Sum of their log miles, (266 * 266,).
    """

    trips: npt.NDArray[np.int64]
    log_miles: Matrix

    @classmethod
    def of(cls, pair: Codes, log_miles: Matrix) -> Self:
        """Add up trips.

        Args:
            pair: Pick-up zone * 266 + drop-off zone of each trip, shape (n,).
            log_miles: Log of the stated miles, NaN where missing or implausible, shape (n,).
        """
        stated = ~np.isnan(log_miles)
        pair = pair[stated]
        sums = np.bincount(pair, weights=log_miles[stated], minlength=PAIRS)
        return cls(np.bincount(pair, minlength=PAIRS), sums.astype(np.float64))


def fit_zone_map(stated: PairMiles, start: npt.NDArray[np.floating] | None = None) -> ZoneMap:
    """Fit the map of the zones.

    Args:
        stated: Sums over the trips with a stated distance.
        start: Points of the map of mostly the same trips, (266, 3), to converge in fewer steps.
    """
    trips, sums = stated.trips, stated.log_miles
    if not trips.any():
        zeros = np.zeros(PAIRS, dtype=np.float32)
        return ZoneMap(np.zeros((ZONE_CODES, DIMENSIONS), dtype=np.float32), zeros, zeros)
    overall = float(sums.sum() / trips.sum())
    points, placed = _place(stated, start)
    between = np.log(np.maximum(_miles_apart(points), _MIN_MILES_APART))
    between[~placed, :] = overall
    between[:, ~placed] = overall
    between[np.diag_indices(ZONE_CODES)] = _inside(stated)
    expected = (sums + MILES_STRENGTH * between.ravel()) / (trips + MILES_STRENGTH)
    return ZoneMap(
        points.astype(np.float32), between.ravel().astype(np.float32), expected.astype(np.float32)
    )


def _inside(stated: PairMiles) -> Matrix:
    """Return the mean log miles of trips within each zone, shrunk to the overall mean, (266,)."""
    same = slice(0, PAIRS, ZONE_CODES + 1)
    trips, sums = stated.trips[same], stated.log_miles[same]
    overall = float(sums.sum() / trips.sum()) if trips.any() else float(np.log(_MIN_MILES_APART))
    means: Matrix = (sums + _ZONE_STRENGTH * overall) / (trips + _ZONE_STRENGTH)
    return means


def _miles_apart(points: Matrix) -> Matrix:
    difference = points[:, None, :] - points[None, :, :]
    distance: Matrix = np.sqrt((difference**2).sum(axis=2))
    return distance


def _place(
    stated: PairMiles, start: npt.NDArray[np.floating] | None
) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    """Return points (266, 3), and which zones are placed: those with trips to another zone."""
    first, second, miles, trips = _joined_pairs(stated)
    placed = np.zeros(ZONE_CODES, dtype=bool)
    placed[first] = placed[second] = True
    if len(first) == 0:
        return np.zeros((ZONE_CODES, DIMENSIONS)), placed
    weight = trips / (trips + MILES_STRENGTH) / miles**_STRESS_POWER
    if start is None:
        points, steps = _classical_scaling(first, second, miles), _STEPS
    else:
        points, steps = start.astype(np.float64), _STEPS_FROM_START
    laplacian = _laplacian(first, second, weight)
    # A small inertia fixes zones without trips and disconnected parts of the map.
    inertia = 1e-3 * float(np.median(np.diag(laplacian)[placed]))
    step = np.linalg.inv(laplacian + inertia * np.eye(ZONE_CODES))
    axes = np.ascontiguousarray(points.T)  # one row for each dimension
    for _ in range(steps):
        apart = axes.take(first, axis=1) - axes.take(second, axis=1)
        apart *= weight * miles / (np.sqrt((apart**2).sum(axis=0)) + 1e-9)
        pulled = inertia * axes
        for total, pull in zip(pulled, apart, strict=True):
            total += np.bincount(first, pull, ZONE_CODES) - np.bincount(second, pull, ZONE_CODES)
        axes = pulled @ step  # which is symmetric
    points = np.ascontiguousarray(axes.T)
    points[~placed] = points[placed].mean(axis=0)
    return points, placed


def _joined_pairs(stated: PairMiles) -> tuple[Codes, Codes, Matrix, Matrix]:
    """Return the pairs of different zones with trips in either direction: zones, miles, trips."""
    trips, sums = (
        np.triu(both + both.T, 1).ravel()
        for both in (
            values.reshape(ZONE_CODES, ZONE_CODES) for values in (stated.trips, stated.log_miles)
        )
    )
    joined = np.flatnonzero(trips)
    miles = np.exp(sums[joined] / trips[joined])
    return joined // ZONE_CODES, joined % ZONE_CODES, miles, trips[joined].astype(np.float64)


def _classical_scaling(first: Codes, second: Codes, miles: Matrix) -> Matrix:
    """Return the initial layout (266, 3): classical scaling of shortest paths over known pairs."""
    graph = np.zeros((ZONE_CODES, ZONE_CODES))
    graph[first, second] = miles
    paths = shortest_path(graph, directed=False)
    reachable = np.isfinite(paths)
    paths = np.where(reachable, paths, paths[reachable].max())
    centring = np.eye(ZONE_CODES) - 1.0 / ZONE_CODES
    values, vectors = np.linalg.eigh(-0.5 * centring @ (paths**2) @ centring)
    scale = np.sqrt(np.maximum(values[-DIMENSIONS:], 1e-9))
    layout: Matrix = vectors[:, -DIMENSIONS:] * scale
    return layout


def _laplacian(first: Codes, second: Codes, weight: Matrix) -> Matrix:
    matrix = np.zeros((ZONE_CODES, ZONE_CODES))
    matrix[first, second] = -weight
    matrix += matrix.T
    matrix[np.diag_indices(ZONE_CODES)] = -matrix.sum(axis=1)
    return matrix
