"""Delivery to a real mail server and a real webhook; failures are warnings."""

import logging
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.channels import send
from ml_assets.config.alert_settings import AlertSettings, EmailSettings, Security
from ml_assets_tests.alerts.servers import (
    PASSWORD,
    free_port,
    logged,
    require_no_secret,
    running_mail,
    trickling_mail,
)

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")
NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)
ALERT = Alert(
    kind="retrain: xgboost_model",
    what="retrain failed at xgboost_model: ValueError: kein Öl für 東京",
    where="http://ui/runs/1",
    since=NOW,
    what_to_do="Run it again.",
    details=("retrain last succeeded at 2026-11-18 09:00 UTC.",),
)
TEXT = """\
retrain failed at xgboost_model: ValueError: kein Öl für 東京
retrain last succeeded at 2026-11-18 09:00 UTC.

Where: http://ui/runs/1
Since: 2026-11-25 07:00 UTC
What to do: Run it again.
"""


@pytest.fixture(autouse=True)
def _log_everything(caplog):
    caplog.set_level(logging.DEBUG)


@pytest.mark.parametrize("security", list(Security))
def test_a_message_arrives_as_written(mail, authority, caplog, security):
    server = mail(security)
    settings = AlertSettings(server.settings(ca_file=authority.ca_file))
    assert send(ALERT, settings) == ("email",)
    (envelope,), (message,) = server.inbox.envelopes, server.inbox.messages
    assert envelope.rcpt_tos == ["a@example.org", "b@example.org"]
    assert message["Subject"] == (
        "[ml-assets] retrain failed at xgboost_model: ValueError: kein Öl für 東京"
    )
    assert message["From"] == "ml@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content() == TEXT
    assert server.inbox.encrypted == [security is not Security.PLAIN]
    require_no_secret(logged(caplog), repr(settings), str(message))


def delivery_warning(settings, caplog):
    assert send(ALERT, AlertSettings(settings)) == ()
    (warning,) = [entry for entry in caplog.records if entry.name == "ml_assets.alerts.channels"]
    message = warning.getMessage()
    assert message.startswith("Alert 'retrain: xgboost_model' was not sent by email: ")
    require_no_secret(logged(caplog), repr(settings))
    assert warning.exc_info is None
    return message


@pytest.mark.parametrize("security", list(Security))
def test_a_wrong_password_is_a_warning(mail, authority, caplog, security):
    server = mail(security)
    settings = server.settings(ca_file=authority.ca_file, password=f"not-{PASSWORD}")
    warning = delivery_warning(settings, caplog)
    assert "user or password rejected (535): see ML_ASSETS_SMTP_USER" in warning
    assert not server.inbox.envelopes


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_no_password_is_sent_to_a_server_with_an_untrusted_certificate(mail, caplog, security):
    server = mail(security)
    assert "the certificate is not trusted" in delivery_warning(server.settings(), caplog)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_no_password_is_sent_to_a_server_with_another_servers_certificate(
    mail, authority, caplog, security
):
    server = mail(security, name="mail.example.org")
    warning = delivery_warning(server.settings(ca_file=authority.ca_file), caplog)
    assert "the certificate is not trusted: IP address mismatch" in warning


def test_nothing_is_sent_unencrypted_when_the_server_offers_no_starttls(mail, caplog):
    server = mail(Security.PLAIN)
    warning = delivery_warning(server.settings(security=Security.STARTTLS), caplog)
    assert "STARTTLS" in warning
    assert "see ML_ASSETS_SMTP_SECURITY" in warning
    assert not server.inbox.envelopes


def test_the_wrong_kind_of_tls_is_reported(mail, authority, caplog):
    server = mail(Security.STARTTLS)
    settings = server.settings(security=Security.TLS, ca_file=authority.ca_file)
    assert "the server does not use TLS on this port" in delivery_warning(settings, caplog)


def test_a_server_that_is_down_is_a_warning(mail, caplog):
    settings = mail(Security.PLAIN).settings(port=free_port())
    assert "connection refused or lost" in delivery_warning(settings, caplog)


def test_a_server_that_hangs_does_not_block_other_channels(webhook, caplog, monkeypatch):
    monkeypatch.setattr("ml_assets.alerts.channels.DEADLINE_SECONDS", 1.0)
    hook = webhook()
    with trickling_mail() as port:
        email = EmailSettings(("a@b.org",), "a@b.org", "127.0.0.1", port, Security.PLAIN)
        started = time.monotonic()
        assert send(ALERT, AlertSettings(email, hook.url)) == ("webhook",)
        assert time.monotonic() - started < 3
    assert "not sent by email: not done within 1 s" in logged(caplog)


def test_a_rejected_recipient_does_not_stop_delivery_to_the_others(mail, caplog):
    server = mail(Security.PLAIN)
    server.inbox.refused = ("b@example.org",)
    assert send(ALERT, AlertSettings(server.settings())) == ("email",)
    assert [each.rcpt_tos for each in server.inbox.envelopes] == [["a@example.org"]]
    assert "rejected for b@example.org" in logged(caplog)


def test_the_webhook_is_called_when_the_mail_server_is_down(mail, webhook, caplog):
    hook = webhook()
    down = mail(Security.PLAIN).settings(port=free_port())
    assert send(ALERT, AlertSettings(down, hook.url)) == ("webhook",)
    assert hook.posts == [("/services/T0KEN123/B0T4567", {"text": TEXT})]
    require_no_secret(logged(caplog))


def test_an_e_mail_is_sent_when_the_webhook_is_gone(mail, webhook, caplog):
    server, hook = mail(Security.PLAIN), webhook(status=404)
    settings = AlertSettings(server.settings(), hook.url)
    assert send(ALERT, settings) == ("email",)
    assert len(server.inbox.envelopes) == 1
    assert "not sent by webhook: the webhook returned 404" in logged(caplog)
    require_no_secret(logged(caplog), repr(settings))


def test_a_redirect_of_the_webhook_is_not_followed(webhook, caplog):
    other = webhook()
    hook = webhook(status=302, headers=[("Location", other.url)])
    assert send(ALERT, AlertSettings(webhook=hook.url)) == ()
    assert len(hook.posts) == 1
    assert other.posts == []
    assert "the webhook returned 302" in logged(caplog)
    require_no_secret(logged(caplog))


def test_a_webhook_that_is_down_is_a_warning_without_its_url(caplog):
    url = f"http://127.0.0.1:{free_port()}/services/T0KEN123/B0T4567"
    assert send(ALERT, AlertSettings(webhook=SecretStr(url))) == ()
    assert "not sent by webhook: connection refused or lost" in logged(caplog)
    require_no_secret(logged(caplog))


def test_error_text_is_escaped_for_slack(webhook):
    hook = webhook()
    alert = Alert("k", "failed: <!channel> & <https://evil|here>", "http://ui", NOW, "Look.")
    send(alert, AlertSettings(webhook=hook.url))
    (text,) = hook.texts
    assert text.startswith("failed: &lt;!channel&gt; &amp; &lt;https://evil|here&gt;\n")


def test_credentials_in_error_text_are_redacted(mail, webhook):
    server, hook = mail(Security.PLAIN), webhook()
    what = (
        "cannot connect to postgresql://mlflow:pa55@db/mlflow, s3://key:pa55@bucket/x?sig=pa55, "
        f"{PASSWORD} nor {hook.url}"
    )
    alert = Alert("k", what, "http://ui", NOW, "Look.", details=(what,))
    assert send(alert, AlertSettings(server.settings(), hook.url)) == ("email", "webhook")
    (message,) = server.inbox.messages
    sent = message["Subject"] + message.get_content() + hook.texts[0]
    assert "postgresql://***@db/mlflow" in sent
    assert "pa55" not in sent
    require_no_secret(sent)


@pytest.fixture(scope="module")
def inbox():
    with running_mail() as server:
        yield server


@given(st.text(st.characters(), max_size=400))
def test_any_error_text_is_delivered_and_adds_no_header(inbox, text):
    inbox.inbox.envelopes.clear()
    what = f"failed: {text}\r\nBcc: x@evil.org\r\n\r\n.\r\nsecond"
    alert = Alert("k", what, "http://ui", NOW, "Look.", details=(what,))
    assert send(alert, AlertSettings(inbox.settings())) == ("email",)
    (message,) = inbox.inbox.messages
    assert message["Bcc"] is None
    assert len(inbox.inbox.envelopes[0].rcpt_tos) == 2
    assert message["Subject"].startswith("[ml-assets] failed:")
    assert "\n" not in message["Subject"]
    lines = message.get_content().splitlines()
    assert lines[-1] == "What to do: Look."
    assert len(lines) == 6


def test_without_a_channel_nothing_is_sent():
    assert send(ALERT, AlertSettings()) == ()
