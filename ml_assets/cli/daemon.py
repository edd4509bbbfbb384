"""Dagster's daemon with a short poll interval for backfills.

*Materialize all* is a backfill of several consecutive runs, and the daemon checks every 30 seconds
whether the next one is due: a constant that no setting changes. On the sample that was 58 of the 66
seconds from the click to a green graph, so ``ml-assets dev`` starts this module instead of
``dagster._daemon``. On one machine a check takes a few SQLite queries.
"""

import logging

from dagster._daemon import controller

POLL_SECONDS = 1
# Each logs at every poll that there is nothing new: thousands of lines while one model trains.
NOISY_LOGGERS = (
    "dagster.daemon.BackfillDaemon",
    "dagster.daemon.QueuedRunCoordinatorDaemon",
    "dagster.daemon.SensorDaemon",
)


def shorten_poll_interval() -> None:
    """Let the backfill loop of this process wait a second instead of thirty, and log less."""
    # The loop reads the constant when its thread starts, which is after this.
    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = POLL_SECONDS
    for name in NOISY_LOGGERS:
        # A filter, since Dagster resets the levels when it configures logging.
        logging.getLogger(name).addFilter(_is_warning)


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


if __name__ == "__main__":
    from dagster._daemon.cli import main

    shorten_poll_interval()
    main()
