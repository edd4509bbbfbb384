"""The profile of a whole month: its columns, histograms, days and hours."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.monitoring.data_profile.measure import (
    MAX_COLUMNS,
    MILES_EDGES,
    MINUTES_EDGES,
    histogram,
    measure_file,
)
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MonthLimits
from ml_assets_tests.published_months import publish, published_month

MONTH = Month(2023, 2)
ROWS = 200


@pytest.fixture
def measure(tmp_path):
    """Publish a month with these columns, and measure it."""

    def measured(rows=ROWS, limits=None, taxi="green", **overrides):
        table = published_month(MONTH, rows, taxi, **overrides)
        return measure_file(publish(tmp_path, MONTH, table, taxi), taxi, MONTH, limits)

    return measured


def column(measured, name):
    return next(each for each in measured["columns"] if each.name == name)


def test_every_published_column_is_profiled_in_the_order_of_the_file(measure):
    measured = measure()
    assert [each.name for each in measured["columns"]] == published_month(MONTH).column_names
    assert measured["unread_columns"] == {}
    assert all(each.rows == ROWS for each in measured["columns"])


def test_a_column_without_values_shifts_no_other(measure):
    """As the green ``ehail_fee``; an all-null column must not move the figures of the next one."""
    empty = measure(extra=pa.nulls(ROWS), trip_type=np.arange(ROWS))
    without = measure(trip_type=np.arange(ROWS))
    assert column(empty, "extra").all_missing and column(empty, "ehail_fee").all_missing
    others = [each for each in empty["columns"] if each.name != "extra"]
    assert others == without["columns"]


def test_columns_of_a_later_schema_are_profiled_too(measure):
    measured = measure(cbd_congestion_fee=np.full(ROWS, 0.75), airport_flag=["Y"] * ROWS)
    assert column(measured, "cbd_congestion_fee").constant
    assert column(measured, "airport_flag").frequent[0].value == "Y"


def test_columns_that_cannot_be_profiled_are_named_and_the_others_profiled(tmp_path):
    table = published_month(MONTH)
    for name, values in (
        ("nested", pa.array([[1]] * ROWS)),
        ("VendorID", pa.array([1] * ROWS)),
        ("fee", pa.array([1] * ROWS)),
        ("fee.part", pa.array([1] * ROWS)),
        *[(f"more_{number}", pa.array([1] * ROWS)) for number in range(120)],
    ):
        table = table.append_column(name, values)
    measured = measure_file(publish(tmp_path, MONTH, table), "green", MONTH)
    unread = measured["unread_columns"]
    assert "list" in unread["nested"]
    assert unread["VendorID"] == "the file has 2 columns of this name"
    assert "begins with this name and a dot" in unread["fee"]
    assert f"first {MAX_COLUMNS} columns" in unread["more_119"]
    assert column(measured, "fee.part").constant
    assert len(measured["columns"]) == MAX_COLUMNS - 4  # both VendorID, fee and nested


def test_a_column_that_would_fill_the_memory_is_not_read(measure):
    texts = pa.array([str(number) * 200 for number in range(ROWS)])
    measured = measure(limits=MonthLimits("green", ROWS), note=texts)
    assert "bytes when it is decoded" in measured["unread_columns"]["note"]
    assert len(measured["columns"]) == len(published_month(MONTH).column_names)


def test_a_damaged_column_that_the_project_does_not_need_is_named(tmp_path):
    path = tmp_path / "green_tripdata_2023-02.parquet"
    table = published_month(MONTH)
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    place = table.column_names.index("total_amount")
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(place)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size - 8] ^= 255
    path.write_bytes(content)
    measured = measure_file(path, "green", MONTH)
    assert "CRC" in measured["unread_columns"]["total_amount"]
    assert column(measured, "payment_type").constant


def test_a_month_without_rows_has_columns_and_no_figures(measure):
    measured = measure(rows=0)
    assert measured["rows"] == 0
    assert [each.numbers for each in measured["columns"]] == [None] * len(measured["columns"])
    assert measured["distance"].rows == measured["duration"].rows == 0
    assert measured["day_trips"] == [0] * 28 and measured["hour_of_week_trips"] == [0] * 168


def test_days_and_hours_are_those_of_the_pickups_in_the_month(measure):
    # 2023-02-06 is a Monday.
    times = [datetime(2023, 2, 6, 0, 30), datetime(2023, 2, 6, 0, 59), datetime(2023, 2, 12, 23),
             datetime(2009, 1, 1), datetime(2023, 3, 1), None]  # fmt: skip
    measured = measure(rows=6, pickup=pa.array(times, pa.timestamp("us")))
    days = measured["day_trips"]
    assert (days[5], days[11], sum(days), len(days)) == (2, 1, 3, 28)
    hours = measured["hour_of_week_trips"]
    assert (hours[0], hours[167], sum(hours), len(hours)) == (2, 1, 3, 168)
    assert (measured["outside_month"], measured["without_pickup"]) == (2, 1)


def test_the_longest_trip_is_in_the_overflow_and_widens_no_bin(measure):
    miles = np.array([0.0, 0.49, 0.5, 1.8, 29.99, 30.0, 201_421.0, -1.0, np.nan, np.inf])
    found = measure(rows=10, trip_distance=miles)["distance"]
    assert (found.unit, found.edges[:3], found.edges[-1]) == ("miles", [0.0, 0.5, 1.0], 30.0)
    assert found.counts[:4] == [2, 1, 0, 1] and found.counts[-1] == 1
    assert (found.below, found.overflow, found.missing, found.rows) == (1, 3, 1, 10)


def test_durations_are_binned_by_whole_minutes(measure):
    starts = [datetime(2023, 2, 1)] * 7
    minutes = [0, 0.99, 1, 60, 89.9, 90, -5]
    ends = [at + timedelta(minutes=length) for at, length in zip(starts, minutes, strict=True)]
    found = measure(
        rows=7, pickup=pa.array(starts, pa.timestamp("us")), dropoff=pa.array(ends, pa.timestamp("us"))
    )["duration"]  # fmt: skip
    assert (found.counts[0], found.counts[1], found.counts[60], found.counts[89]) == (2, 1, 1, 1)
    assert (found.below, found.overflow, found.missing, found.rows) == (1, 1, 0, 7)


def test_yellow_trips_and_passengers_of_no_type_are_profiled(measure):
    measured = measure(taxi="yellow", passenger_count=pa.nulls(ROWS))
    assert column(measured, "passenger_count").all_missing
    assert measured["duration"].rows == ROWS


@given(
    st.lists(st.none() | st.floats(), max_size=50),
    st.sampled_from([MILES_EDGES, MINUTES_EDGES]),
)
def test_a_histogram_adds_up_to_the_rows(values, edges):
    found = histogram(pl.Series(values, dtype=pl.Float64), edges, "miles")
    assert len(found.counts) == len(edges) - 1
    assert found.rows == len(values)
    assert found.missing == sum(value is None or value != value for value in values)
    below = [value for value in values if value is not None and value < edges[0]]
    assert found.below == len(below)


def test_the_figures_of_a_real_month_are_those_of_its_file(real_trips: Path):
    measured = measure_file(real_trips / "green_tripdata_2023-01.parquet", "green", Month(2023, 1))
    assert (measured["rows"], len(measured["columns"])) == (68_211, 20)
    assert [each.name for each in measured["columns"] if each.all_missing] == ["ehail_fee"]
    distance = column(measured, "trip_distance")
    assert (distance.unique, distance.frequent[0].value, distance.frequent[0].count) == (1870, 0, 3350)  # fmt: skip
    published = pl.read_parquet(real_trips / "green_tripdata_2023-01.parquet")
    assert distance.numbers is not None
    assert distance.numbers.mean == pytest.approx(published["trip_distance"].mean())
    assert distance.numbers.maximum == published["trip_distance"].max()
    flag = column(measured, "store_and_fwd_flag")
    assert [(each.value, each.count) for each in flag.frequent] == [("N", 63_579), ("Y", 308)]
    assert flag.missing == column(measured, "passenger_count").missing == 4324
    assert (measured["distance"].counts[:4], measured["distance"].overflow) == ([5516, 8557, 12524, 10093], 63)  # fmt: skip
    assert (measured["duration"].counts[0], measured["duration"].overflow) == (1645, 330)
    assert (measured["outside_month"], sum(measured["day_trips"])) == (4, 68_207)
    assert measured["day_trips"][:3] == [1463, 1564, 2125]
    assert measured["distance"].rows == measured["duration"].rows == 68_211
    assert sum(measured["hour_of_week_trips"]) == 68_207
    for each in measured["columns"]:
        counted = sum(value.count for value in each.frequent)
        assert counted + each.other + each.missing + each.not_finite == each.rows
