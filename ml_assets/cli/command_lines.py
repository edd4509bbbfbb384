"""Complete command lines for messages, which work from any folder."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from ml_assets.config.environment import variable_names
from ml_assets.config.settings import Settings
from ml_assets.secrets import without_credentials

COMMAND = "ml-assets"


def given_variables(settings: Settings, without: tuple[str, ...] = ()) -> str:
    """Return the project's variables of this call, as a prefix for the next command.

    Folders are absolute. A value with a password is left out; it stays in the user's environment.

    Args:
        settings: The settings read from them.
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
        for name in variable_names(Settings)
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
    """Return how to call this command: by its name where the shell finds it, else by its path.

    Args:
        called: Path of this call; by default from the process's arguments.
    """
    called = sys.argv[0] if called is None else called
    if Path(called).name != COMMAND:
        called = str(Path(sys.executable).parent / COMMAND)
    found = shutil.which(COMMAND)
    # Compare paths, not files: a virtual environment's command may be a link.
    if found is not None and Path(found).absolute() == Path(called).absolute():
        return COMMAND
    return shlex.quote(str(Path(called).absolute())) if os.sep in called else COMMAND


def next_command(settings: Settings, arguments: str) -> str:
    """Return a complete command line, with the variables of this call.

    Args:
        settings: The settings read from them.
        arguments: Subcommand and options, quoted where necessary.
    """
    return f"{given_variables(settings)}{executable()} {arguments}"


def _environment() -> Mapping[str, str]:
    """Return the environment at the start of this call, before MLflow and Dagster change it."""
    context = click.get_current_context(silent=True)
    at_start = None if context is None else context.find_root().obj
    return os.environ if at_start is None else at_start
