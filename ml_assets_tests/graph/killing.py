"""Processes that are killed (SIGKILL) at a named point."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_assets.storage.leftovers import STALE_SECONDS
from ml_assets_tests.conftest import OUR_VARIABLES

PRELOADED = [
    "ml_assets_tests.graph.killed_deciding",
    "ml_assets_tests.graph.killed_ingesting",
    "ml_assets_tests.graph.killed_training",
    "mlflow.sklearn",
    "optuna",
    "skops.io",
]
"""Modules that such a process uses, imported once for all."""


def die(*_arguments: Any, **_named: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def then_die(function: Callable[..., Any]) -> Callable[..., None]:
    """Wrap a function: the process ends as soon as it has returned."""

    def called(*arguments: Any, **named: Any) -> None:
        function(*arguments, **named)
        die()

    return called


def die_when(
    matches: Callable[..., bool], function: Callable[..., Any], *, after: bool = False
) -> Callable[..., Any]:
    """Wrap a function: the process ends before (or after) a matching call."""

    def called(*arguments: Any, **named: Any) -> Any:
        fatal = matches(*arguments, **named)
        if fatal and not after:
            die()
        answer = function(*arguments, **named)
        if fatal:
            die()
        return answer

    return called


def killed(work: Callable[..., None], log: Path, *arguments: Any) -> int | None:
    """Run work in a process that must be killed on the way, and return its PID."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_logged, args=(work, log, arguments))
    process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
    output = log.read_text()[-3000:]
    assert process.exitcode == -signal.SIGKILL, f"it ended as {process.exitcode}: {output}"
    return process.pid


def _logged(work: Callable[..., None], log: Path, arguments: tuple[Any, ...]) -> None:
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    work(*arguments)


def run_command(arguments: list[str], environment: Mapping[str, str]) -> None:
    """Run the command in this process, and end the process with it."""
    from ml_assets.cli import main

    for name in [*os.environ]:
        if name.startswith(OUR_VARIABLES):
            del os.environ[name]
    os.environ.update(environment)
    sys.argv = ["ml-assets", *arguments]
    main()


def aged(home: Path) -> list[Path]:
    """Date what a killed process left in a home back by two days, so that a run may remove it."""
    found = leftovers(home)
    then = time.time() - 2 * STALE_SECONDS
    for path in found:
        os.utime(path, (then, then))
    return found


def leftovers(home: Path) -> list[Path]:
    """Return the temporary files and folders."""
    return [*home.rglob(".*.tmp"), *home.glob(".incoming_*")]
