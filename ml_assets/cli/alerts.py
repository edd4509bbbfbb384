"""``ml-assets alerts``: who is told of what, and whether it gets there."""

import json
from typing import Any

import click
from rich.console import Console

from ml_assets.alerts.channels import deliver
from ml_assets.alerts.notifier import utc_now
from ml_assets.alerts.run_messages import trial_message
from ml_assets.config.alert_settings import AlertSettings, EmailSettings, read_alert_settings


@click.command()
@click.option("--test", "test", is_flag=True, help="Send a test message by every channel.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def alerts(test: bool, as_json: bool) -> None:
    """Show who is told of failures, and how; no password is shown.

    With --test, a message is sent to all of them, and the exit status tells whether it was taken.
    """
    settings = read_alert_settings()
    if test and not settings.on:
        raise click.ClickException(
            "there is no channel to test: set ML_ASSETS_ALERT_EMAIL_TO (and ML_ASSETS_SMTP_HOST) "
            "or ML_ASSETS_ALERT_WEBHOOK"
        )
    outcome = deliver(trial_message(settings.ui_url, utc_now()), settings) if test else {}
    faults = {name: fault for name, (fault, _) in outcome.items()}
    if as_json:
        click.echo(json.dumps(_as_json(settings, faults if test else None)))
    else:
        _print(settings)
        _print_test(faults)
    if failed := [name for name, fault in faults.items() if fault is not None]:
        raise click.ClickException(f"not sent by {' and '.join(failed)}, see above")


def _as_json(settings: AlertSettings, faults: dict[str, str | None] | None) -> dict[str, Any]:
    email = settings.email
    shown: dict[str, Any] = {
        "email": None if email is None else _email_as_json(email),
        "webhook": settings.shown_webhook,
        "on_success": settings.on_success,
        "fold_hours": settings.fold_window.total_seconds() / 3600,
        "ui_url": settings.ui_url,
    }
    if faults is not None:
        shown["test"] = {
            name: {"sent": fault is None, "fault": fault} for name, fault in faults.items()
        }
    return shown


def _email_as_json(email: EmailSettings) -> dict[str, Any]:
    return {
        "to": list(email.to),
        "from": email.sender,
        "server": f"{email.host}:{email.port}",
        "security": str(email.security),
        "with_password": email.password is not None,
    }


def _print(settings: AlertSettings) -> None:
    email, hours = settings.email, settings.fold_window.total_seconds() / 3600
    lines = {
        "email": "off: ML_ASSETS_ALERT_EMAIL_TO is not set" if email is None else _told(email),
        "webhook": settings.shown_webhook or "off: ML_ASSETS_ALERT_WEBHOOK is not set",
        "success": "told, too" if settings.on_success else "not told",
        "repeated": f"a failure for the same reason is told once in {hours:g} h, then how often"
        if hours
        else "each is told",
        "links": f"to {settings.ui_url}",
    }
    console = Console(highlight=False)
    for name, text in lines.items():
        console.print(f"{name:<9} {text}", soft_wrap=True, markup=False)


def _told(email: EmailSettings) -> str:
    password = "with" if email.password else "without"
    return (
        f"to {', '.join(email.to)} from {email.sender} by {email.host}:{email.port} "
        f"({email.security}, {password} a password)"
    )


def _print_test(faults: dict[str, str | None]) -> None:
    console = Console(highlight=False)
    for name, fault in faults.items():
        told = "the test message was taken" if fault is None else f"NOT SENT: {fault}"
        console.print(f"{name}: {told}", soft_wrap=True, markup=False)
