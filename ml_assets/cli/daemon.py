"""Dagster's daemon with a short wait between looks at backfills.

A press of *Materialize all* is a backfill of several runs, one after the other, and the daemon
looks whether the next one is due every 30 seconds: a constant, which no setting changes. On the
sample that was 58 of the 66 seconds from the press to a green graph; so ``ml-assets dev`` starts
this module in place of ``dagster._daemon``. On a home of one machine a look costs a few queries of
SQLite.
"""

import logging

from dagster._daemon import controller

SECONDS_BETWEEN_LOOKS = 1
# Each tells at every look that there is nothing new: thousands of lines while one model trains.
NOISY_LOGGERS = (
    "dagster.daemon.BackfillDaemon",
    "dagster.daemon.QueuedRunCoordinatorDaemon",
    "dagster.daemon.SensorDaemon",
)


def shorten_poll_interval() -> None:
    """Make the backfill loop of this process wait a second instead of thirty, and say less."""
    # The loop reads the constant when its thread starts, which is after this.
    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = SECONDS_BETWEEN_LOOKS
    for name in NOISY_LOGGERS:
        # A filter, since Dagster resets the levels when it configures logging.
        logging.getLogger(name).addFilter(_is_warning)


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


if __name__ == "__main__":
    from dagster._daemon.cli import main

    shorten_poll_interval()
    main()
