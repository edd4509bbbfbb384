"""Opening the source that ML_ASSETS_TRIPS names."""

import subprocess
import sys
from pathlib import Path

import pytest

from ml_assets.ingestion.open_source import open_source
from ml_assets.ingestion.source import InvalidSource, published_filename
from ml_assets_tests.ingestion.conftest import JANUARY
from ml_assets_tests.ingestion.trip_server import TripServer


def test_each_value_opens_its_source(tmp_path: Path) -> None:
    opened = {
        trips: open_source(trips, "green")
        for trips in ("sample", "tlc", "https://example.org/trips", "memory://trips", str(tmp_path))
    }
    assert {trips: source.name for trips, source in opened.items()} == {t: t for t in opened}
    assert [trips for trips, source in opened.items() if source.synthetic] == ["sample"]


def test_opening_makes_no_network_request(server: TripServer) -> None:
    source = open_source(server.url, "green")
    assert server.received == []
    assert list(source.published([JANUARY])) == [JANUARY]


@pytest.mark.parametrize(
    "trips",
    ["", "  ", "http://", "https:///trips", "no-such-folder", "http://[::1/x", "http://h:x/"],
)
def test_a_wrong_value_is_one_line_naming_variable_value_and_what_is_allowed(trips: str) -> None:
    with pytest.raises(InvalidSource, match=r"^ML_ASSETS_TRIPS='.*allowed are sample, tlc, or .*$"):
        open_source(trips, "green")


def test_a_wrong_taxi_is_reported() -> None:
    with pytest.raises(ValueError, match="ML_ASSETS_TAXI='blue': allowed are green and yellow"):
        published_filename("blue", JANUARY)


def test_importing_the_package_imports_no_client() -> None:
    heavy = "{'requests', 'fsspec', 'ml_assets.trips.sample'}"
    code = f"import sys, ml_assets.ingestion.open_source; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
