"""``request_log_metrics``: from the request log to the metadata and the check."""

import json
from datetime import UTC, datetime

import dagster as dg
import pytest

from ml_assets.serving.request_log.files import FOLDER, day_file
from ml_assets.storage.trip_store import TripStore
from ml_assets.trips.month import Month
from ml_assets_tests.monitoring.online.served_requests import serve

NAME = "request_log_metrics"


@pytest.fixture(scope="module")
def project(ingested_home, tmp_path_factory):
    with ingested_home.copy(tmp_path_factory.mktemp("ingested")).open() as project:
        yield project


def measure(project):
    result = project.run("run_monitoring", selection=[NAME])
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    return project.metadata(NAME), check


def test_metrics_of_no_log_a_log_without_and_with_a_champion_and_a_damaged_log(project):
    shown, check = measure(project)
    assert shown["status"] == "nothing served"
    assert shown["finding"].startswith("no prediction has been served yet")
    assert check.passed

    store = TripStore(project.settings.home, "green", False)
    trips = store.read_table("trip_features", Month(2023, 3))
    folder, today = project.settings.local_home / FOLDER, datetime.now(UTC).date()
    serve(folder, today, trips)
    shown, check = measure(project)
    assert "there is no champion yet" in shown["finding"]
    assert check.passed

    assert project.train().success
    shown, check = measure(project)
    assert check.passed
    assert shown["answers_in_window"] == trips.height
    assert shown["psi/trip_distance"] < 0.25
    assert shown["days"].records[0].data["answers"] == trips.height
    assert shown["chart"].startswith("![")
    assert "has no trip id" in shown["truth"]

    with open(day_file(folder, today, "killed"), "ab") as file:
        file.write(b'{"dropped":5}\n{"request_id":"to')
        file.write(b"rn\n")
    shown, check = measure(project)
    assert (shown["dropped"], shown["unreadable_lines"]) == (5, 1)
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert "5 predictions" in check.description


def test_an_unreadable_record_is_replaced(project):
    path = project.settings.local_home / NAME / "green.json"
    path.write_text("{")
    shown, _ = measure(project)
    assert shown["status"] == "measured"


def test_days_measured_under_the_asset_s_former_name_are_kept(project):
    present = project.settings.local_home / NAME / "green.json"
    record = json.loads(present.read_text())
    day = {**record["days"][-1], "day": "2023-01-05"}
    former = project.settings.local_home / "online_predictions" / "green.json"
    former.parent.mkdir()
    former.write_text(json.dumps({**record, "days": [day]}))
    present.unlink()
    measure(project)
    assert [each["day"] for each in json.loads(present.read_text())["days"]] == [
        "2023-01-05", record["days"][-1]["day"]
    ]  # fmt: skip
