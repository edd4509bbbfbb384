"""``ml-assets alerts``: show and test the alert channels."""

import json
from typing import Any

import click

from ml_assets.alerts.channels import deliver
from ml_assets.alerts.messages import trial_message
from ml_assets.cli.console import plain_console
from ml_assets.config.alert_settings import AlertSettings, EmailSettings, read_alert_settings
from ml_assets.trips.month import utc_now


@click.command()
@click.option("--test", "test", is_flag=True, help="Send a test message by every channel.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def alerts(test: bool, as_json: bool) -> None:
    """Show the alert channels, without passwords.

    With --test, a message is sent by all of them, and the exit status is 1 if one fails.
    """
    settings = read_alert_settings()
    if test and not settings.on:
        raise click.ClickException(
            "there is no channel to test: set ML_ASSETS_ALERT_EMAIL_TO (and ML_ASSETS_SMTP_HOST) "
            "or ML_ASSETS_ALERT_WEBHOOK"
        )
    outcome = deliver(trial_message(settings.ui_url, utc_now()), settings) if test else {}
    errors = {name: error for name, (error, _) in outcome.items()}
    if as_json:
        click.echo(json.dumps(_as_json(settings) | ({"test": _results(errors)} if test else {})))
    else:
        _print(settings, errors)
    if failed := [name for name, error in errors.items() if error is not None]:
        raise click.ClickException(f"not sent by {' and '.join(failed)}, see above")


def _results(errors: dict[str, str | None]) -> dict[str, Any]:
    return {name: {"sent": error is None, "fault": error} for name, error in errors.items()}


def _as_json(settings: AlertSettings) -> dict[str, Any]:
    email = settings.email
    return {
        "email": None
        if email is None
        else {
            "to": list(email.to),
            "from": email.sender,
            "server": f"{email.host}:{email.port}",
            "security": str(email.security),
            "with_password": email.password is not None,
        },
        "webhook": settings.shown_webhook,
        "on_success": settings.on_success,
        "dedup_hours": settings.dedup_window.total_seconds() / 3600,
        "ui_url": settings.ui_url,
    }


def _print(settings: AlertSettings, errors: dict[str, str | None]) -> None:
    email, hours = settings.email, settings.dedup_window.total_seconds() / 3600
    lines = {
        "email": "off: ML_ASSETS_ALERT_EMAIL_TO is not set" if email is None else _describe(email),
        "webhook": settings.shown_webhook or "off: ML_ASSETS_ALERT_WEBHOOK is not set",
        "success": "reported" if settings.on_success else "not reported",
        "repeated": f"failures with the same cause: one message in {hours:g} h, with their number"
        if hours
        else "each failure is sent",
        "links": f"to {settings.ui_url}",
    }
    console = plain_console()
    for name, text in lines.items():
        console.print(f"{name:<9} {text}")
    for name, error in errors.items():
        result = "the test message was accepted" if error is None else f"NOT SENT: {error}"
        console.print(f"{name}: {result}")


def _describe(email: EmailSettings) -> str:
    password = "with" if email.password else "without"
    return (
        f"to {', '.join(email.to)} from {email.sender} by {email.host}:{email.port} "
        f"({email.security}, {password} a password)"
    )
