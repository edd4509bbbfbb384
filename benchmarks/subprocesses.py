"""Running a piece of the project in a process of its own, on an empty home."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parent.parent
_OURS = ("ML_ASSETS_", "DAGSTER_", "MLFLOW_")


def run_alone(arguments: list[str], variables: Mapping[str, str]) -> tuple[float, str]:
    """Run ``python <arguments>``; returns wall seconds and standard output.

    Args:
        arguments: after the interpreter.
        variables: the only ``ML_ASSETS_…``, ``DAGSTER_…`` and ``MLFLOW_…`` the process gets.

    Raises:
        RuntimeError: when it fails; with the end of its standard error.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**kept, **variables},
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        raise RuntimeError(f"python {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return seconds, done.stdout


def last_json(output: str) -> dict[str, Any]:
    """The JSON object on the last line of a process's output."""
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return result
