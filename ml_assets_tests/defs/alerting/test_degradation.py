"""A champion over its limit is told where retraining on its months did not help, and only there."""

from datetime import timedelta

import pytest

from ml_assets.defs.alerting.degradation import DEGRADATION
from ml_assets.defs.alerting.overdue import AGAIN
from ml_assets.defs.resources import project_resources
from ml_assets.evaluation.records import MonthUse
from ml_assets.monitoring.drift.records import DriftEntry, DriftRecord
from ml_assets.monitoring.performance.records import PerformanceRecord, Reference, Score
from ml_assets.trips.month import Month
from ml_assets_tests.alerts.servers import free_port
from ml_assets_tests.defs.alerting.alerted_home import UI, Decisions, Home

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")
KNOWN = Month(2023, 2)
ASSETS = {"drift": "feature_drift", "decay": "prediction_performance"}


def drift(marks, version):
    """A record of the months after the known: ``x`` over the limit 0.25, ``.`` within."""
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
    """The same, of the error: limit 0.55."""
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


class Watched:
    """A home with decisions on version 3, and records as the assets of monitoring write them."""

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
def watched(home):
    return Watched(home)


def use(month, sha):
    return MonthUse(
        month=month, role="judge", rows=200, raw_sha256=sha, source="", code_version=""
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "limit", "title"),
    [
        ("drift", "drift of trip_distance 0.400", "has drifted from its data"),
        ("decay", "relative error 0.900", "has decayed"),
    ],
)
def test_what_retraining_did_not_help_is_told_once_with_limit_months_and_what_to_do(
    watched, name, limit, title
):
    decision = watched.decisions.add(judged_month="2023-05")
    watched.measure(name, ".xx")
    watched.tick()
    watched.tick()
    (text,) = watched.home.messages
    assert text.startswith(
        f"The champion, version 3, {title}, and retraining did not help: {limit}"
    )
    assert "in 2023-05, over the limit 0." in text
    assert "2 of 3 months are (2023-04 to 2023-05)" in text.replace("–", " to ")
    assert f"decision {decision.decision_id} of " in text
    assert "judged on 2023-05: reason 1" in text
    assert f"Where: {UI}/assets/{ASSETS[name]}\nSince: 2023-04-01 00:00 UTC\n" in text
    assert "`ml-assets rollback --reason …`" in text


def test_each_measure_month_and_version_is_told_of_its_own(watched):
    watched.decisions.add(judged_month="2023-06")
    watched.measure("drift", "xx")
    watched.measure("decay", "xx")
    watched.tick()
    assert len(watched.home.messages) == 2
    watched.measure("decay", "xxx")
    watched.tick()
    assert len(watched.home.messages) == 3
    watched.decisions.add("rollback", promoted=True, registry_version="2")
    watched.measure("decay", "xxx", version="2")
    watched.tick()
    watched.tick()
    assert len(watched.home.messages) == 4


@pytest.mark.parametrize(
    ("marks", "changed"),
    [
        (".x", {}),  # one month is noise
        ("xx.", {}),  # over by now
        ("xx", {"judged_month": "2023-03"}),  # the sensors retrain for it
        ("xx", {"carried_out": False}),
        ("xx", {"kind": "rollback"}),  # nobody trained
        ("xx", {"registry_version": "4"}),  # another serves by now
        ("xx", {"months": [use("2023-04", "before it was republished")]}),
    ],
)
def test_what_retraining_may_still_help_or_is_within_its_limits_is_not_told(
    watched, marks, changed
):
    watched.decisions.add(**{"judged_month": "2023-05", **changed})
    watched.measure("decay", marks)
    watched.measure("drift", marks)
    watched.tick()
    assert watched.home.messages == []


def test_a_training_that_knew_the_month_as_it_is_counts(watched):
    watched.decisions.add(judged_month="2023-04", months=[use("2023-04", "sha 2")])
    watched.measure("decay", "xx")
    watched.tick()
    assert len(watched.home.messages) == 1


def test_without_decisions_or_measures_there_is_nothing_to_tell(watched):
    assert watched.tick() == "0 beyond help, nothing new to tell"
    watched.measure("decay", "xx")
    assert watched.tick() == "0 beyond help, nothing new to tell"


def test_what_could_not_be_told_is_told_when_the_channel_is_back(home, project, folder, server):
    down = Home(project, folder, server, email=server.settings(port=free_port()))
    watched = Watched(down)
    watched.decisions.add(judged_month="2023-04")
    watched.measure("decay", "xx")
    assert "no channel took it" in watched.tick()
    home.later = timedelta(hours=8)
    home.tick(AGAIN)
    assert len(home.messages) == 1


def test_a_record_that_cannot_be_read_is_told_once_and_hides_no_other(watched, tmp_path):
    watched.decisions.add(judged_month="2023-04")
    watched.measure("decay", "xx")
    file = tmp_path / "home" / "feature_drift" / "green.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text("{")
    for _ in range(3):
        watched.tick()
    unreadable, decayed = watched.home.messages
    assert f"{file} cannot be read as DriftRecord" in unreadable
    assert "materialize feature_drift again" in unreadable
    assert "has decayed" in decayed


def test_a_decision_that_cannot_be_read_is_a_skip_here_as_it_is_told_elsewhere(watched, tmp_path):
    watched.decisions.add()
    (file,) = (tmp_path / "home" / "decisions" / "green").glob("*.json")
    file.write_text("{")
    assert "cannot be read as a decision" in watched.tick()
    assert watched.home.messages == []
