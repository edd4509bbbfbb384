"""The files beside the code: licence, changelog and hooks say what pyproject.toml says."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from ml_assets_tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def test_the_licence_is_the_declared_one():
    first = (REPOSITORY / "LICENSE").read_text().splitlines()[0]
    assert first == f"{PROJECT['license']} License"


def test_the_changelog_has_unreleased_changes_first_and_then_the_declared_version():
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[?([^\]\n]+)\]?", text, re.MULTILINE)
    assert headings[:2] == ["Unreleased", PROJECT["version"]]


def test_hooks_are_local_and_run_the_tools_of_the_environment():
    configuration = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    assert {repository["repo"] for repository in configuration["repos"]} == {"local"}
    hooks = [hook for repository in configuration["repos"] for hook in repository["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    for hook in hooks:
        tool, *arguments = hook["entry"].split()
        assert tool.startswith(".venv/bin/")
        command = [Path(sys.executable).parent / Path(tool).name, *arguments]
        done = subprocess.run(
            [*command, "--help"], cwd=REPOSITORY, capture_output=True, check=False
        )
        assert done.returncode == 0, hook["id"]
