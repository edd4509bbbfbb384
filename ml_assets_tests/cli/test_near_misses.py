"""Files that resemble months but are not read: every command names them."""

import json
import shutil

import pytest

from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets_tests.cli.calling import call
from ml_assets_tests.published_months import publish

FEBRUARY = ["--first", "2023-02", "--last", "2023-02"]
BOTH = ["--first", "2023-01", "--last", "2023-02"]
NEAR = "green_tripdata_2023-02-2.parquet"
MESSAGE = f"2023-02: {NEAR} is there, but only green_tripdata_2023-02.parquet is read: rename it"


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """A source with January, and February under another name."""
    published = tmp_path / "published"
    publish(published, Month(2023, 1))
    shutil.move(publish(published, Month(2023, 2)), published / NEAR)

    def called(*arguments, **environment):
        variables = {"ML_ASSETS_HOME": tmp_path / "home", "ML_ASSETS_TRIPS": published}
        return call(monkeypatch, capsys, list(arguments), variables | environment)

    return called


def test_a_run_without_any_of_its_months_fails_and_names_similar_files(cli):
    for arguments in (
        ["--ingest-only"],
        ["--ingest-only", "--json"],
        ["--ingest-only", "--dry-run"],
    ):
        answer = cli("run", *FEBRUARY, *arguments)
        assert (answer.status, answer.out) == (1, "")
        last = answer.err.splitlines()[-1]
        assert last.startswith("error: ")
        assert "has no green_tripdata_YYYY-MM.parquet of 2023-02" in last
        assert MESSAGE in last


def test_a_run_with_some_of_its_months_names_the_others_and_succeeds(cli, tmp_path):
    answer = cli("run", *BOTH, "--ingest-only")
    assert answer.status == 0
    assert f"! {MESSAGE}" in answer.err
    store = TripStore(str(tmp_path / "home"), "green", synthetic=False)
    assert store.months("trip_features") == [Month(2023, 1)]
    ahead = cli("run", *BOTH, "--ingest-only", "--dry-run")
    assert MESSAGE in ahead.out
    again = cli("run", "--first", "2023-01", "--last", "2023-01", "--ingest-only")
    assert (again.status, "2023-02" in again.err) == (0, False)


def test_the_overview_of_months_names_it(cli):
    assert MESSAGE in cli("months").out
    rows = {row["month"]: row for row in json.loads(cli("months", "--json").out)["months"]}
    assert rows["2023-02"]["not_read"] in MESSAGE
    assert "not_read" not in rows["2023-01"]
    assert "not_read" not in rows["2023-03"]


def test_the_other_taxi_is_named(cli):
    answer = cli("run", "--first", "2023-01", "--last", "2023-01", "--ingest-only",
                 ML_ASSETS_TAXI="yellow")  # fmt: skip
    assert answer.status == 1
    assert "of the other taxi: to read it, set ML_ASSETS_TAXI=green" in answer.err


def test_a_range_that_fails_does_not_block_other_ranges(cli, tmp_path):
    for number in (2, 4, 5):
        publish(tmp_path / "published", Month(2023, number))
    (tmp_path / "published" / "green_tripdata_2023-02.parquet").write_bytes(b"")
    answer = cli("run", "--first", "2023-02", "--last", "2023-05", "--exclude", "2023-03",
                 "--ingest-only")  # fmt: skip
    assert answer.status == 1
    assert "2023-02: " in answer.err
    store = TripStore(str(tmp_path / "home"), "green", synthetic=False)
    assert store.months("trip_features") == [Month(2023, 4), Month(2023, 5)]
