"""Entry point: subcommands, and errors as one line with an exit status."""

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from ml_assets.secrets import ShownError, scrub, scrub_logs
from ml_assets.storage.leftovers import process_folder


class LazyGroup(click.Group):
    """A group of commands that are imported when they are called.

    Args:
        lazy_subcommands: ``module.attribute`` by name, in the order of the list.
    """

    def __init__(
        self, *args: Any, lazy_subcommands: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy_subcommands or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List all names without importing the commands."""
        return [*self._lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command with this name."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._lazy[cmd_name].rpartition(".")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command as click does, with suggestions for a misspelt name."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(
                error.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from None


FAILED, WRONG_USE, STOPPED = 1, 2, 130
INTERRUPTED = (
    "stopped; what was finished is kept: the next run fetches no month again, "
    "but trains its models again"
)

COMMANDS = {
    "run": "ml_assets.cli.run.run",
    "dev": "ml_assets.cli.dev.dev",
    "serve": "ml_assets.cli.serve.serve",
    "predict": "ml_assets.cli.predict.predict",
    "runs": "ml_assets.cli.runs.runs",
    "months": "ml_assets.cli.months.months",
    "leaderboard": "ml_assets.cli.leaderboard.leaderboard",
    "report": "ml_assets.cli.report.report",
    "decisions": "ml_assets.cli.champion.decisions",
    "rollback": "ml_assets.cli.champion.rollback",
    "promote": "ml_assets.cli.champion.promote",
    "backtest": "ml_assets.cli.backtest.backtest",
    "reproduce": "ml_assets.cli.reproduce.reproduce",
    "alerts": "ml_assets.cli.alerts.alerts",
}
"""Location of each command; only the called one is imported."""

_FORMER_OPTIONS = {"--serve": "--refit", "--most-rows": "--max-rows", "--last": "--limit"}


@click.group(
    cls=LazyGroup,
    lazy_subcommands=COMMANDS,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
)
@click.version_option(package_name="ml-assets")
@click.pass_context
def commands(context: click.Context) -> None:
    """Predict how long a New York taxi trip takes, and keep predicting it well.

    Where trips come from is set by ML_ASSETS_TRIPS: sample (synthetic, the default), tlc (the Taxi
    and Limousine Commission), or a folder or URL. Results live in ML_ASSETS_HOME.
    """
    # pydantic takes as long as all else that the help needs.
    from ml_assets.cli.environment import prepare_environment

    unknown = prepare_environment()
    context.obj = dict(os.environ)  # before MLflow and Dagster add to it
    for line in unknown:
        click.echo(line, err=True)


def main() -> None:
    """Run the command; an error that a user can fix is one line on standard error.

    Exits with 0 on success, 2 for a wrong option or environment variable, 1 for other failures, 130
    after Ctrl-C.
    """
    scrub_logs()
    with process_folder():
        status = _status()
    sys.exit(status)


def _status() -> int:
    try:
        return commands(prog_name="ml-assets", standalone_mode=False) or 0
    except click.UsageError as error:
        return _fail(_usage_line(error), WRONG_USE)
    except click.ClickException as error:
        return _fail(f"error: {error.format_message()}", FAILED)
    except ShownError as error:
        return _fail(f"error: {error}", WRONG_USE if error.wrong_use else FAILED)
    except (click.Abort, KeyboardInterrupt):
        return _fail(INTERRUPTED, STOPPED)
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe; the interpreter must not flush to it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        line = _storage_message(error)
        if line is None:
            raise  # a bug, or an unknown error: its traceback is needed
        return _fail(f"error: {line}", FAILED)


def _storage_message(error: Exception) -> str | None:
    """Return the message for a disk or database error; None for another error."""
    from ml_assets.config.settings import read_settings
    from ml_assets.storage.error_messages import storage_error_message

    return storage_error_message(error, read_settings().local_home)


def _usage_line(error: click.UsageError) -> str:
    message = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.option_name in _FORMER_OPTIONS:
        message = f"{error.option_name} is now {_FORMER_OPTIONS[error.option_name]}"
    if "\n" in message:  # a bare `ml-assets`: its help
        return message
    command = error.ctx.command_path if error.ctx else "ml-assets run"
    return f"error: {message} (see {command} --help)"


def _fail(line: str, status: int) -> int:
    click.echo(scrub(line), err=True)
    return status
