import numpy as np
import pytest

from ml_assets.pipeline.zone_map import PairMiles, ZoneMap, fit_zone_map
from ml_assets.trips.request_columns import ZONE_CODES

TOWN = np.random.default_rng(0).uniform(0.0, 12.0, (40, 2))
"""Zones 1 to 40 of a town, in miles."""


def trips_in_town(rows: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pickup, dropoff = rng.integers(0, 40, rows), rng.integers(0, 40, rows)
    miles = np.maximum(np.linalg.norm(TOWN[pickup] - TOWN[dropoff], axis=1), 0.5)
    return pickup + 1, dropoff + 1, np.log(miles * rng.lognormal(0.0, 0.1, rows))


def map_of(pickup: np.ndarray, dropoff: np.ndarray, log_miles: np.ndarray) -> ZoneMap:
    return fit_zone_map(PairMiles.of(pickup * ZONE_CODES + dropoff, log_miles))


def stated(zone_map: ZoneMap, pickup: int, dropoff: int) -> float:
    return float(np.exp(zone_map.usual_log_miles[pickup * ZONE_CODES + dropoff]))


def test_an_unseen_pair_has_its_true_distance() -> None:
    pickup, dropoff, log_miles = trips_in_town(600)
    zone_map = map_of(pickup, dropoff, log_miles)
    joined = set(zip(pickup.tolist(), dropoff.tolist(), strict=True))
    joined |= {(last, first) for first, last in joined}
    apart = [
        (stated(zone_map, first, last), float(np.linalg.norm(TOWN[first - 1] - TOWN[last - 1])))
        for first in range(1, 41)
        for last in range(1, 41)
        if first != last and (first, last) not in joined
    ]
    learned, true = np.array(apart).T
    assert len(true) > 300
    assert np.median(np.abs(learned / true - 1)) < 0.1


def test_many_trips_of_a_pair_outweigh_the_map() -> None:
    pickup, dropoff, log_miles = trips_in_town(600)
    detour = np.full(400, 30.0)
    zone_map = map_of(
        np.append(pickup, np.full(400, 3)),
        np.append(dropoff, np.full(400, 7)),
        np.append(log_miles, np.log(detour)),
    )
    assert stated(zone_map, 3, 7) == pytest.approx(30.0, rel=0.05)


def test_the_distance_within_a_zone_is_that_of_its_own_trips() -> None:
    pickup, dropoff, log_miles = trips_in_town(600)
    zone_map = map_of(
        np.append(pickup, np.full(200, 9)),
        np.append(dropoff, np.full(200, 9)),
        np.append(log_miles, np.full(200, np.log(2.5))),
    )
    assert stated(zone_map, 9, 9) == pytest.approx(2.5, rel=0.1)


@pytest.mark.parametrize(
    ("pickup", "dropoff"),
    [
        pytest.param([], [], id="no trips"),
        pytest.param([5], [5], id="one zone"),
        pytest.param([5, 6], [6, 5], id="one pair"),
        pytest.param([5, 6, 9, 10], [6, 5, 10, 9], id="two parts that no trip joins"),
        pytest.param([0, 265, 5], [265, 0, 6], id="unknown zones"),
    ],
)
def test_few_or_no_trips_give_a_finite_map(pickup: list[int], dropoff: list[int]) -> None:
    log_miles = np.log(np.arange(1.0, len(pickup) + 1.0))
    zone_map = map_of(np.array(pickup, dtype=int), np.array(dropoff, dtype=int), log_miles)
    assert np.isfinite(zone_map.points).all()
    assert np.isfinite(zone_map.log_miles).all()
    assert np.isfinite(zone_map.usual_log_miles).all()
    assert np.isfinite(zone_map.neighbours(1.6)).all()
    assert stated(zone_map, 200, 201) < 100.0


def test_trips_without_a_distance_do_not_change_the_map() -> None:
    pickup, dropoff, log_miles = trips_in_town(300)
    silent = np.full(100, np.nan)
    with_silent = map_of(
        np.append(pickup, pickup[:100]),
        np.append(dropoff, dropoff[:100]),
        np.append(log_miles, silent),
    )
    without = map_of(pickup, dropoff, log_miles)
    np.testing.assert_array_equal(with_silent.usual_log_miles, without.usual_log_miles)


def test_near_zones_are_neighbours_and_far_ones_are_not() -> None:
    zone_map = map_of(*trips_in_town(1500))
    kernel = zone_map.neighbours(1.6)
    apart = np.linalg.norm(TOWN[:, None] - TOWN[None], axis=2)
    inside = kernel[1:41, 1:41]
    assert inside[(apart < 1.0) & (apart > 0)].min() > 0.5
    assert inside[apart > 6.0].max() < 0.1
