"""``ml-assets dev``: Dagster's UI and daemon for this project."""

import contextlib
import fcntl
import importlib
import os
import signal
import socket
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from ml_assets.cli.dev_processes import (
    SupervisedProcess,
    hand_over_runs,
    hide_dagsters_traceback,
    stop_launched_runs,
)
from ml_assets.cli.instance import dagster_home, open_instance
from ml_assets.config.alert_settings import read_alert_settings
from ml_assets.config.http_origin import is_loopback_host
from ml_assets.config.settings import PROJECT_FOLDER, Settings, read_settings
from ml_assets.defs.common import UNFOLDED_LINEAGE, check_crons
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
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=3000,
    show_default=True,
    help="Port to listen on.",
)
def dev(host: str, port: int) -> None:
    """Open the project in Dagster's UI, with the daemon that runs sensors and backfills."""
    settings = read_settings()
    # A wrong value is reported now, not in the code server's log.
    check_crons(settings)
    import ml_assets.training.families  # noqa: F401 - reads ML_ASSETS_EXTRA_FAMILIES

    alerts_on = read_alert_settings().on
    _require_free(host, port)
    with _only_one(settings, f"http://{host}:{port}"):
        _prepare_instance(settings, alerts_on=alerts_on)
        click.echo(
            f"{announcement(settings)}\n"
            "The asset graph, every group unfolded (click Materialize all…, then All):\n"
            f"  {_reached_at(host, port)}{UNFOLDED_LINEAGE}\n"
            "Stop with Ctrl-C."
        )
        if not is_loopback_host(host):
            click.echo(
                f"warning: with --host {host}, anyone who can reach this machine can use Dagster's "
                "UI, which has no password: start runs, change the champion, read all logs",
                err=True,
            )
        os.environ.setdefault("ML_ASSETS_UI_URL", _reached_at(host, port))
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


def _reached_at(host: str, port: int) -> str:
    """Return the URL of this UI for links; loopback if it listens on all addresses."""
    named = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{named}:{port}"


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
            raise click.UsageError(
                f"--host {host} --port {port} cannot be used ({error.strerror}): choose "
                f"another with --port, for example --port {port % 65535 + 1} (`make dev "
                f"PORT={port % 65535 + 1}`)"
            ) from error


def announcement(settings: Settings) -> str:
    """Return a line with source and home, without passwords."""
    trips, home = without_credentials(settings.trips), without_credentials(settings.home)
    return f"Trips from {trips}; everything is stored in {home}"


def _prepare_instance(settings: Settings, *, alerts_on: bool) -> None:
    """Open Dagster's home, and mark runs that were killed meanwhile as failed."""
    from ml_assets.cli.concurrency import fail_orphaned_runs_now
    from ml_assets.defs.alerting.overdue import reset_alert_cursors
    from ml_assets.defs.operations.queued_runs import set_pool_limits

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
    import dagster as dg

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
