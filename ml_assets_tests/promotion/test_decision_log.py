"""Decisions are in the order in which they were made, whatever the clock said."""

import pytest

from ml_assets.evaluation.decision_record import ChampionDecision
from ml_assets.promotion.decision_log import DecisionLog
from ml_assets.storage.atomic import write_text
from ml_assets.storage.record_store import UnreadableRecord


def decision(name, decided_at, **changed):
    made = {
        "promoted": False, "reason": "", "champion": None, "registry_version": None,
        "previous_version": None, "training_set": "", "synthetic": False, "description": "",
        "test_rmse": None, "decision_id": name, "decided_at": decided_at,
    }  # fmt: skip
    return ChampionDecision(**{**made, **changed})


def ids(log):
    return [made.decision_id for made in log.all()]


def test_a_clock_that_was_set_back_does_not_put_the_newest_decision_first(tmp_path):
    log = DecisionLog(str(tmp_path), "green")
    log.write(decision("first", "2026-11-28T10:00:00.000+00:00"))
    log.write(decision("second", "2026-11-28T11:00:00.000+00:00"))
    set_back = decision("third", "2025-01-01T00:00:00.000+00:00", applied=False)
    log.write(set_back)
    assert ids(log) == ["first", "second", "third"]
    log.write(set_back.model_copy(update={"applied": True}))
    assert [made.sequence for made in log.all()] == [1, 2, 3]
    assert log.latest_training().decision_id == "third"
    assert log.latest_training().applied


def test_decisions_of_versions_that_did_not_number_them_come_first_by_time(tmp_path):
    log = DecisionLog(str(tmp_path), "green")
    for name, at in (("b", "2026-02-01"), ("a", "2026-01-01")):
        made = decision(name, f"{at}T00:00:00.000+00:00").model_dump_json(exclude={"sequence"})
        write_text(f"{tmp_path}/decisions/green/{at}_{name}.json", made)
    (tmp_path / "decisions" / "green" / "damaged.json").write_text("{")
    log.write(decision("new", "2020-01-01T00:00:00.000+00:00"))
    (tmp_path / "decisions" / "green" / "damaged.json").unlink()
    assert ids(log) == ["a", "b", "new"]


def test_what_serves_is_the_newest_decision_that_was_carried_out(tmp_path):
    log = DecisionLog(str(tmp_path), "green")
    assert log.newest() is None
    log.write(decision("first", "2026-11-28T10:00:00.000+00:00"))
    log.write(decision("set back", "2025-01-01T00:00:00.000+00:00"))
    log.write(decision("broken off", "2026-11-28T12:00:00.000+00:00", applied=False))
    assert log.newest().decision_id == "set back"


def test_a_damaged_decision_matters_only_when_it_may_be_the_newest(tmp_path):
    log = DecisionLog(str(tmp_path), "green")
    log.write(decision("first", "2026-11-28T10:00:00.000+00:00"))
    folder = tmp_path / "decisions" / "green"
    (folder / "2026-11-27T100000.000Z_older.json").write_text("{")
    assert log.newest().decision_id == "first"
    (folder / "2026-11-29T100000.000Z_newer.json").write_text("{")
    with pytest.raises(UnreadableRecord, match="newer.json cannot be read as a decision"):
        log.newest()
