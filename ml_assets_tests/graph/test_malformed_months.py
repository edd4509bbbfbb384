"""Each malformed monthly file is ingested as expected, or refused alone and in one line."""

import logging
import shutil

import pytest

from ml_assets.monitoring.data_profile.measure import DataProfiles
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MonthLimits
from ml_assets_tests.graph.test_ingestion import failure, store_of
from ml_assets_tests.malformed_months import CASES
from ml_assets_tests.project import open_project, settings_for
from ml_assets_tests.published_months import publish

FIRST = Month(2010, 1)
MONTHS = {name: FIRST.shift(number) for number, name in enumerate(CASES, start=1)}
LAST = FIRST.shift(len(CASES) + 1)
MAX_LINE = 4_000


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """All cases between two good months: the failure of one run over them, and the project.

    The files that were refused are then taken away, and the run is repeated.
    """
    folder = tmp_path_factory.mktemp("published")
    for month in (FIRST, LAST):
        publish(folder, month)
    for name, month in MONTHS.items():
        CASES[name].write(folder / f"green_tripdata_{month}.parquet", month)
    home = tmp_path_factory.mktemp("home")
    settings = settings_for(home, folder, ML_ASSETS_FIRST_MONTH=str(FIRST))
    with open_project(settings) as project:
        run = project.ingest(str(FIRST), str(LAST))
        assert not run.success
        message = failure(run, "raw_trips")
        logged = [
            entry.user_message
            for entry in project.instance.all_logs(run.run_id)
            if entry.level == logging.ERROR
        ]
        for name, month in MONTHS.items():
            if CASES[name].kept is None:
                file = folder / f"green_tripdata_{month}.parquet"
                shutil.rmtree(file) if file.is_dir() else file.unlink()
        again = project.ingest(str(FIRST), str(LAST))
        tables = [event.step_key for event in again.all_events if event.is_step_success]
        yield project, message, logged, tables


def test_the_months_around_them_are_ingested(ingested):
    project, message, _, tables = ingested
    refused = sum(case.kept is None for case in CASES.values())
    assert f"{refused} of {len(CASES) + 2} months could not be ingested" in message
    assert {"raw_trips", "trip_features", "rejected_trips"} <= {*tables}
    for month in (FIRST, LAST):
        assert store_of(project).read_table("trip_features", month).height == 200


@pytest.mark.parametrize("name", CASES)
def test_a_malformed_month_is_ingested_or_refused(ingested, name):
    project, message, logged, _ = ingested
    case, month, store = CASES[name], MONTHS[name], store_of(project)
    if case.kept is None:
        (line,) = (text for text in logged if text.startswith(f"{month}: "))
        assert f"{month}: " in message
        assert f"green_tripdata_{month}.parquet" in line
        assert case.fault in line
        assert line.isprintable()
        assert len(line) < MAX_LINE
        assert store.raw_record(month) is None
        return
    assert f"{month}: " not in message
    assert store.read_table("trip_features", month).height == case.kept
    reasons = store.read_table("rejected_trips", month)["reason"].value_counts()
    assert dict(reasons.iter_rows()) == case.rejected
    shown = project.metadata("raw_trips", str(month))
    assert "not_shown" not in shown
    assert "not_shown" not in project.metadata("trip_features", str(month))
    assert "not_shown" not in project.metadata("rejected_trips", str(month))
    assert "not_shown" not in project.metadata("data_profile", str(month))
    profile = DataProfiles(store, MonthLimits.of("green")).find(month)
    assert profile is not None
    counted = {reason: rows for reason, rows in profile.rejected.items() if rows}
    assert (profile.kept, counted) == (case.kept, case.rejected)
    assert profile.distance.rows == profile.duration.rows == profile.rows
    assert len(profile.columns) >= 6, "those that the project reads, at least"
