"""A real browser in front of an empty project's UI, and of the prediction service's page."""

import os
import shutil
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ml_assets.trips.month import latest_published_month, new_york_date
from ml_assets_tests.browser.dagster_ui import DagsterUi, running_ui
from ml_assets_tests.browser.playground_visits import Visits
from ml_assets_tests.serving.service_process import Service, running_service
from ml_assets_tests.serving.two_versions import served_home

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REPOSITORY = Path(__file__).resolve().parents[2]
# Debian's Chromium in a container: no sandbox, no GPU, and no talk with the world.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
]
MONTHS = 4
PAGE_MILLISECONDS = 60_000


class Pictures:
    """Screenshots of what a person would see, numbered in the order in which they were taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken = 0

    def take(self, page: "Page", name: str) -> None:
        self._taken += 1
        page.screenshot(path=self.folder / f"{self._taken:02}_{name}.png", full_page=True)


@pytest.fixture(scope="session")
def pictures() -> Pictures:
    """Where screenshots go: ``.artifacts/browser``, or ``ML_ASSETS_ARTIFACTS``.

    There each process of the tests has a folder of its own.
    """
    folder = Path(os.environ.get("ML_ASSETS_ARTIFACTS") or REPOSITORY / ".artifacts" / "browser")
    folder /= os.environ.get("PYTEST_XDIST_WORKER", "")
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9]*.png"):
        old.unlink()
    return Pictures(folder)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium; without it the tests are skipped, loudly, or fail where ``CI=true``."""
    found = shutil.which("chromium")
    if found is None:
        reason = "Chromium is not installed, so nobody presses the button: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def ui(
    chromium: str, pictures: Pictures, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DagsterUi]:
    """The UI on an empty home, with the synthetic sample's newest months."""
    environment = {
        "ML_ASSETS_HOME": str(tmp_path_factory.mktemp("home")),
        "ML_ASSETS_TRIPS": "sample",
        "ML_ASSETS_TAXI": "green",
        "ML_ASSETS_FIRST_MONTH": str(latest_published_month(new_york_date()).shift(1 - MONTHS)),
        "MLFLOW_TRACKING_URI": "",
    }
    # A time limit around the tests ends them with SIGTERM: let that stop the servers as well.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with running_ui(environment, pictures.folder / "dagster_dev.log") as running:
        yield running
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator["Browser"]:
    """Chromium, once for all tests: Playwright can be started only once in a process."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield opened
        if opened.is_connected():
            opened.close()


@pytest.fixture(scope="session")
def page(browser: "Browser", pictures: Pictures) -> Iterator["Page"]:
    """A tab of the browser; what it showed last is kept as a picture too.

    Waiting for a condition is text that the page evaluates, which the playground's policy forbids:
    here it is lifted, in ``visits`` it holds.
    """
    opened = browser.new_page(viewport={"width": 1600, "height": 1000}, bypass_csp=True)
    opened.set_default_timeout(PAGE_MILLISECONDS)
    yield opened
    if browser.is_connected():
        pictures.take(opened, "last_seen")
        opened.close()


@pytest.fixture
def visits(browser: "Browser", pictures: Pictures) -> Iterator[Visits]:
    """Opens the playground; afterwards nothing may have been asked of anybody else."""
    opened = Visits(browser, pictures)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The prediction service as a process of its own, with a small model of synthetic trips."""
    folder = tmp_path_factory.mktemp("served")
    with running_service(served_home(tmp_path_factory).variables, folder / "serve.log") as running:
        yield running
