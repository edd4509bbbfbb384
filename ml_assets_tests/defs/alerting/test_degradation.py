"""Degradation is reported only where retraining on its months did not help."""

from datetime import timedelta

import pytest

from ml_assets.defs.alerting.champion import DEGRADATION
from ml_assets.defs.alerting.overdue import RETRY
from ml_assets.defs.resources import project_resources
from ml_assets.evaluation.records import MonthSplit
from ml_assets.monitoring.drift.records import DriftEntry, DriftRecord
from ml_assets.monitoring.performance.records import PerformanceRecord, Reference, Score
from ml_assets.trips.month import Month
from ml_assets_tests.alerts.servers import free_port
from ml_assets_tests.defs.alerting.alerted_home import UI, Decisions, Home

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")
KNOWN = Month(2023, 2)
ASSETS = {"drift": "feature_drift", "decay": "prediction_performance"}


def drift(marks, version):
    """A drift record of the months after ``KNOWN``: ``x`` over the limit 0.25, ``.`` within."""
    entries = [
        DriftEntry(
            version=version,
            month=str(KNOWN.shift(at)),
            raw_sha256=f"sha {at}",
            trips=200,
            in_reference=False,
            psi={"trip_distance": 0.4 if mark == "x" else 0.1},
        )
        for at, mark in enumerate(marks, start=1)
    ]
    return DriftRecord(
        dataset="green", synthetic=False, version=version, model="xgboost",
        reference=[str(KNOWN)], entries=entries,
    )  # fmt: skip


def decay(marks, version):
    """An error record of the same form, with the limit 0.55."""
    scores = [
        Score(
            version=version,
            model="xgboost",
            month=str(KNOWN.shift(at)),
            raw_sha256=f"sha {at}",
            trips=200,
            rmse=4.0,
            mae=3.0,
            relative_error=0.9 if mark == "x" else 0.5,
            seen=False,
        )
        for at, mark in enumerate(marks, start=1)
    ]
    reference = Reference(
        version=version, month=str(KNOWN), relative_error=0.5, newest_fitted=str(KNOWN)
    )
    record = PerformanceRecord(
        dataset="green", synthetic=False, version=version, model="xgboost", scores=scores
    )
    return record.model_copy(update={"references": {record.champion: reference}})


class Monitored:
    """A home with decisions on version 3 and monitoring records."""

    def __init__(self, home):
        self.home = home
        self.decisions = Decisions(home)
        self.records = project_resources(home.project.settings)["trip_store"].records()

    def measure(self, name, marks, version="3"):
        record = {"drift": drift, "decay": decay}[name](marks, version)
        self.records.write(ASSETS[name], record)

    def tick(self):
        return self.home.tick(DEGRADATION)


@pytest.fixture
def monitored(home):
    return Monitored(home)


def use(month, sha):
    return MonthSplit(
        month=month, role="test", rows=200, raw_sha256=sha, source="", code_version=""
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "limit", "title"),
    [
        ("drift", "drift of trip_distance 0.400", "has drifted from its data"),
        ("decay", "relative error 0.900", "has decayed"),
    ],
)
def test_unresolved_degradation_is_reported_once_with_limit_months_and_what_to_do(
    monitored, name, limit, title
):
    decision = monitored.decisions.add(test_month="2023-05")
    monitored.measure(name, ".xx")
    monitored.tick()
    monitored.tick()
    (text,) = monitored.home.messages
    assert text.startswith(
        f"The champion, version 3, {title}, and retraining did not help: {limit}"
    )
    assert "in 2023-05, over the limit 0." in text
    assert "2 of 3 months are (2023-04 to 2023-05)" in text.replace("–", " to ")
    assert f"decision {decision.decision_id} of " in text
    assert "evaluated on 2023-05: reason 1" in text
    assert f"Where: {UI}/assets/{ASSETS[name]}\nSince: 2023-04-01 00:00 UTC\n" in text
    assert "`ml-assets rollback --reason …`" in text


def test_each_measure_month_and_version_is_reported_separately(monitored):
    monitored.decisions.add(test_month="2023-06")
    monitored.measure("drift", "xx")
    monitored.measure("decay", "xx")
    monitored.tick()
    assert len(monitored.home.messages) == 2
    monitored.measure("decay", "xxx")
    monitored.tick()
    assert len(monitored.home.messages) == 3
    monitored.decisions.add("rollback", promoted=True, registry_version="2")
    monitored.measure("decay", "xxx", version="2")
    monitored.tick()
    monitored.tick()
    assert len(monitored.home.messages) == 4


@pytest.mark.parametrize(
    ("marks", "changed"),
    [
        (".x", {}),  # one month is noise
        ("xx.", {}),  # back within the limit
        ("xx", {"test_month": "2023-03"}),  # the sensors retrain for it
        ("xx", {"applied": False}),
        ("xx", {"kind": "rollback"}),  # no training
        ("xx", {"registry_version": "4"}),  # another version is champion
        ("xx", {"months": [use("2023-04", "before it was republished")]}),
    ],
)
def test_nothing_is_reported_within_the_limits_or_while_retraining_may_help(
    monitored, marks, changed
):
    monitored.decisions.add(**{"test_month": "2023-05", **changed})
    monitored.measure("decay", marks)
    monitored.measure("drift", marks)
    monitored.tick()
    assert monitored.home.messages == []


def test_a_training_on_the_current_content_of_the_month_counts(monitored):
    monitored.decisions.add(test_month="2023-04", months=[use("2023-04", "sha 2")])
    monitored.measure("decay", "xx")
    monitored.tick()
    assert len(monitored.home.messages) == 1


def test_without_decisions_or_measures_nothing_is_reported(monitored):
    assert monitored.tick() == "0 unresolved, nothing new to report"
    monitored.measure("decay", "xx")
    assert monitored.tick() == "0 unresolved, nothing new to report"


def test_an_undelivered_alert_is_resent_when_the_channel_is_back(home, project, folder, server):
    down = Home(project, folder, server, email=server.settings(port=free_port()))
    monitored = Monitored(down)
    monitored.decisions.add(test_month="2023-04")
    monitored.measure("decay", "xx")
    assert "no channel accepted it" in monitored.tick()
    home.later = timedelta(hours=8)
    home.tick(RETRY)
    assert len(home.messages) == 1


def test_an_unreadable_record_is_reported_once_and_hides_no_other(monitored, tmp_path):
    monitored.decisions.add(test_month="2023-04")
    monitored.measure("decay", "xx")
    file = tmp_path / "home" / "feature_drift" / "green.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text("{")
    for _ in range(3):
        monitored.tick()
    unreadable, decayed = monitored.home.messages
    assert f"{file} cannot be read as DriftRecord" in unreadable
    assert "materialize feature_drift again" in unreadable
    assert "has decayed" in decayed


def test_an_unreadable_decision_is_a_skip_since_the_decision_sensor_reports_it(monitored, tmp_path):
    monitored.decisions.add()
    (file,) = (tmp_path / "home" / "decisions" / "green").glob("*.json")
    file.write_text("{")
    assert "cannot be read as a decision" in monitored.tick()
    assert monitored.home.messages == []
