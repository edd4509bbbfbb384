"""``ml-assets dev``: Dagster's UI and daemon for this project.

``dagster dev`` starts the UI, the daemon and the code server. It restarts only the code server; if
another one dies it ends with a traceback, and launched runs continue without it. So their processes
are restarted here when they die, and stopped with the command.
"""

import contextlib
import fcntl
import importlib
import logging
import os
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import dagster as dg

import ml_assets.training.families  # noqa: F401 - reads ML_ASSETS_EXTRA_FAMILIES
from ml_assets.cli.instance import dagster_home, open_instance
from ml_assets.cli.runs import fail_orphaned_runs_now, hand_over_runs, stop_launched_runs
from ml_assets.cli.serve import unusable_address
from ml_assets.config.alert_settings import read_alert_settings
from ml_assets.config.http_origin import is_loopback_host, server_url
from ml_assets.config.settings import PROJECT_FOLDER, Settings, read_settings
from ml_assets.defs.alerting.overdue import reset_alert_cursors
from ml_assets.defs.common import UNFOLDED_LINEAGE, check_crons
from ml_assets.defs.operations.queued_runs import set_pool_limits
from ml_assets.secrets import without_credentials
from ml_assets.storage.atomic import storage_errors
from ml_assets.storage.leftovers import clean_home

FAST_DAEMON = "ml_assets.cli.daemon"
OWN_MODULES = {
    "dagster._daemon": FAST_DAEMON,
    "dagster_webserver": "ml_assets.cli.webserver",
}
"""Modules started instead of Dagster's daemon and webserver."""


@click.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, help="Port to listen on.")
def dev(host: str, port: int) -> None:
    """Open the project in Dagster's UI, with the daemon that runs sensors and backfills."""
    settings = read_settings()
    # A wrong value is reported now, not in the code server's log.
    check_crons(settings)
    alerts_on = read_alert_settings().on
    _require_free(host, port)
    with _only_one(settings, f"http://{host}:{port}"):
        _prepare_instance(settings, alerts_on=alerts_on)
        click.echo(
            f"{announcement(settings)}\n"
            "The asset graph, every group unfolded (click Materialize all…, then All):\n"
            f"  {server_url(host, port)}{UNFOLDED_LINEAGE}\n"
            "Stop with Ctrl-C."
        )
        if not is_loopback_host(host):
            click.echo(
                f"warning: with --host {host}, anyone who can reach this machine can use Dagster's "
                "UI, which has no password: start runs, change the champion, read all logs",
                err=True,
            )
        os.environ.setdefault("ML_ASSETS_UI_URL", server_url(host, port))
        os.chdir(PROJECT_FOLDER)
        interrupted: list[datetime] = []

        def interrupt(_number: int, _frame: object) -> None:
            interrupted.append(datetime.now(UTC))
            raise KeyboardInterrupt

        # Interrupted like this, Dagster stops its children; by default a SIGTERM ends only this
        # process, and a background job of a shell ignores SIGINT.
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, interrupt)
        try:
            _dagster_dev(["--host", host, "--port", str(port)])
        finally:
            with open_instance(settings) as instance:
                if interrupted:
                    stop_launched_runs(instance, interrupted[0], click.echo)
                else:
                    hand_over_runs(instance, click.echo)


@contextlib.contextmanager
def _only_one(settings: Settings, url: str) -> Iterator[None]:
    """Allow only one UI and daemon per home.

    Raises:
        click.ClickException: naming the address of the running one.
    """
    with open(dagster_home(settings) / ".dev.lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise click.ClickException(
                f"`ml-assets dev` already runs on this home, at {lock.read().strip()}: open that, "
                "stop it, or choose another home (ML_ASSETS_HOME)"
            ) from error
        lock.truncate(0)
        print(url, file=lock, flush=True)
        yield


def _require_free(host: str, port: int) -> None:
    """Check that the port is free; Dagster would report success and continue without its UI.

    Raises:
        click.UsageError: when the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise unusable_address(error, host, port, "dev") from error


def announcement(settings: Settings) -> str:
    """Return a line with source and home, without passwords."""
    trips, home = without_credentials(settings.trips), without_credentials(settings.home)
    return f"Trips from {trips}; everything is stored in {home}"


def _prepare_instance(settings: Settings, *, alerts_on: bool) -> None:
    """Open Dagster's home, and mark runs that were killed meanwhile as failed."""
    with storage_errors(str(settings.local_home)), open_instance(settings) as instance:
        set_pool_limits(instance)
        if not alerts_on:
            reset_alert_cursors(instance)
        for line in fail_orphaned_runs_now(instance):
            click.echo(line)
        clean_home(settings.local_home)


def _dagster_dev(arguments: list[str]) -> None:
    """Run ``dagster dev`` in this process, with the project's daemon and webserver.

    Raises:
        click.ClickException: when the UI or the daemon dies repeatedly.
    """
    # It advises to use `dg dev` instead, which does not apply to `ml-assets dev`.
    warnings.filterwarnings("ignore", category=dg.SupersessionWarning)
    # Untyped, since the function replaced here is not exported.
    dagster_dev: Any = importlib.import_module("dagster._cli.dev")
    launch = dagster_dev.open_ipc_subprocess
    services: list[SupervisedProcess] = []

    def launch_supervised(parts: Sequence[str], **options: Any) -> SupervisedProcess:
        chosen = [OWN_MODULES.get(part, part) for part in parts]
        name = "Dagster's daemon" if FAST_DAEMON in chosen else "Dagster's UI"
        services.append(SupervisedProcess(name, lambda: launch(chosen, **options)))
        return services[-1]

    dagster_dev.open_ipc_subprocess = launch_supervised
    hide_dagsters_traceback()
    dagster_dev.dev_command.main(args=arguments, prog_name="dagster dev", standalone_mode=False)
    for service in services:
        if service.failure is not None:
            raise click.ClickException(service.failure)


MAX_RESTARTS = 3
"""Maximum number of restarts of a process within ``RESTART_SECONDS``."""

RESTART_SECONDS = 600.0

_DAGSTERS_LINE = "An unexpected exception has occurred"


class SupervisedProcess:
    """A child process that is restarted when it dies; replaces ``subprocess.Popen``.

    ``dagster dev`` polls its children every few seconds, which detects the death.
    """

    def __init__(
        self,
        name: str,
        launch: Callable[[], "subprocess.Popen[Any]"],
        echo: Callable[[str], None] = click.echo,
    ) -> None:
        """Launch the process."""
        self._name, self._launch, self._echo = name, launch, echo
        self._process = launch()
        self._restarts: list[float] = []
        self.failure: str | None = None

    @property
    def pid(self) -> int:
        """Id of the current process."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status of the process, as in ``subprocess``; None while it runs."""
        return self._process.returncode

    def poll(self) -> int | None:
        """Restart the process if it has died; return its exit status when it dies too often."""
        status = self._process.poll()
        if status is None or self.failure is not None:
            return status
        now = time.monotonic()
        self._restarts = [then for then in self._restarts if now - then < RESTART_SECONDS]
        if len(self._restarts) >= MAX_RESTARTS:
            self.failure = (
                f"{self._name} {describe_exit(status)} for the {MAX_RESTARTS + 1}th time within "
                f"{RESTART_SECONDS / 60:.0f} minutes: see its last lines above"
            )
            return status
        self._restarts.append(now)
        self._process = self._launch()
        self._echo(
            f"{self._name} {describe_exit(status)}: restarting it "
            f"({len(self._restarts)} of {MAX_RESTARTS})"
        )
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the current process."""
        return self._process.wait(timeout)

    def kill(self) -> None:
        """Kill the current process."""
        self._process.kill()


def describe_exit(status: int) -> str:
    """Describe how a process ended, by its exit status in ``subprocess``."""
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"


def hide_dagsters_traceback() -> None:
    """Hide the traceback of ``dagster dev``: one line says what has ended."""
    logging.getLogger("dagster").addFilter(lambda record: record.msg != _DAGSTERS_LINE)
