"""The daemon of ``ml-assets dev`` starts the next run of a backfill within seconds."""

import logging
import threading
import time

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon import controller
from dagster._daemon.backfill import execute_backfill_iteration_loop
from dagster._daemon.daemon import SpanMarker

from ml_assets.cli.daemon import NOISY_LOGGERS, shorten_poll_interval


@pytest.fixture
def fast_polling(monkeypatch):
    monkeypatch.setattr(
        controller, "DEFAULT_DAEMON_INTERVAL_SECONDS", controller.DEFAULT_DAEMON_INTERVAL_SECONDS
    )
    filters = {name: list(logging.getLogger(name).filters) for name in NOISY_LOGGERS}
    shorten_poll_interval()
    yield
    for name, before in filters.items():
        logging.getLogger(name).filters = before


def test_backfills_are_polled_every_few_seconds_instead_of_every_thirty(fast_polling):
    with (
        dg.instance_for_test() as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context,
    ):
        loop = execute_backfill_iteration_loop(context, logging.getLogger(), threading.Event())
        polls = []
        while len(polls) < 2:
            if next(loop) == SpanMarker.START_SPAN:
                polls.append(time.monotonic())
    assert polls[1] - polls[0] < 10
