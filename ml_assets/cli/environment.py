"""The environment variables of a call, and complete command lines for messages."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

import click

from ml_assets.config.alert_settings import AlertVariables
from ml_assets.config.environment import load_env_file, renamed_variables, variable_names
from ml_assets.config.settings import ServiceSettings, Settings, make_paths_absolute
from ml_assets.secrets import without_credentials

COMMAND = "ml-assets"


def given_variables(settings: Settings, without: tuple[str, ...] = ()) -> str:
    """Return the project's variables of this call, as a prefix for the next command.

    Folders are absolute. A value with a password is left out; it stays in the user's environment.
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
        arguments: Subcommand and options, quoted where necessary.
    """
    return f"{given_variables(settings)}{executable()} {arguments}"


def _environment() -> Mapping[str, str]:
    """Return the environment at the start of this call, before MLflow and Dagster change it."""
    context = click.get_current_context(silent=True)
    at_start = None if context is None else context.find_root().obj
    return os.environ if at_start is None else at_start


_PREFIX = "ML_ASSETS_"
_OF_TESTS = (
    "ML_ASSETS_REAL_TRIPS",
    "ML_ASSETS_BENCH_EXECUTOR",
    "ML_ASSETS_ARTIFACTS",
    "ML_ASSETS_WRITE_TABLES",
)
"""Variables of tests and benchmarks."""

_SETTINGS = (Settings, ServiceSettings, AlertVariables)
_KNOWN = (*variable_names(*_SETTINGS), *_OF_TESTS)
_RENAMED = renamed_variables(*_SETTINGS)
_ENDINGS = [name.removeprefix(_PREFIX) for name in _KNOWN if name.startswith(_PREFIX)]


def prepare_environment() -> list[str]:
    """Read ``.env``, make paths in variables absolute, and return the :func:`unknown_variables`.

    Raises:
        SettingsError: when ``.env`` cannot be read.
    """
    load_env_file()
    make_paths_absolute(os.environ)
    return list(unknown_variables(os.environ))


def unknown_variables(given: Iterable[str]) -> Iterator[str]:
    """Yield a warning for each unknown or former name that begins with ``ML_ASSETS_``."""
    for name in sorted(given):
        if name in _RENAMED:
            yield f"warning: {name} is now {_RENAMED[name]}; the old name still works"
        elif name.startswith(_PREFIX) and name not in _KNOWN:
            near = get_close_matches(name.removeprefix(_PREFIX), _ENDINGS, n=1)
            suggestion = f": did you mean {_PREFIX}{near[0]}?" if near else ""
            yield f"warning: unknown variable {name}{suggestion}"
