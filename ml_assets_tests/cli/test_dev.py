"""``ml-assets dev``: its variables, and the processes that it supervises."""

import os
import subprocess

import pytest

from ml_assets.cli.dev import SupervisedProcess
from ml_assets.defs.common import UNFOLDED_LINEAGE
from ml_assets_tests.cli.calling import call

STOP_SECONDS = 30


def test_the_printed_address_unfolds_every_group():
    from ml_assets.definitions import defs

    specs = defs.resolve_all_asset_specs()
    unfolded = UNFOLDED_LINEAGE.partition("=")[2].split(",")
    assert {f"global@global:{spec.group_name}" for spec in specs} == {*unfolded}


@pytest.mark.parametrize(
    ("variable", "value"), [("ML_ASSETS_SMTP_PORT", "0"), ("ML_ASSETS_INGEST_CRON", "0 0 31 6 *")]
)
def test_a_wrong_variable_is_reported_before_anything_starts(
    monkeypatch, capsys, tmp_path, variable, value
):
    variables = {"ML_ASSETS_HOME": tmp_path, variable: value}
    answer = call(monkeypatch, capsys, ["dev", "--port", "39999"], variables)
    assert answer.status == 2
    assert answer.err.startswith(f"error: {variable}='{value}' is not allowed")
    assert answer.err.count("\n") == 1
    assert answer.out == ""


def test_a_misspelt_variable_is_reported_with_a_suggestion(monkeypatch, capsys, tmp_path):
    variables = {"ML_ASSETS_HOME": tmp_path, "ML_ASSETS_ALERT_WEBHOKO": "x", "ML_ASSETS_XYZZY": "1"}
    answer = call(monkeypatch, capsys, ["decisions"], variables)
    assert (
        "unknown variable ML_ASSETS_ALERT_WEBHOKO: did you mean ML_ASSETS_ALERT_WEBHOOK?"
        in answer.err
    )
    assert "unknown variable ML_ASSETS_XYZZY\n" in answer.err
    assert "variable ML_ASSETS_HOME" not in answer.err


def test_a_service_that_dies_repeatedly_ends_with_one_line():
    lines, status = [], None
    service = SupervisedProcess("Dagster's UI", lambda: subprocess.Popen(["false"]), lines.append)
    while status is None:
        service.wait(STOP_SECONDS)
        status = service.poll()
    assert status == 1
    assert lines == [
        f"Dagster's UI ended with status 1: restarting it ({number} of 3)" for number in (1, 2, 3)
    ]
    assert service.failure.startswith("Dagster's UI ended with status 1 for the 4th time within 10")


def test_a_killed_service_is_restarted_and_others_are_left_alone():
    lines = []
    service = SupervisedProcess(
        "Dagster's daemon", lambda: subprocess.Popen(["sleep", "600"]), lines.append
    )
    try:
        first = service.pid
        assert service.poll() is None
        assert (service.pid, lines) == (first, [])
        service.kill()
        service.wait(STOP_SECONDS)
        assert service.poll() is None
        assert service.pid != first
        assert lines == ["Dagster's daemon was killed by signal 9: restarting it (1 of 3)"]
        assert service.returncode is None
    finally:
        service.kill()
        service.wait(STOP_SECONDS)


def test_relative_paths_in_variables_refer_to_the_current_directory(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = {"ML_ASSETS_HOME": "home", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    call(monkeypatch, capsys, ["alerts"], given)
    assert os.environ["ML_ASSETS_HOME"] == f"{tmp_path}/home"
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/mlflow.db"
