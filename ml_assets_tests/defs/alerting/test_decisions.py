"""Alerts about decisions: consecutive rejections, manual changes, unreadable records."""

import re
from datetime import timedelta

import pytest

from ml_assets.defs.alerting.champion import DECISIONS
from ml_assets.defs.alerting.overdue import RETRY
from ml_assets_tests.alerts.servers import free_port
from ml_assets_tests.defs.alerting.alerted_home import UI, Decisions, Home

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")


@pytest.fixture
def decisions(home):
    return Decisions(home)


def test_two_consecutive_rejections_are_reported_with_both_reasons(home, decisions):
    decisions.add(promoted=True)
    first = decisions.add()
    home.tick(DECISIONS)
    assert home.messages == []
    decisions.add()
    home.tick(DECISIONS)
    home.tick(DECISIONS)
    (text,) = home.messages
    assert text.startswith("Retraining was rejected twice in a row: xgboost, version 3, keeps")
    assert ", evaluated on 2023-03: reason 2\n" in text
    assert ", evaluated on 2023-03: reason 3\n" in text
    assert f"Where: {UI}/runs/run3\n" in text
    assert f"Since: {first.decided_at[:16].replace('T', ' ')} UTC\n" in text
    assert "`ml-assets decisions d3`" in text
    assert "The next alert comes at 4 in a row." in text


def test_rejections_are_reported_at_powers_of_two(home, decisions):
    for _ in range(20):
        decisions.add()
        home.tick(DECISIONS)
    times = [re.findall(r"rejected (\S+)", subject)[0] for subject in home.subjects]
    assert times == ["twice", "4", "8", "16"]


def test_manual_decisions_and_decisions_not_applied_do_not_count(home, decisions):
    decisions.add()
    decisions.add("rollback", promoted=True)
    decisions.add(applied=False)
    decisions.add(promoted=True, applied=False)
    home.later = timedelta(hours=2)
    home.tick(DECISIONS)
    assert [subject.split(":")[0] for subject in home.subjects] == [
        "[ml-assets] The champion was rolled back"
    ]
    decisions.add()
    home.tick(DECISIONS)
    assert home.subjects[1].startswith("[ml-assets] Retraining was rejected twice in a row: ")


def test_a_promotion_resets_the_count(home, decisions):
    for promoted in (False, True, False):
        decisions.add(promoted=promoted)
        home.tick(DECISIONS)
    assert home.messages == []


@pytest.mark.parametrize(
    ("kind", "title"), [("rollback", "was rolled back"), ("override", "was changed manually")]
)
def test_a_manual_change_of_the_champion_is_reported_once(home, decisions, kind, title):
    decisions.add(kind, promoted=True, dagster_run_id="")
    home.tick(DECISIONS)
    home.tick(DECISIONS)
    (text,) = home.messages
    what = f"The champion {title}: xgboost, version 3, serves instead of version 2\n"
    assert text.startswith(what)
    assert "Reason: reason 1\n" in text
    assert f"Where: {UI}/assets/champion_model\n" in text
    assert "`ml-assets promote 2 --reason …`" in text


def test_decisions_before_the_first_tick_are_not_reported(project, folder, server):
    early = Home(project, folder, server, email=None)
    before = Decisions(early)
    for kind in ("training", "training", "rollback"):
        before.add(kind)
    home = Home(project, folder, server)
    home.tick(DECISIONS)
    assert home.messages == []


def test_a_pending_rollback_is_reported_when_it_is_applied(home, decisions):
    pending = decisions.add("rollback", promoted=True, applied=False)
    home.tick(DECISIONS)
    assert home.messages == []
    decisions.log.write(pending.model_copy(update={"applied": True}))
    home.tick(DECISIONS)
    assert len(home.messages) == 1


def test_a_rollback_alert_is_resent_when_the_channel_is_back(home, project, folder, server):
    down = Home(project, folder, server, email=server.settings(port=free_port()))
    Decisions(down).add("rollback", promoted=True)
    assert "no channel accepted it" in down.tick(DECISIONS)
    home.ticking[DECISIONS].cursor = down.ticking[DECISIONS].cursor
    home.later = timedelta(hours=20)
    home.tick(DECISIONS)
    home.tick(RETRY)
    assert len(home.messages) == 1


def test_an_unreadable_decision_is_reported_once_with_its_file_and_the_way_out(
    home, decisions, tmp_path
):
    decisions.add()
    (file,) = (tmp_path / "home" / "decisions" / "green").glob("*.json")
    good = file.read_text()
    file.write_text("{")
    for _ in range(3):
        assert "cannot be read as a decision" in home.tick(DECISIONS)
    home.later = timedelta(hours=7)
    home.tick(RETRY)
    (text,) = home.messages
    assert f"{file} cannot be read as a decision" in text
    assert "move it away" in text
    file.write_text(good)
    decisions.add("rollback", promoted=True)
    home.tick(DECISIONS)
    assert home.subjects[1].startswith("[ml-assets] The champion was rolled back")


def test_an_unreadable_decision_at_the_first_tick_is_reported(project, folder, server, tmp_path):
    early = Home(project, folder, server, email=None)
    before = Decisions(early)
    before.add("rollback", promoted=True)
    (file,) = (tmp_path / "home" / "decisions" / "green").glob("*.json")
    good = file.read_text()
    file.write_text("{")
    home = Home(project, folder, server)
    assert len(home.messages) == 1
    file.write_text(good)
    home.tick(DECISIONS)
    before.add("rollback", promoted=True)
    home.tick(DECISIONS)
    assert len(home.messages) == 2
