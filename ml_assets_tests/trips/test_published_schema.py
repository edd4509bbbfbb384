"""Every variant of published files is accepted; errors name column, type and month."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_assets.trips.cleaning import kept_trips, read_published, rejected_trips
from ml_assets.trips.month import Month
from ml_assets.trips.published_schema import TripSchemaError, verify_published_file
from ml_assets.trips.target import FEATURE_COLUMNS
from ml_assets_tests.published_months import publish, published_month

JANUARY = Month(2023, 1)
ROWS = 40


def read(table, taxi="green"):
    file = io.BytesIO()
    pq.write_table(table, file)
    file.seek(0)
    return read_published(file, taxi, JANUARY, f"{taxi}_tripdata_2023-01.parquet")


def kept(table, taxi="green"):
    return kept_trips(read(table, taxi), JANUARY)


def retyped(table, column, kind):
    place = table.schema.get_field_index(column)
    return table.set_column(place, column, table[column].cast(kind))


@pytest.fixture(scope="module")
def january():
    return published_month(JANUARY, ROWS)


@pytest.mark.parametrize("kind", [pa.int64(), pa.int32(), pa.int16(), pa.float64(), pa.float32()])
@pytest.mark.parametrize("column", ["PULocationID", "DOLocationID", "passenger_count"])
def test_numbers_of_every_width_give_the_same_trips(january, column, kind):
    assert kept(retyped(january, column, kind)).equals(kept(january))


@pytest.mark.parametrize("unit", ["ns", "us", "ms", "s"])
def test_times_of_every_resolution_give_the_same_trips(january, unit):
    whole = january
    for column in ("lpep_pickup_datetime", "lpep_dropoff_datetime"):
        seconds = january[column].cast(pa.timestamp("s"), safe=False)
        place = january.schema.get_field_index(column)
        whole = whole.set_column(place, column, seconds.cast(pa.timestamp("us")))
    varied = whole
    for column in ("lpep_pickup_datetime", "lpep_dropoff_datetime"):
        varied = retyped(varied, column, pa.timestamp(unit))
    assert kept(varied).equals(kept(whole))


@pytest.mark.parametrize(
    "others",
    [
        {"ehail_fee": pa.nulls(ROWS)},
        {"ehail_fee": pa.array([0.0] * ROWS)},
        {"ehail_fee": None, "cbd_congestion_fee": pa.array([0.75] * ROWS)},
        {"store_and_fwd_flag": pa.array(["N"] * ROWS, pa.large_string())},
        {"VendorID": None, "fare_amount": None},
        {"new_in_2031": pa.array([{"a": [1]}] * ROWS)},
    ],
)
def test_columns_that_the_project_does_not_read_may_be_anything(january, others):
    assert kept(published_month(JANUARY, ROWS, **others)).equals(kept(january))


@pytest.mark.parametrize("fee", ["Airport_fee", "airport_fee"])
def test_yellow_and_green_give_the_same_table(january, fee):
    yellow = published_month(
        JANUARY, ROWS, "yellow", **({"airport_fee": None} | {fee: [0.0] * ROWS})
    )
    assert kept(yellow, "yellow").equals(kept(january))
    assert kept(yellow, "yellow").columns == list(FEATURE_COLUMNS)


def test_letter_case_and_order_of_columns_do_not_matter(january):
    other = january.select(january.column_names[::-1])
    assert kept(other.rename_columns([name.upper() for name in other.column_names])).equals(
        kept(january)
    )


def test_a_month_without_passenger_counts_has_missing_values(january):
    for absent in (pa.nulls(ROWS), pa.nulls(ROWS, pa.float64())):
        trips = kept(published_month(JANUARY, ROWS, passenger_count=absent))
        assert trips.height == ROWS
        assert trips["passenger_count"].null_count() == ROWS


def test_a_month_without_rows_is_a_month_without_trips(january):
    for table in (january.slice(0, 0), published_month(JANUARY, 0)):
        published = read(table)
        assert kept_trips(published, JANUARY).height == 0
        assert rejected_trips(published, JANUARY).height == 0


@pytest.mark.parametrize(
    ("overrides", "column", "kind"),
    [
        ({"PULocationID": ["1"] * ROWS}, "PULocationID", "string"),
        ({"DOLocationID": pa.nulls(ROWS)}, "DOLocationID", "null"),
        ({"trip_distance": [True] * ROWS}, "trip_distance", "bool"),
        ({"trip_distance": pa.array([1] * ROWS, pa.decimal128(9, 2))}, "trip_distance", "decimal"),
        ({"pickup": ["2023-01-01 00:00:00"] * ROWS}, "lpep_pickup_datetime", "string"),
        ({"dropoff": [JANUARY.start.date()] * ROWS}, "lpep_dropoff_datetime", "date32"),
        ({"pickup": pa.array([0] * ROWS, pa.timestamp("us", "UTC"))}, "lpep_pickup", "tz=UTC"),
        ({"PULocationID": [{"zone": 1}] * ROWS}, "PULocationID", "struct"),
        ({"passenger_count": ["two"] * ROWS}, "passenger_count", "string"),
    ],
)
def test_a_column_of_another_type_is_named_with_its_type_and_month(overrides, column, kind):
    with pytest.raises(TripSchemaError) as error:
        read(published_month(JANUARY, ROWS, **overrides))
    for part in (column, kind, "2023-01", "green", "is needed", "ML_ASSETS_TAXI"):
        assert part in str(error.value)


def test_the_error_for_times_with_a_time_zone_names_it():
    with pytest.raises(TripSchemaError, match="a timestamp without time zone is needed"):
        read(published_month(JANUARY, 1, pickup=pa.array([0], pa.timestamp("us", "UTC"))))


def test_all_missing_and_renamed_columns_are_named_at_once(january):
    table = published_month(JANUARY, ROWS, PULocationID=None, trip_distance=None, miles=[1] * ROWS)
    with pytest.raises(TripSchemaError) as error:
        read(table)
    for part in ("column PULocationID is missing", "column trip_distance is missing", "miles"):
        assert part in str(error.value)


def test_a_file_of_the_other_taxi_is_rejected(january):
    with pytest.raises(TripSchemaError, match="not a file of yellow trips.*tpep_pickup_datetime"):
        read(january, "yellow")


def test_two_columns_of_one_name_are_rejected(january):
    for twin in ("trip_distance", "Trip_Distance"):
        table = january.append_column(twin, pa.array([9.0] * ROWS))
        with pytest.raises(TripSchemaError, match="column trip_distance is there 2 times"):
            read(table)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: b"VendorID,PULocationID\n1,2\n",
        lambda whole: b"PAR1",
        lambda whole: b"PAR1" + bytes(2000) + b"PAR1",
    ],
    ids=["zero bytes", "half", "last byte cut", "CSV", "4 bytes", "zeros inside"],
)
def test_the_error_for_a_damaged_file_names_month_and_way_out(tmp_path, damage):
    path = publish(tmp_path, JANUARY)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TripSchemaError) as error:
        verify_published_file(path, "green")
    assert path.name in str(error.value)
    assert "fetch the month again" in str(error.value)
    assert "\n" not in str(error.value)


def test_no_damaged_byte_causes_another_type_of_error(tmp_path):
    path = publish(tmp_path, JANUARY, published_month(JANUARY, ROWS))
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            verify_published_file(path, "green")
            read_published(path, "green", JANUARY, path.name)
        except TripSchemaError:
            continue  # the damage is either reported or in bytes that are not read
