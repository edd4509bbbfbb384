"""Dagster's own commands find the project from a checkout, without being told where it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ml_assets.definitions import defs
from ml_assets_tests.conftest import REPOSITORY, inherited_environment

BIN = Path(sys.executable).parent


@pytest.fixture
def called(tmp_path):
    """Call one of the environment's commands from the checkout, with a home of its own."""

    def call(*command):
        environment = {
            **inherited_environment(),
            "ML_ASSETS_HOME": str(tmp_path / "home"),
            "DAGSTER_HOME": str(tmp_path),
            "HOME": str(tmp_path),
            "VIRTUAL_ENV": str(BIN.parent),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "DG_CLI_DISABLE_UPDATE_CHECK": "1",
        }
        (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        done = subprocess.run(
            [BIN / command[0], *command[1:]],
            cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return call


def asset_names():
    return {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}


@pytest.mark.parametrize("found_by", [[], ["-m", "ml_assets.definitions"]])
def test_dagster_finds_the_project_by_workspace_yaml_and_by_its_module(called, found_by):
    done = called("dagster", "definitions", "validate", *found_by)
    output = done.stdout + done.stderr
    assert "Validation successful for code location ml_assets" in output


def test_dg_finds_the_project_and_its_assets(called):
    listed = json.loads(called("dg", "list", "defs", "--json").stdout)
    assert {asset["asset_key"] for asset in listed["assets"]} == asset_names()
    assert {job["name"] for job in listed["jobs"]} >= {"ingest_trips", "train_models"}
    assert "fail_orphaned_runs" in {sensor["name"] for sensor in listed["sensors"]}


def test_dg_checks_the_definitions(called):
    done = called("dg", "check", "defs")
    assert "All definitions loaded successfully" in done.stdout + done.stderr


def test_dg_launches_a_run(called, tmp_path):
    called("dg", "launch", "--assets", "raw_trips", "--partition", "2023-01")
    assert [file.name for file in (tmp_path / "home").rglob("*2023-01*.parquet")]
