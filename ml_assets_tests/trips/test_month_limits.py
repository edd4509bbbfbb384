"""A file that is larger than a month can be is rejected before it is decoded."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_assets.trips.cleaning import read_published
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MAX_ROWS, MonthLimits, check_pages
from ml_assets.trips.published_schema import (
    TripSchemaError,
    published_columns,
    verify_published_file,
)
from ml_assets_tests.malformed_months import LIES
from ml_assets_tests.published_months import published_month

JANUARY = Month(2023, 1)
NEEDED = [column.published for column in published_columns("green")]
MEGABYTE = 2**20
MAX_MEGABYTES = 50
"""Limit of Arrow's memory; reading the bomb takes 1,400."""

_READ = """
import sys
from pathlib import Path
import pyarrow as pa
from ml_assets.trips.cleaning import read_published
from ml_assets.trips.month import Month
from ml_assets.trips.published_schema import TripSchemaError, verify_published_file
path = Path(sys.argv[1])
for read in (
    lambda: verify_published_file(path, "green"),
    lambda: read_published(path, "green", Month(2023, 1), path.name),
):
    try:
        read()
    except TripSchemaError as error:
        print(error)
print(pa.default_memory_pool().max_memory())
"""


@pytest.fixture(scope="module")
def bomb(tmp_path_factory):
    """A file of 24 million equal rows in less than 2 MB."""
    path = tmp_path_factory.mktemp("bomb") / "green_tripdata_2023-01.parquet"
    trip, rows = published_month(JANUARY, 1).select(NEEDED), 2_000_000
    same = pa.table({name: pa.repeat(trip[name][0], rows) for name in NEEDED})
    with pq.ParquetWriter(path, same.schema, compression="zstd") as writer:
        for _ in range(12):
            writer.write_table(same, row_group_size=rows)
    assert path.stat().st_size < 2 * MEGABYTE
    return path


def test_a_row_bomb_is_rejected_by_its_footer_and_takes_no_memory(bomb):
    command = [sys.executable, "-c", _READ, str(bomb)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    *rejection_reasons, peak = lines
    assert len(rejection_reasons) == 2
    for line in rejection_reasons:
        assert "green_tripdata_2023-01.parquet" in line
        assert "is too large: it has 24,000,000 rows, more than the 3,000,000 rows" in line
        assert "ML_ASSETS_MAX_MONTH_ROWS" in line
    assert int(peak) < MAX_MEGABYTES * MEGABYTE


def test_the_limit_is_that_of_the_taxi_or_of_the_setting(tmp_path):
    path = tmp_path / "month.parquet"
    pq.write_table(published_month(JANUARY, 200), path)
    verify_published_file(path, "green")
    verify_published_file(path, "green", MonthLimits.of("green", 200))
    with pytest.raises(TripSchemaError, match="200 rows, more than the 199 rows"):
        verify_published_file(path, "green", MonthLimits.of("green", 199))
    with pytest.raises(TripSchemaError, match="200 rows, more than the 199 rows"):
        read_published(path, "green", JANUARY, path.name, MonthLimits.of("green", 199))
    assert MAX_ROWS["green"] > 1_800_000  # the largest published months
    assert MAX_ROWS["yellow"] > 16_200_000


def test_a_page_that_decodes_to_more_than_the_footer_says_is_rejected_unread(tmp_path):
    path = tmp_path / "month.parquet"
    LIES["bytes of a page"].write(path, JANUARY)  # 8,127 bytes for 60 numbers
    with pytest.raises(TripSchemaError, match="column PULocationID takes 8,127 bytes") as error:
        verify_published_file(path, "green", MonthLimits.of("green", 100))
    assert "more than the 1,600 bytes for 100 rows" in str(error.value)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_the_pages_of_any_writer_are_found(tmp_path, version, dictionary):
    path = tmp_path / "month.parquet"
    table = published_month(JANUARY, 5_000)
    pq.write_table(
        table,
        path,
        data_page_version=version,
        use_dictionary=dictionary,
        data_page_size=500,
        row_group_size=900,
        write_page_index=True,
        use_deprecated_int96_timestamps=True,
    )
    check_pages(path, NEEDED, MonthLimits.of("green", 5_000))


def test_real_months_are_far_below_the_limits(real_trips):
    for path in sorted(real_trips.glob("green_tripdata_*.parquet"))[:3]:
        check_pages(path, NEEDED, MonthLimits.of("green", 100_000))
