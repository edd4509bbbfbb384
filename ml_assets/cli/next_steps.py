"""Commands that a message or a list ends with, complete: they work from any folder."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from ml_assets.config.environment import variables_of
from ml_assets.config.settings import Settings
from ml_assets.secrets import without_credentials

COMMAND = "ml-assets"


def given_variables(settings: Settings, without: tuple[str, ...] = ()) -> str:
    """The project's variables as they were given to this call, to stand before the next one.

    Folders are absolute. A value with a password is left out: it is in the environment that the
    user has set up.

    Args:
        settings: What was read from them.
        without: Variables to leave out.
    """
    resolved = {
        "ML_ASSETS_TRIPS": settings.trips,
        "ML_ASSETS_HOME": settings.home,
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
    }
    environment = _environment()
    given = {
        name: resolved.get(name, environment[name].strip())
        for name in variables_of(Settings)
        if environment.get(name) and name not in without
    }
    if environment.get("DAGSTER_HOME"):
        given["DAGSTER_HOME"] = str(Path(environment["DAGSTER_HOME"]).resolve())
    return "".join(
        f"{name}={shlex.quote(value)} "
        for name, value in given.items()
        if without_credentials(value) == value
    )


def executable(called: str | None = None) -> str:
    """How to call this command again: by its name where the shell finds it, else by its path.

    Args:
        called: As it was called now; from the process's arguments unless given.
    """
    called = sys.argv[0] if called is None else called
    if Path(called).name != COMMAND:
        called = str(Path(sys.executable).parent / COMMAND)
    found = shutil.which(COMMAND)
    # Not the same file, but the same path: a virtual environment's command may be a link.
    if found is not None and Path(found).absolute() == Path(called).absolute():
        return COMMAND
    return shlex.quote(str(Path(called).absolute())) if os.sep in called else COMMAND


def next_command(settings: Settings, arguments: str) -> str:
    """A whole command line of this project, with the variables that were given to this call.

    Args:
        settings: What was read from them.
        arguments: Subcommand and options, quoted where need be.
    """
    return f"{given_variables(settings)}{executable()} {arguments}"


def _environment() -> Mapping[str, str]:
    """The environment at the start of this call: MLflow and Dagster set variables as they run."""
    context = click.get_current_context(silent=True)
    kept = None if context is None else context.find_root().obj
    return os.environ if kept is None else kept
