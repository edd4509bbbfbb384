"""Other runs of the same Dagster instance: dead ones are ended, and living ones are waited for."""

from datetime import datetime

import click
import dagster as dg

from ml_assets.automation.dead_runs import IN_PROGRESS, fail_dead_runs


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs failed whose process is gone; a line on each of them."""
    return [
        f"run {run_id} was still in progress, but its process is gone: it is marked as failed"
        for run_id in fail_dead_runs(instance)
    ]


def require_alone(instance: dg.DagsterInstance) -> None:
    """Refuse to train beside another run: both would read and replace the one training set.

    Raises:
        click.ClickException: naming the run in progress, since when, and the way out.
    """
    records = instance.get_run_records(dg.RunsFilter(statuses=list(IN_PROGRESS)), limit=1)
    for record in records:
        run = record.dagster_run
        begun = record.create_timestamp
        if record.start_time is not None:
            begun = datetime.fromtimestamp(record.start_time).astimezone()
        raise click.ClickException(
            f"run {run.run_id} ({run.job_name}) is in progress since {begun:%Y-%m-%d %H:%M %Z}, "
            "and a training beside it could mix its months with that run's: wait until it has "
            "ended, or cancel it in the UI (`ml-assets dev`, Runs), then run this again"
        )
