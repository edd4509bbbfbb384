"""Names of request fields, by one rule for every interface."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ml_assets.requests.fields import (
    field_of,
    looks_like,
    match_names,
    quoted_name,
    unknown_field,
)
from ml_assets.requests.parse import InvalidRequest, Request, parse_request
from ml_assets.trips.request_columns import REQUEST_COLUMNS

GOOD = {
    "PULocationID": 74,
    "DOLocationID": 75,
    "trip_distance": 2.5,
    "pickup_datetime": "2024-05-06T17:30",
    "passenger_count": 2,
}
PUBLISHED = [
    "VendorID",
    "lpep_pickup_datetime",
    "lpep_dropoff_datetime",
    "tpep_pickup_datetime",
    "tpep_dropoff_datetime",
    "store_and_fwd_flag",
    "RatecodeID",
    "PULocationID",
    "DOLocationID",
    "passenger_count",
    "trip_distance",
    "fare_amount",
    "extra",
    "mta_tax",
    "tip_amount",
    "tolls_amount",
    "ehail_fee",
    "improvement_surcharge",
    "total_amount",
    "payment_type",
    "trip_type",
    "congestion_surcharge",
    "airport_fee",
    "Airport_fee",
    "cbd_congestion_fee",
]
"""Every column of green and yellow files since 2019."""
OWN = ["trip_id", "duration_minutes", "note", "id", "driver", "dropoff_datetime", "dropoff_time"]


@pytest.mark.parametrize("name", [*PUBLISHED, *OWN])
def test_a_published_column_is_a_field_or_resembles_none(name):
    """Also in a file without the optional fields, where a weaker resemblance counts."""
    if field_of(name) is None:
        assert looks_like(name, REQUEST_COLUMNS) is None


def test_the_published_names_are_those_of_ingestion():
    from ml_assets.trips.published_schema import TAXIS, published_columns

    for taxi in TAXIS:
        for column in published_columns(taxi):
            expected = column.project if column.project in REQUEST_COLUMNS else None
            assert field_of(column.published) == expected
            assert field_of(column.published.upper()) == expected


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("pickup_time", "pickup_datetime"),
        ("Pickup Datetime", "pickup_datetime"),
        ("pickup", "pickup_datetime"),
        ("trip-pickup-datetime", "pickup_datetime"),
        ("passengers", "passenger_count"),
        ("num_passengers", "passenger_count"),
        ("PassengerCount", "passenger_count"),
        ("PU_location", "PULocationID"),
        ("pickup_zone", "PULocationID"),
        ("PULocation", "PULocationID"),
        (" PULocationID", "PULocationID"),
        ("DO_Zone", "DOLocationID"),
        ("dropoff_location_id", "DOLocationID"),
        ("trip distance", "trip_distance"),
    ],
)
def test_a_clear_name_looks_like_its_field_always(name, field):
    assert field_of(name) is None
    assert looks_like(name) == field
    assert unknown_field(name).endswith(f"did you mean {field}?")


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("time", "pickup_datetime"),
        ("start_time", "pickup_datetime"),
        ("pikup_datetime", "pickup_datetime"),
        ("passanger_count", "passenger_count"),
        ("pax", "passenger_count"),
        ("miles", "trip_distance"),
        ("distance", "trip_distance"),
        ("PU", "PULocationID"),
        ("destination", "DOLocationID"),
    ],
)
def test_a_possible_name_looks_like_its_field_only_if_absent(name, field):
    assert looks_like(name) is None
    assert looks_like(name, [field]) == field
    assert looks_like(name, [other for other in REQUEST_COLUMNS if other != field]) is None
    assert unknown_field(name).endswith(f"did you mean {field}?")


def test_a_name_unlike_any_field_lists_all_fields():
    assert unknown_field("fare").endswith(f"the fields are {', '.join(REQUEST_COLUMNS)}")


@pytest.mark.parametrize("name", ["x" * 10**6, "a\nb\x1b[31m\u202e", "\ufeffid", "\ud800"])
def test_a_quoted_name_is_short_printable_and_on_one_line(name):
    for text in (quoted_name(name), unknown_field(name)):
        assert len(text) < 250
        assert text.isprintable()


def cased(name):
    letters = [st.sampled_from([letter.lower(), letter.upper()]) for letter in name]
    return st.tuples(*letters).map("".join)


SPELLINGS = {field: [field] for field in REQUEST_COLUMNS}
SPELLINGS["pickup_datetime"] += ["lpep_pickup_datetime", "tpep_pickup_datetime"]


@given(
    st.fixed_dictionaries(
        {field: st.sampled_from(names).flatmap(cased) for field, names in SPELLINGS.items()}
    ),
    st.randoms(),
)
@example({field: field for field in REQUEST_COLUMNS} | {"pickup_datetime": "lpep_pickup_datetime"},
         None)  # fmt: skip
def test_spelling_and_order_of_names_do_not_matter(spelling, random):
    items = [(spelling[field], value) for field, value in GOOD.items()]
    if random is not None:
        random.shuffle(items)
    assert parse_request(dict(items)) == parse_request(GOOD)


def test_a_problem_has_the_name_of_the_request():
    found = parse_request({**GOOD, "pulocationid": 74, "PULocationID": 301, "pickup_time": 1})
    assert isinstance(found, InvalidRequest)
    assert [error.field for error in found.errors] == ["PULocationID", "pulocationid"]
    assert found.unknown == ("pickup_time",)
    assert found.count == 3
    lower = {name.lower(): value for name, value in GOOD.items()} | {"dolocationid": 0}
    (error,) = parse_request(lower).errors
    assert error.field == "dolocationid"
    assert error.message.startswith("DOLocationID must be ")


@pytest.mark.parametrize("second", ["tpep_pickup_datetime", "PICKUP_DATETIME"])
def test_a_field_with_two_names_is_rejected_even_if_equal(second):
    found = parse_request({**GOOD, second: GOOD["pickup_datetime"]})
    assert isinstance(found, InvalidRequest)
    ((field, message),) = found.errors
    assert field == second
    assert message == f"'pickup_datetime' and {second!r} both mean pickup_datetime: remove one"


@given(st.text(max_size=30))
@example("PULocationİD")
def test_a_request_with_another_name_is_parsed_or_rejected(name):
    found = parse_request({**GOOD, name: None})
    if field_of(name) is None:
        assert found == InvalidRequest((), (name,))
        assert unknown_field(name)
    elif name not in GOOD:
        assert [error.field for error in found.errors] == [name]
    else:
        assert isinstance(found, Request | InvalidRequest)


def test_names_are_matched_in_their_order():
    matched = match_names(["note", "TRIP_DISTANCE", "trip_distance", "note2"])
    assert matched.name_of == {"trip_distance": "TRIP_DISTANCE"}
    assert matched.repeated == [("trip_distance", "TRIP_DISTANCE", "trip_distance")]
    assert matched.unknown == ["note", "note2"]
