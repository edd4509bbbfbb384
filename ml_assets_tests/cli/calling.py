"""Call the command, in this process or in its own."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from ml_assets.cli import main
from ml_assets_tests.conftest import OUR_VARIABLES, REPOSITORY, inherited_environment
from ml_assets_tests.interrupting import in_a_process

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


def call_in_fork(
    arguments: list[str], environment: Mapping[str, object], before: Callable[[], object]
) -> Answer:
    """Call the command in a fork of this process, after something that a process cannot undo."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:

        def work() -> None:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.stdout, sys.stderr = out, err
            for name in {*os.environ} - {*inherited_environment(), *SET_BY_IMPORTS}:
                del os.environ[name]
            os.environ.update({name: str(value) for name, value in environment.items()})
            sys.argv = ["ml-assets", *arguments]
            before()
            try:
                main()
            except SystemExit as ended:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(int(ended.code or 0))

        status = in_a_process(work)
        out.seek(0)
        err.seek(0)
        return Answer(status, out.read(), err.read())


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
