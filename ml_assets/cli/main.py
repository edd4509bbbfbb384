"""Entry point: subcommands, and errors as one line with an exit status."""

import sys

import click

from ml_assets.cli.dev import dev
from ml_assets.cli.leaderboard import leaderboard
from ml_assets.cli.months import months
from ml_assets.cli.run import run
from ml_assets.settings import SettingsError
from ml_assets.sources.published import BadPublication, SourceUnavailable, WrongSource


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ml-assets")
def commands() -> None:
    """Predict how long a New York taxi trip takes, and keep predicting it well.

    Where trips come from is set by ML_ASSETS_TRIPS: sample (synthetic, the default), tlc (the Taxi
    and Limousine Commission), or a folder or URL. Results live in ML_ASSETS_HOME.
    """


for command in (run, dev, months, leaderboard):
    commands.add_command(command)


def main() -> None:
    """Run the command; an error that a user can mend is one line on standard error, status 2."""
    try:
        commands()
    except (SettingsError, WrongSource) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except (SourceUnavailable, BadPublication) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
