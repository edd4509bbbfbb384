"""Dagster's home, opened for the first time by several commands at once."""

import subprocess
import sys
import time

import pytest

from ml_assets_tests.conftest import REPOSITORY

OPEN = """
import sys, time
import dagster
from ml_assets.cli.instance import open_instance
from ml_assets.settings import read_settings

settings = read_settings({"ML_ASSETS_HOME": sys.argv[1]})
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
with open_instance(settings) as instance:
    instance.get_runs()
    instance.all_asset_keys()
"""


@pytest.mark.parametrize("attempt", range(2))
def test_commands_that_open_a_new_home_at_once_all_get_in(tmp_path, monkeypatch, attempt):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    together = str(time.time() + 8)
    command = [sys.executable, "-c", OPEN, str(tmp_path / "home"), together]
    openers = [
        subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    told = [opener.communicate(timeout=120)[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0, 0, 0, 0], "\n".join(told)
    again = subprocess.run(
        [*command[:-1], "0"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
