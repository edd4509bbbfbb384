"""The synthetic sample: reproducible, with the data errors of published months."""

import hashlib
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.trips.month import Month, months_between
from ml_assets.trips.sample import generate_month
from ml_assets.trips.sample.draws import Draws

JANUARY, SEPTEMBER = Month(2023, 1), Month(2023, 9)
TAXIS = ("green", "yellow")
# Change these only together with SAMPLE_SEED or the generator, and say so in the changelog.
RELEASED = (10030, "87f487bfc98da214")
RELEASED_UNIFORMS = [0.6503650825274381, 0.18061055628948414, 0.4377194115492054]


@cache
def month_of(year: int, number: int, taxi: str = "green") -> pa.Table:
    return generate_month(Month(year, number), taxi)


@cache
def nine_months() -> pa.Table:
    columns = ["lpep_pickup_datetime", "lpep_dropoff_datetime", "trip_distance", "fare_amount"]
    columns += ["PULocationID", "DOLocationID", "passenger_count", "VendorID"]
    months = months_between(JANUARY, SEPTEMBER)
    tables = [month_of(month.year, month.number).select(columns) for month in months]
    return pa.concat_tables(tables, promote_options="permissive")


def minutes_of(table: pa.Table, prefix: str = "lpep") -> np.ndarray:
    pickup = table[f"{prefix}_pickup_datetime"].to_numpy()
    return (table[f"{prefix}_dropoff_datetime"].to_numpy() - pickup) / np.timedelta64(60, "s")


class TestSameEverywhere:
    def test_a_month_is_the_same_each_time(self):
        assert generate_month(JANUARY).equals(generate_month(JANUARY), check_metadata=True)

    def test_a_month_does_not_depend_on_those_made_before(self):
        alone = generate_month(SEPTEMBER, rows_scale=0.1)
        generate_month(JANUARY, "yellow", rows_scale=0.1)
        assert generate_month(SEPTEMBER, rows_scale=0.1).equals(alone)

    def test_months_and_taxis_differ(self):
        january = month_of(2023, 1)["trip_distance"].slice(0, 500)
        assert not january.equals(month_of(2023, 2)["trip_distance"].slice(0, 500))
        assert not january.equals(month_of(2023, 1, "yellow")["trip_distance"].slice(0, 500))

    def test_january_2023_is_the_one_that_was_released(self):
        """The sample must be the same on every platform and with every NumPy version."""
        january = month_of(2023, 1)
        text = january.drop_columns(["ehail_fee"]).to_pylist()
        digest = hashlib.sha256(repr(text).encode()).hexdigest()
        assert (january.num_rows, digest[:16]) == RELEASED

    def test_raw_numbers_come_from_the_stable_stream(self):
        drawn = Draws("city").uniform(3)
        assert drawn.tolist() == RELEASED_UNIFORMS
        assert np.all((drawn > 0) & (drawn < 1))


class TestPublishedShape:
    @pytest.mark.parametrize("month", [JANUARY, SEPTEMBER])
    def test_columns_and_types_are_those_of_the_real_file(self, real_trips, month):
        published = pq.read_schema(real_trips / f"green_tripdata_{month}.parquet")
        sample = generate_month(month, rows_scale=0.01).schema
        assert sample.remove_metadata().equals(published.remove_metadata())

    def test_the_sample_says_that_it_is_one(self):
        assert month_of(2023, 1).schema.metadata == {b"ml_assets": b"synthetic sample"}

    @pytest.mark.parametrize("taxi", TAXIS)
    def test_the_charge_for_the_inner_city_comes_last_from_2025(self, taxi):
        before = generate_month(Month(2024, 12), taxi, 0.01).schema.names
        after = generate_month(Month(2025, 1), taxi, 0.01).schema.names
        assert after == [*before, "cbd_congestion_fee"]

    def test_yellow_files_rename_the_airport_fee(self):
        january = generate_month(JANUARY, "yellow", 0.01).schema.names
        february = generate_month(Month(2023, 2), "yellow", 0.01).schema.names
        assert (january[1], january[-1]) == ("tpep_pickup_datetime", "airport_fee")
        assert february[-1] == "Airport_fee"

    def test_green_months_are_small_and_vary(self):
        rows = [month_of(2023, number).num_rows for number in range(1, 13)]
        assert 8_400 <= min(rows) < max(rows) <= 10_800
        assert len(set(rows)) > 6

    def test_rows_scale_multiplies_the_rows(self):
        rows = generate_month(SEPTEMBER, rows_scale=0.5).num_rows
        assert rows == pytest.approx(month_of(2023, 9).num_rows / 2, rel=0.02)

    def test_rows_go_by_the_hour_with_dispatched_trips_last(self):
        table = month_of(2023, 5)
        blank = table["passenger_count"].is_null().to_numpy(zero_copy_only=False)
        assert not np.any(blank[:-1] & ~blank[1:])
        hours = table["lpep_pickup_datetime"].to_numpy().astype("datetime64[h]")[~blank]
        assert np.mean(np.diff(hours).astype(int) >= 0) > 0.999

    def test_totals_are_sums(self):
        table = month_of(2025, 6).to_pandas()
        hailed = table[table["passenger_count"].notna()]
        parts = ["fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount"]
        parts += ["improvement_surcharge", "congestion_surcharge", "cbd_congestion_fee"]
        np.testing.assert_allclose(hailed[parts].sum(axis=1), hailed["total_amount"], atol=0.006)

    @settings(max_examples=25, deadline=None)
    @given(
        month=st.builds(Month, st.integers(2015, 2035), st.integers(1, 12)),
        taxi=st.sampled_from(TAXIS),
        scale=st.sampled_from([1e-6, 0.003, 0.02]),
    )
    def test_any_month_can_be_had(self, month, taxi, scale):
        table = generate_month(month, taxi, scale)
        table.validate(full=True)
        assert table.num_rows >= 1
        for column in ("PULocationID", "DOLocationID"):
            assert pc.min(table[column]).as_py() >= 1
            assert pc.max(table[column]).as_py() <= 265
        assert table["trip_distance"].null_count == table["fare_amount"].null_count == 0
        assert np.isfinite(table["total_amount"].to_numpy()).all()

    def test_wrong_arguments_say_what_is_allowed(self):
        with pytest.raises(ValueError, match="'blue'.*green and yellow"):
            generate_month(JANUARY, "blue")
        with pytest.raises(ValueError, match="rows_scale is 0.*above 0"):
            generate_month(JANUARY, rows_scale=0)


class TestDataErrors:
    """Bands around the shares in the nine published months January to September 2023."""

    @staticmethod
    def share(which: np.ndarray | pa.ChunkedArray) -> float:
        return float(np.mean(np.asarray(which)))

    def test_trips_too_short_and_too_long(self):
        minutes = minutes_of(nine_months())
        assert 0.022 < self.share(minutes < 1) < 0.034
        assert 0.009 < self.share(minutes > 60) < 0.018
        overnight = minutes[minutes > 1_000]
        assert 0.0015 < len(overnight) / len(minutes) < 0.0045
        assert 1_380 < np.median(overnight) < overnight.max() < 1_440

    def test_distances_of_nothing_and_beyond_reason(self):
        miles = nine_months()["trip_distance"].to_numpy()
        assert 0.042 < self.share(miles == 0) < 0.056
        assert 0.0003 < self.share(miles > 1_000) < 0.0014
        assert miles.max() > 30_000
        assert miles.min() == 0

    def test_rows_without_passengers_lack_all_that_dispatchers_do_not_report(self):
        table = month_of(2023, 3)
        blank = table["passenger_count"].is_null()
        assert 0.05 < self.share(blank) < 0.09
        for column in ("RatecodeID", "store_and_fwd_flag", "payment_type", "congestion_surcharge"):
            assert table[column].is_null().equals(blank)

    def test_zones_beyond_the_map(self):
        zones = nine_months()["DOLocationID"].to_numpy()
        assert 0.005 < self.share(zones == 264) < 0.011
        assert 0.003 < self.share(zones == 265) < 0.007

    def test_refunds_stand_before_the_trip_that_they_take_back(self):
        table = nine_months()
        fares = table["fare_amount"].to_numpy()
        refunds = np.flatnonzero(fares < 0)
        assert 0.0015 < len(refunds) / len(fares) < 0.0042
        np.testing.assert_allclose(fares[refunds + 1], -fares[refunds])
        for column in ("lpep_pickup_datetime", "PULocationID", "trip_distance"):
            values = table[column].to_numpy()
            assert np.array_equal(values[refunds], values[refunds + 1])

    def test_no_row_is_published_twice(self):
        table = month_of(2023, 4).drop_columns(["ehail_fee"])
        assert not table.to_pandas().duplicated().any()

    def test_every_month_has_a_handful_of_strays_and_some_years_off(self):
        years_off = 0
        for month in months_between(Month(2023, 1), Month(2024, 12)):
            pickup = month_of(month.year, month.number)["lpep_pickup_datetime"].to_numpy()
            outside = (pickup < np.datetime64(month.start)) | (pickup >= np.datetime64(month.end))
            assert 1 <= outside.sum() <= 12
            years_off += int((pickup < np.datetime64("2010-01-01")).sum())
        assert 2 <= years_off <= 16

    def test_clocks_that_change_make_trips_an_hour_longer_or_negative(self):
        march, november = month_of(2023, 3), month_of(2023, 11)
        gap = march["lpep_pickup_datetime"].to_numpy().astype("datetime64[h]")
        assert not np.any(gap == np.datetime64("2023-03-12T02"))
        assert np.any(minutes_of(november) < 0)
        assert not np.any(minutes_of(month_of(2023, 6)) < 0)

    def test_real_months_have_the_same_shares(self, real_trips):
        """Check the assumed shares of data errors against the published files."""
        columns = ["lpep_pickup_datetime", "lpep_dropoff_datetime", "trip_distance"]
        columns += ["passenger_count"]
        files = [real_trips / f"green_tripdata_2023-0{number}.parquet" for number in range(1, 10)]
        real = pa.concat_tables(
            [pq.read_table(file, columns=columns) for file in files],
            promote_options="permissive",
        )
        for measure in (
            lambda table: self.share(minutes_of(table) < 1),
            lambda table: self.share(minutes_of(table) > 60),
            lambda table: self.share(table["trip_distance"].to_numpy() == 0),
            lambda table: self.share(table["passenger_count"].is_null()),
        ):
            assert measure(nine_months()) == pytest.approx(measure(real), rel=0.2)
        for quantile in (0.1, 0.25, 0.5, 0.75, 0.9, 0.95):
            for values in (minutes_of, lambda table: table["trip_distance"].to_numpy()):
                sample, published = (
                    np.quantile(values(table), quantile) for table in (nine_months(), real)
                )
                assert sample == pytest.approx(published, rel=0.12)
