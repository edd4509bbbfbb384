"""Call the command, in this process or in its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from ml_assets.cli import main
from ml_assets_tests.conftest import OUR_VARIABLES, REPOSITORY, inherited_environment

COMMAND = [sys.executable, "-c", "from ml_assets.cli import main; main()"]

SET_BY_IMPORTS = (
    "MLFLOW_DISABLE_TELEMETRY",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
)
"""Set when ``ml_assets.registry`` is first imported, once in a process: a call keeps them."""


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str


def call(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    environment: Mapping[str, object],
) -> Answer:
    """Call the command in this process; the environment is restored at the end of the test."""
    set_by_the_command = ("DAGSTER_HOME", "MLFLOW_LOGGING_LEVEL")
    for name in [*os.environ, *set_by_the_command]:
        if name.startswith(OUR_VARIABLES) and name not in SET_BY_IMPORTS:
            monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(sys, "argv", ["ml-assets", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    status = ended.value.code or 0
    assert isinstance(status, int), status
    return Answer(status, captured.out, captured.err)


def start(arguments: list[str], environment: Mapping[str, object]) -> "subprocess.Popen[str]":
    """Start the command in its own process."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=REPOSITORY,
        env={
            **inherited_environment(),
            **{name: str(value) for name, value in environment.items()},
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
