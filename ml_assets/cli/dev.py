"""``ml-assets dev``: Dagster's UI and daemon on this project."""

import os
import sys
from pathlib import Path

import click

from ml_assets.cli.instance import dagster_home
from ml_assets.settings import PROJECT_FOLDER, read_settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3000, show_default=True, help="Port to listen on.")
def dev(host: str, port: int) -> None:
    """Open the project in Dagster's UI, with the daemon that runs sensors and backfills."""
    settings = read_settings()
    os.environ["DAGSTER_HOME"] = str(dagster_home(settings))
    dagster = Path(sys.executable).parent / "dagster"
    click.echo(f"Trips from {settings.trips}; everything is kept in {settings.home}")
    click.echo(f"Open http://{host}:{port} , then Materialize all… and All. Stop with Ctrl-C.")
    os.chdir(PROJECT_FOLDER)
    os.execv(dagster, [str(dagster), "dev", "--host", host, "--port", str(port)])
