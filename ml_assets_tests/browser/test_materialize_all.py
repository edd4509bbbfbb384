"""What a newcomer does: open the UI on an empty project, press Materialize all, find a champion.

And what may go wrong there without a word: a run whose process is killed.
"""

import json
import os
import re
import shlex
import signal
from typing import TYPE_CHECKING

import pytest

from ml_assets.training.families import FAMILIES
from ml_assets_tests.browser.conftest import Pictures
from ml_assets_tests.browser.dagster_ui import DagsterUi, Launch, wait_for
from ml_assets_tests.docs.pages import curl_commands

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

GREEN_SECONDS = 900
START_SECONDS = 120
# The mean of all trips misses by about this many minutes: a model that does worse learnt nothing.
MEAN_RMSE = 9.0


@pytest.fixture(scope="module")
def all_pressed(ui: DagsterUi, page: "Page", pictures: Pictures) -> Launch:
    """Materialize all… → All on the empty project, from the press to the end."""
    page.goto(ui.printed_address())
    materialize_all(page).wait_for()
    page.get_by_text("champion_model").last.wait_for()  # its group is unfolded
    page.wait_for_timeout(2000)  # Dagster's own dialog comes after a second, unless switched off
    assert page.get_by_role("dialog").count() == 0
    pictures.take(page, "empty_project")
    launched = press(ui, page, pictures, "All")
    show_graph(ui, page)
    pictures.take(page, "graph_after_all")
    return launched


def test_all_on_an_empty_project_ends_green(ui, all_pressed):
    assert all_pressed.status == "SUCCESS", ui.failures()
    assert ui.not_green() == []


def test_terminal_is_not_flooded_by_the_daemon(ui, all_pressed):
    # Only the daemon of this project keeps quiet, so this tells as well that it is the one at work.
    assert "Evaluating asset backfill" not in ui.log.read_text()


def test_champion_page_shows_the_decision_with_its_figures(ui, page, pictures, all_pressed):
    page.goto(f"{ui.address}/assets/champion_model")
    shown = metadata_value(page, "champion")
    shown.wait_for()
    pictures.take(page, "champion")
    assert shown.inner_text() in FAMILIES
    assert 0 < float(metadata_value(page, "test_rmse").inner_text()) < MEAN_RMSE
    assert metadata_value(page, "trips").inner_text() == "synthetic sample"


def test_leaderboard_page_draws_its_chart(ui, page, pictures, all_pressed):
    page.goto(f"{ui.address}/assets/model_leaderboard")
    metadata_value(page, "chart").get_by_text("Show Markdown").click()
    chart = page.get_by_role("dialog").locator("img")
    chart.wait_for()
    page.wait_for_timeout(1000)  # the dialog fades in
    pictures.take(page, "leaderboard_chart")
    assert chart.evaluate("image => image.complete && image.naturalWidth > 0")


def test_latest_after_all_ends_green(ui, page, pictures, all_pressed):
    page.goto(f"{ui.address}/asset-groups")
    materialize_all(page).wait_for()
    launched = press(ui, page, pictures, "Latest")
    page.goto(f"{ui.address}/runs")
    page.get_by_text("Success").first.wait_for()
    pictures.take(page, "runs_after_latest")
    assert launched.status == "SUCCESS", ui.failures()
    assert ui.not_green() == []


def test_the_documented_call_predicts_and_the_run_shows_it(ui, page, pictures, all_pressed):
    (command,) = curl_commands("/graphql")
    body = json.loads(shlex.split(command)[-1])
    run_id = ui.query(body["query"], **body["variables"])["launchRun"]["run"]["id"]
    ended = wait_for(lambda: ui.ended_as(run_id), START_SECONDS, "the end of the prediction")
    assert ended == "SUCCESS"
    [answer] = ui.answers_of(run_id)
    assert answer["PULocationID"] == 74
    assert 1 <= answer["lower_minutes"] <= answer["predicted_minutes"] <= answer["upper_minutes"]
    page.goto(f"{ui.address}/runs/{run_id}")
    page.get_by_text("predictions").first.wait_for()
    pictures.take(page, "predicted")


def test_run_whose_process_is_killed_fails_and_is_taken_up_again(ui, all_pressed):
    killed = ui.launch_job("train_models")
    worker = wait_for(lambda: ui.worker_of(killed), START_SECONDS, "the worker of a run")
    os.kill(worker, signal.SIGKILL)
    ended = wait_for(lambda: ui.ended_as(killed), START_SECONDS, "the end of the killed run")
    assert ended == "FAILURE"

    following = wait_for(lambda: ui.retry_of(killed), START_SECONDS, "the killed run's retry")
    wait_for(lambda: ui.worker_of(following), START_SECONDS, "the worker of the retry")
    ui.terminate(following)
    ended = wait_for(lambda: ui.ended_as(following), START_SECONDS, "the end of the retry")
    assert ended == "CANCELED"
    assert ui.retry_of(following) is None
    assert ui.unhealthy_daemons() == []


def press(ui: DagsterUi, page: "Page", pictures: Pictures, partitions: str) -> Launch:
    """Press Materialize all…, choose the partitions, launch, and wait for the end."""
    before = ui.newest_launch()
    materialize_all(page).click()
    dialog = page.get_by_role("dialog").filter(has_text="Launch runs to materialize")
    dialog.get_by_text(partitions, exact=True).click()
    # Several partitions are a backfill, a single one is a run.
    launch = dialog.get_by_role("button", name=re.compile(r"Launch (backfill|\d+ run)"))
    launch.wait_for()
    pictures.take(page, f"dialog_{partitions.lower()}")
    launch.click()
    dialog.wait_for(state="hidden")
    page.wait_for_timeout(1500)  # the note that tells what was launched slides in
    pictures.take(page, f"launched_{partitions.lower()}")
    page.goto("about:blank")  # to draw the progress takes a third of a core
    return ui.wait_for_launch(before, GREEN_SECONDS)


def materialize_all(page: "Page") -> "Locator":
    return page.get_by_role("button", name="Materialize all").first


def show_graph(ui: DagsterUi, page: "Page") -> None:
    """The asset graph with every group unfolded."""
    page.goto(ui.printed_address())
    materialize_all(page).wait_for()
    page.get_by_text("champion_model").last.wait_for()
    page.wait_for_timeout(6000)  # states arrive some seconds after the graph is drawn


def metadata_value(page: "Page", key: str) -> "Locator":
    """The value's cell in the table of an asset's page, by the metadata's key."""
    return page.locator("tr", has=page.get_by_text(key, exact=True)).locator("td").last
