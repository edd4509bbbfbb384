"""Sensors and schedules: what texts name exists, and what exists is documented."""

import re

import pytest

from ml_assets.definitions import assemble
from ml_assets.defs.common import WATCHED
from ml_assets_tests.docs.pages import PAGES
from ml_assets_tests.project import settings_for


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    definitions = assemble(settings_for(tmp_path_factory.mktemp("home"))).get_repository_def()
    sensors = {sensor.name for sensor in definitions.sensor_defs}
    return sensors | {schedule.name for schedule in definitions.schedule_defs}


def test_the_page_on_automation_lists_all(names):
    page = PAGES["docs/automation.md"]
    rows = re.findall(r"^\| (?:sensors?|schedule) (.*?) \|", page, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert names <= listed
    assert {name for name in listed - names if "alert" not in name} == set()


def test_advice_on_overdue_assets_names_existing_ones(names):
    named = {word for text in WATCHED.values() for word in re.findall(r"\b[a-z]+_\w+", text)}
    assert named and named <= names
