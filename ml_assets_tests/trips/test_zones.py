import numpy as np
import pytest

from ml_assets.trips.zones import (
    AIRPORT_ZONES,
    OUTSIDE_ZONE,
    UNKNOWN_ZONE,
    borough_by_location,
    taxi_zones,
)


def test_every_number_from_1_to_263_is_one_zone():
    zones = taxi_zones()
    assert zones["LocationID"].to_pylist() == list(range(1, 264))
    assert set(zones["borough"].to_pylist()) == {
        "Bronx",
        "Brooklyn",
        "EWR",
        "Manhattan",
        "Queens",
        "Staten Island",
    }


@pytest.mark.parametrize(
    ("location", "zone"), [(56, "Corona"), (57, "Corona"), (132, "JFK Airport")]
)
def test_numbers_are_those_of_published_trips(location, zone):
    assert taxi_zones()["zone"].to_pylist()[location - 1] == zone


def test_the_airport_zones_have_the_names_of_airports():
    names = taxi_zones()["zone"].to_pylist()
    assert all("Airport" in names[location - 1] for location in AIRPORT_ZONES)


def test_boroughs_can_be_looked_up_for_whole_columns():
    boroughs = borough_by_location()
    found = boroughs[np.array([1, 132, 74, 57, 0, UNKNOWN_ZONE, OUTSIDE_ZONE])]
    expected = ["EWR", "Queens", "Manhattan", "Queens", "Unknown", "Unknown", "Outside of NYC"]
    assert found.tolist() == expected


def test_the_shared_lookup_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        borough_by_location()[1] = "Atlantis"
