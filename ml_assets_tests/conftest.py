"""Fixtures that every test may use."""

import gc
import os
import shutil
import sys
import warnings
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from ml_assets_tests.published_home import PublishedHome

REPOSITORY = Path(__file__).resolve().parent.parent
MAX_WORKERS = 8
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""One thread a worker, as there are more workers than cores: OpenMP's threads wait for each other
in a loop, which doubled the CPU time of a test that trains."""
LONGEST_FIRST = ("daemon", "graph", "cli", "defs")
MEMORY = Path("/dev/shm")
MIN_MEMORY_BYTES = 4 * 2**30
"""So much has to be free there before homes are made in memory; a whole run takes less than a
quarter of it."""


SHARED_FOLDER = "PYTEST_SHARED_FOLDER"
"""Variable with the folder that the session's workers share."""

OUR_VARIABLES = ("ML_ASSETS_", "MLFLOW_", "DAGSTER_")


def inherited_environment() -> dict[str, str]:
    """This process's variables for one that a test starts, without those that choose stores.

    MLflow writes some of them itself, so that a test before may have set another store.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(OUR_VARIABLES)}


def pytest_xdist_auto_num_workers() -> int:
    """``-n auto``: one more than there are cores, since some tests mostly wait for a daemon."""
    return min((os.cpu_count() or 1) + 1, MAX_WORKERS)


def pytest_configure() -> None:
    """Homes of tests lie in memory where that is a folder, unless somebody names another place.

    Dagster and MLflow wait for the disk after each of thousands of small writes.
    """
    import scipy.special  # noqa: F401 - before what tests import, as in ml_assets.cli.execution

    os.environ["PYTHON_DOTENV_DISABLED"] = "1"  # no test reads a developer's .env
    for threads in ONE_THREAD:
        os.environ.setdefault(threads, "1")
    # An example takes as long as the other workers leave it.
    settings.register_profile("suite", deadline=None)
    settings.load_profile("suite")
    fit = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MIN_MEMORY_BYTES
    if fit and "TMPDIR" not in os.environ:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """One worker collects before the others: side by side, each would compile all modules.

    On a fresh machine none is compiled. Meanwhile the linters have the other core.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    from ml_assets.storage.atomic import locked

    collected = Path(session.config.getoption("basetemp")).parent / "collected"
    with locked(collected.with_suffix(".lock")):
        if not collected.exists():
            found = yield
            collected.touch()
            return found
    return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first: one that began last would leave the other cores idle."""
    items.sort(key=lambda item: next(
        (place for place, folder in enumerate(LONGEST_FIRST) if folder in item.path.parts),
        len(LONGEST_FIRST),
    ))  # fmt: skip


def pytest_collection_finish() -> None:
    """Thousands of tests stay until the end: not to be looked through for unused objects."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def registry_of_its_own() -> None:
    """MLflow's registry is that of the tracking store, whatever a test before has set."""
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_registry_uri("")
        os.environ.pop("MLFLOW_REGISTRY_URI", None)


@pytest.fixture(scope="session")
def real_trips() -> Path:
    """Folder of real published months; tests that need it are skipped, loudly, where it is absent.

    ``ML_ASSETS_REAL_TRIPS`` names another folder.
    """
    default = REPOSITORY.parent / "shared" / "data" / "green"
    folder = Path(os.environ.get("ML_ASSETS_REAL_TRIPS", default))
    if not (folder / "green_tripdata_2023-01.parquet").is_file():
        reason = f"real published months are not at {folder}; set ML_ASSETS_REAL_TRIPS"
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    return folder


def shared_folder_of(folders: pytest.TempPathFactory) -> Path:
    """Return the folder of this session that all workers share."""
    session = folders.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent
    folder = session / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Name that folder to the processes that tests start, too."""
    os.environ[SHARED_FOLDER] = str(shared_folder_of(tmp_path_factory))


@pytest.fixture(scope="session")
def ingested_home(tmp_path_factory: pytest.TempPathFactory) -> "PublishedHome":
    """Three published and ingested months, made once for all workers: copy it to change it."""
    from ml_assets_tests.published_home import make_ingested, make_once

    return make_once(tmp_path_factory, "ingested", make_ingested)


@pytest.fixture(scope="session")
def trained_home(
    tmp_path_factory: pytest.TempPathFactory, ingested_home: "PublishedHome"
) -> "PublishedHome":
    """The same with a champion, made once for all workers: copy it to change it."""
    from ml_assets_tests.published_home import make_once, make_trained

    return make_once(tmp_path_factory, "trained", partial(make_trained, ingested_home))


@pytest.fixture(scope="session")
def good_home(
    tmp_path_factory: pytest.TempPathFactory, trained_home: "PublishedHome"
) -> "PublishedHome":
    """The same with a republished and a new month to ingest: copy it to change it."""
    from ml_assets_tests.published_home import make_good, make_once

    return make_once(tmp_path_factory, "good", partial(make_good, trained_home))
