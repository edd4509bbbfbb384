"""The asset ``data_profile``: measured once for a published file, and shown with its figures."""

import json
import uuid
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from ml_assets.config.settings import read_settings
from ml_assets.defs.monitoring.data_profile import DATA_PROFILE, HOW_TO_READ
from ml_assets.monitoring.data_profile.measure import DataProfiles
from ml_assets.monitoring.data_profile.records import DataProfile
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets.trips.month_limits import MonthLimits
from ml_assets_tests.defs.ticks import left_in_progress
from ml_assets_tests.project import RANGE_END, RANGE_START, Project, open_project, settings_for
from ml_assets_tests.published_months import publish, published_month

JANUARY, FEBRUARY, MARCH, APRIL = MONTHS = [Month(2023, number) for number in range(1, 5)]
ROWS = 200


def profiles_of(project: Project) -> DataProfiles:
    settings = project.settings
    store = TripStore(settings.home, settings.taxi, settings.synthetic)
    return DataProfiles(store, MonthLimits.of(settings.taxi))


def profile_of(project: Project, month: Month) -> DataProfile:
    found = profiles_of(project).find(month)
    assert found is not None
    return found


def profile_again(project: Project, first: Month, last: Month) -> dg.ExecuteInProcessResult:
    tags = {RANGE_START: str(first), RANGE_END: str(last)}
    return project.run("ingest_trips", selection=["data_profile"], tags=tags)


def shown(project: Project, month: Month) -> dict[str, Any]:
    return project.metadata("data_profile", str(month))


def damage_raw(project: Project, month: Month) -> None:
    """Overwrite the trips, and leave the size as it is."""
    path = profiles_of(project).store.raw_path(month)
    with open(path, "r+b") as file:
        size = len(file.read())
        file.seek(0)
        file.write(b"\0" * size)


def test_an_ingested_month_is_profiled_in_the_same_run(project, folder):
    for month in (JANUARY, FEBRUARY):
        publish(folder, month)
    assert project.ingest("2023-01", "2023-03").success
    january = profile_of(project, JANUARY)
    assert (january.rows, january.dataset, january.synthetic) == (ROWS, "green", False)
    assert sum(january.day_trips) == sum(january.hour_of_week_trips) == ROWS
    metadata = shown(project, JANUARY)
    assert metadata["status"] == "measured"
    assert metadata["dagster/row_count"] == metadata["kept"] == ROWS
    assert (metadata["columns"], metadata["columns_without_values"]) == (14, 1)
    assert (metadata["missing/ehail_fee"], metadata["missing/trip_distance"]) == (1.0, 0.0)
    distance = january.column("Trip_Distance")
    assert distance is not None and distance.numbers is not None
    assert metadata["median_miles"] == pytest.approx(distance.numbers.median)
    lines = metadata["profile"].splitlines()
    assert lines[0] == HOW_TO_READ
    assert lines[-1] == "| ehail\\_fee | null | all | 0 |  |  |  |  |  |"
    assert "not published" in shown(project, MARCH)["status"]
    assert profiles_of(project).find(MARCH) is None


def test_kept_and_rejected_rows_are_those_of_the_tables(project):
    with open_project(settings_for(project.settings.home)) as sample:
        assert sample.ingest("2023-01", "2023-02").success
        profile, store = profile_of(sample, FEBRUARY), profiles_of(sample).store
        reasons = store.read_table("rejected_trips", FEBRUARY)["reason"]
        assert profile.kept == store.lineage("trip_features", FEBRUARY)[1]
        counted = {reason: rows for reason, rows in profile.rejected.items() if rows}
        assert counted == dict(reasons.value_counts().iter_rows())
        assert profile.kept + sum(profile.rejected.values()) == profile.rows
        assert shown(sample, FEBRUARY)["trips"] == "synthetic sample"
        assert shown(sample, FEBRUARY)["rejected"] == len(reasons)


def test_the_trips_of_a_month_are_not_read_again(project, folder):
    for month in (JANUARY, FEBRUARY):
        publish(folder, month)
    assert project.ingest("2023-01", "2023-02").success
    before = profile_of(project, JANUARY)
    damage_raw(project, JANUARY)
    assert profile_again(project, JANUARY, FEBRUARY).success
    assert profile_of(project, JANUARY) == before
    assert shown(project, JANUARY)["status"].startswith("kept: measured before")
    assert shown(project, JANUARY)["kept"] == ROWS


def test_only_a_republished_month_is_measured_again(project, folder):
    for month in (JANUARY, FEBRUARY):
        publish(folder, month)
    assert project.ingest("2023-01", "2023-02").success
    before = profile_of(project, FEBRUARY)
    publish(folder, FEBRUARY, published_month(FEBRUARY, 300))
    assert project.ingest("2023-01", "2023-02").success
    assert (before.rows, profile_of(project, FEBRUARY).rows) == (ROWS, 300)
    every = profiles_of(project).all()
    assert [(each.month, each.rows) for each in every] == [("2023-01", ROWS), ("2023-02", 300)]
    assert [shown(project, month)["status"][:8] for month in (JANUARY, FEBRUARY)] == [
        "kept: me", "measured",
    ]  # fmt: skip


@pytest.mark.parametrize("change", ["other code", "an older version's fields", "cut"])
def test_a_profile_of_other_code_or_a_damaged_one_is_measured_again(project, folder, change):
    publish(folder, JANUARY)
    assert project.ingest("2023-01", "2023-01").success
    profiles = profiles_of(project)
    path, before = profiles.path(JANUARY), profile_of(project, JANUARY)
    with open(path, encoding="utf-8") as file:
        stored = json.load(file)
    if change == "other code":
        stored |= {"code": "00000000", "rows": 1}
    else:
        del stored["distance"]
    text = json.dumps(stored)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text[:50] if change == "cut" else text)
    assert profile_again(project, JANUARY, JANUARY).success
    update = {"measured_at": before.measured_at}
    assert profile_of(project, JANUARY).model_copy(update=update) == before


def test_a_month_of_rejected_rows_and_one_without_rows_are_profiled_though_checks_fail(
    project, folder
):
    february = published_month(FEBRUARY)
    at_once = february["lpep_pickup_datetime"].combine_chunks()
    publish(folder, JANUARY)
    publish(folder, FEBRUARY, published_month(FEBRUARY, dropoff=at_once))
    publish(folder, MARCH, published_month(MARCH, 0))
    assert not project.ingest("2023-01", "2023-03").success, "the checks reject both"
    rejected, empty = (profile_of(project, month) for month in (FEBRUARY, MARCH))
    assert (rejected.kept, rejected.rejected["under_one_minute"]) == (0, ROWS)
    assert rejected.duration.counts[0] == ROWS
    assert (empty.rows, empty.kept, sum(empty.rejected.values())) == (0, 0, 0)
    assert shown(project, FEBRUARY)["rejected/under_one_minute"] == ROWS
    assert shown(project, MARCH)["dagster/row_count"] == 0
    assert "not_shown" not in shown(project, MARCH)


def test_a_damaged_file_fails_alone_and_says_what_to_do(project, folder):
    for month in MONTHS:
        publish(folder, month)
    assert project.ingest("2023-01", "2023-04").success
    for month in MONTHS:
        Path(profiles_of(project).path(month)).unlink()
    damage_raw(project, FEBRUARY)
    run = profile_again(project, JANUARY, APRIL)
    assert not run.success
    error = run.failure_data_for_node("data_profile").error
    message = error.message + "".join(cause.message for cause in [error.cause] if cause)
    assert "1 of 4 months could not be profiled: 2023-02: " in message
    assert "fetch the month again" in message
    made = [event.partition for event in run.get_asset_materialization_events()]
    assert made == ["2023-01", "2023-03", "2023-04"]
    assert profile_of(project, APRIL).rows == ROWS


def test_nothing_in_a_value_or_name_is_read_as_markdown_or_html(project, folder):
    hostile = ["<script>alert(1)</script>", "a|b", "[x](http://x.y)", "`c`\n# d", "www.x.y"]
    name = "<img src=x>|\n# fee"
    table = published_month(JANUARY, store_and_fwd_flag=pa.array(hostile * 40))
    publish(folder, JANUARY, table.append_column(name, pa.array(["<b>"] * ROWS)))
    assert project.ingest("2023-01", "2023-01").success
    metadata = shown(project, JANUARY)
    table_lines = metadata["profile"].splitlines()[2:]
    assert len(table_lines) == 2 + metadata["columns"]
    for line in table_lines:
        assert line.replace("\\|", "").count("|") == 10, line
        assert "<" not in line.replace("\\<", "") and "[" not in line.replace("\\[", "")
        assert "http:/" not in line and "www." not in line
    assert "\\<b\\> (100.0%)" in table_lines[-1]


def test_a_month_in_a_remote_home_is_profiled(tmp_path, monkeypatch, folder):
    monkeypatch.setattr("ml_assets.config.settings.PROJECT_FOLDER", tmp_path)
    publish(folder, JANUARY)
    home = f"memory://{uuid.uuid4().hex}/home"
    settings = read_settings({"ML_ASSETS_HOME": home, "ML_ASSETS_TRIPS": str(folder)})
    with open_project(settings) as project:
        assert project.ingest("2023-01", "2023-01").success
        assert profile_of(project, JANUARY).distance.rows == ROWS


def test_yellow_months_are_profiled(tmp_path, folder):
    publish(folder, JANUARY, published_month(JANUARY, taxi="yellow"), taxi="yellow")
    settings = settings_for(tmp_path / "home", folder, ML_ASSETS_TAXI="yellow")
    with open_project(settings) as project:
        assert project.ingest("2023-01", "2023-01").success
        fee = profile_of(project, JANUARY).column("airport_fee")
        assert fee is not None and fee.constant


def test_zones_of_unknown_places_are_values_like_others(project, folder):
    zones = np.array([264, 265] * (ROWS // 2))
    publish(folder, JANUARY, published_month(JANUARY, PULocationID=zones))
    assert project.ingest("2023-01", "2023-01").success
    column = profile_of(project, JANUARY).column("PULocationID")
    assert column is not None
    assert [(each.value, each.share) for each in column.frequent] == [(264, 0.5), (265, 0.5)]


class Automation:
    """The condition, evaluated tick by tick as the daemon does."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.cursor: Any = None

    def tick(self) -> set[str | None]:
        """Return the months that would be requested now."""
        result = dg.evaluate_automation_conditions(
            self.project.definitions,
            self.project.instance,
            asset_selection=dg.AssetSelection.groups("monitoring"),
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        return {*result.get_requested_partitions(DATA_PROFILE)}

    def make(self, asset: str, *months: Month) -> None:
        for month in months:
            event = dg.AssetMaterialization(asset, partition=str(month))
            self.project.instance.report_runless_asset_event(event)


@pytest.fixture
def automation(project):
    return Automation(project)


def test_an_ingestion_is_not_followed_by_another_run(automation, folder):
    assert automation.tick() == set()
    publish(folder, JANUARY)
    assert automation.project.ingest("2023-01", "2023-02").success
    assert automation.tick() == set()
    publish(folder, JANUARY, published_month(JANUARY, 300))
    assert automation.project.ingest("2023-01", "2023-01").success
    assert automation.tick() == set()


def test_months_that_were_ingested_otherwise_or_before_are_profiled_once(automation):
    automation.make("raw_trips", JANUARY, FEBRUARY)
    assert automation.tick() == {"2023-01", "2023-02"}, "of an earlier version of the project"
    assert automation.tick() == set(), "requested once, whatever the outcome"
    automation.make("data_profile", JANUARY, FEBRUARY)
    assert automation.tick() == set()
    automation.make("raw_trips", FEBRUARY, MARCH)
    assert automation.tick() == {"2023-02", "2023-03"}


def test_nothing_is_requested_while_months_are_ingested(automation):
    automation.make("raw_trips", JANUARY)
    automation.make("data_profile", JANUARY)
    automation.tick()
    tags = {RANGE_START: "2023-01", RANGE_END: "2023-01"}
    run = left_in_progress(automation.project, "ingest_trips", dg.DagsterRunStatus.STARTED, **tags)
    for asset in ("raw_trips", "data_profile"):
        event = dg.DagsterEvent(
            event_type_value="ASSET_MATERIALIZATION_PLANNED",
            job_name=run.job_name,
            event_specific_data=dg._core.events.AssetMaterializationPlannedData(
                dg.AssetKey(asset), partition="2023-01"
            ),
        )
        automation.project.instance.report_dagster_event(event, run.run_id)
    automation.make("raw_trips", JANUARY)
    assert automation.tick() == set()
    automation.project.instance.report_run_failed(run)
    assert automation.tick() == {"2023-01"}, "that run failed before it made the profile"


def test_the_profile_is_made_by_the_ingestion_and_not_by_the_monitoring_job(project):
    selected = {
        job: project.definitions.resolve_job_def(job).asset_layer.selected_asset_keys
        for job in ("ingest_trips", "run_monitoring", "retrain", "train_models")
    }
    made = [job for job, keys in selected.items() if DATA_PROFILE in keys]
    assert made == ["ingest_trips"]
