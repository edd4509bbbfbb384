"""Run a part of the project in a separate process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
_OURS = ("ML_ASSETS_", "DAGSTER_", "MLFLOW_")


def environment_with(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with other variables of the project and its tools.

    Args:
        variables: Replace all ``ML_ASSETS_…``, ``DAGSTER_…`` and ``MLFLOW_…`` variables.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, **variables}


def run_alone(
    arguments: list[str],
    variables: Mapping[str, str],
    on_start: Callable[[int], None] | None = None,
) -> tuple[float, str]:
    """Run ``python <arguments>``; returns wall seconds and standard output.

    Args:
        arguments: Arguments of the interpreter.
        variables: See :func:`environment_with`.
        on_start: Called with the process id after the start.

    Raises:
        RuntimeError: It fails; the message has the end of its standard error.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=environment_with(variables),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if on_start is not None:
        on_start(process.pid)
    output, errors = process.communicate()
    seconds = time.perf_counter() - begun
    if process.returncode != 0:
        raise RuntimeError(f"python {' '.join(arguments)} failed:\n{errors[-3000:]}")
    return seconds, output


def last_json(output: str) -> Any:
    """Parse the JSON value on the last line of a process's output."""
    return json.loads(output.strip().splitlines()[-1])
