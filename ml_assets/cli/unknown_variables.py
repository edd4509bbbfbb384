"""Unknown variables with the project's prefix, most likely misspelt, and renamed ones."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from ml_assets.config.alert_settings import AlertVariables
from ml_assets.config.environment import renamed_variables, variable_names
from ml_assets.config.settings import ServiceSettings, Settings

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


def unknown_variables(given: Iterable[str]) -> Iterator[str]:
    """Yield a warning for each unknown or former name that begins with ``ML_ASSETS_``.

    Args:
        given: Names of environment variables.
    """
    for name in sorted(given):
        if name in _RENAMED:
            yield f"warning: {name} is now {_RENAMED[name]}; the old name still works"
        elif name.startswith(_PREFIX) and name not in _KNOWN:
            near = get_close_matches(name.removeprefix(_PREFIX), _ENDINGS, n=1)
            suggestion = f": did you mean {_PREFIX}{near[0]}?" if near else ""
            yield f"warning: unknown variable {name}{suggestion}"
