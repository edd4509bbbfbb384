"""Settings of alerts: off unless asked for, checked at once, and silent about what is secret."""

from datetime import timedelta

import pytest

from ml_assets.config.alert_settings import Security, read_alert_settings
from ml_assets.config.environment import SettingsError
from ml_assets_tests.alerts.servers import PASSWORD, require_no_secret

HOOK = "https://hooks.example.org/services/T0KEN123/B0T4567"
GOOD = {
    "ML_ASSETS_ALERT_EMAIL_TO": "a@example.org",
    "ML_ASSETS_SMTP_HOST": "mail",
    "ML_ASSETS_SMTP_USER": "mailer-of-alerts",
    "ML_ASSETS_SMTP_PASSWORD": PASSWORD,
}


def test_an_empty_environment_is_alerts_off():
    for environment in ({}, dict.fromkeys(GOOD, " "), {"ML_ASSETS_SMTP_HOST": "mail"}):
        settings = read_alert_settings(environment)
        assert not settings.on
        assert not settings.on_success
        assert settings.dedup_window == timedelta(hours=6)
        assert settings.ui_url == "http://127.0.0.1:3000"


@pytest.mark.parametrize(
    ("security", "port"), [("", 587), ("starttls", 587), ("tls", 465), ("plain", 25)]
)
def test_each_kind_of_security_has_its_port(security, port):
    settings = read_alert_settings(
        {
            "ML_ASSETS_ALERT_EMAIL_TO": " a@example.org, b@example.org ",
            "ML_ASSETS_SMTP_HOST": "mail",
            "ML_ASSETS_SMTP_SECURITY": security,
        }
    )
    assert settings.on
    assert settings.email.to == ("a@example.org", "b@example.org")
    assert settings.email.sender == "a@example.org"
    assert settings.email.security == Security(security or "starttls")
    assert settings.email.port == port


def test_the_sender_is_the_user_if_that_is_an_address():
    settings = read_alert_settings(GOOD | {"ML_ASSETS_SMTP_USER": "me@example.org"})
    assert settings.email.sender == "me@example.org"
    chosen = read_alert_settings(GOOD | {"ML_ASSETS_ALERT_EMAIL_FROM": "ml@example.org"})
    assert chosen.email.sender == "ml@example.org"


def test_a_password_goes_over_an_open_line_on_this_machine_only():
    plain = GOOD | {"ML_ASSETS_SMTP_SECURITY": "plain"}
    for host in ("localhost", "127.0.0.1", "::1"):
        assert read_alert_settings(plain | {"ML_ASSETS_SMTP_HOST": host}).on
    with pytest.raises(SettingsError, match="the password is sent unencrypted"):
        read_alert_settings(plain)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("ML_ASSETS_ALERT_EMAIL_TO", "nobody", "addresses such as name@example.org"),
        ("ML_ASSETS_ALERT_EMAIL_TO", "a@example.org, nobody", "addresses such as"),
        ("ML_ASSETS_ALERT_EMAIL_FROM", "a@b\nBcc: c@d", "addresses such as"),
        ("ML_ASSETS_SMTP_HOST", "", "name the mail server"),
        ("ML_ASSETS_SMTP_HOST", "mail:25", "its port goes into ML_ASSETS_SMTP_PORT"),
        ("ML_ASSETS_SMTP_HOST", "smtp://mail", "name the mail server"),
        ("ML_ASSETS_SMTP_PORT", "0", "1 to 65535"),
        ("ML_ASSETS_SMTP_PORT", "٢٥", "1 to 65535"),
        ("ML_ASSETS_SMTP_SECURITY", "ssl", "use starttls, tls or plain"),
        ("ML_ASSETS_SMTP_USER", "", "user and password, or neither"),
        ("ML_ASSETS_SMTP_PASSWORD", "", "user and password, or neither"),
        ("ML_ASSETS_SMTP_CA_FILE", "/nowhere.pem", "a file of certificates"),
        (
            "ML_ASSETS_ALERT_WEBHOOK",
            "hooks.example.org/T0KEN123",
            "starts with http:// or https://",
        ),
        ("ML_ASSETS_ALERT_WEBHOOK", "https:///T0KEN123", "starts with http:// or https://"),
        ("ML_ASSETS_ALERT_WEBHOOK", f"{HOOK}\r\nHost: evil", "starts with http:// or https://"),
        ("ML_ASSETS_ALERT_ON_SUCCESS", "maybe", "use true or false"),
        ("ML_ASSETS_ALERT_DEDUP_HOURS", "-1", "use hours from 0"),
        ("ML_ASSETS_ALERT_DEDUP_HOURS", "nan", "use hours from 0"),
        ("ML_ASSETS_ALERT_DEDUP_HOURS", "a day", "use hours from 0"),
        ("ML_ASSETS_UI_URL", "localhost", "starts with http:// or https://"),
        ("ML_ASSETS_UI_URL", "http://me:hunter2@ui", "Dagster's UI and nothing more"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_variable_and_what_is_allowed_but_no_secret(
    name, value, allowed
):
    with pytest.raises(SettingsError) as caught:
        read_alert_settings(GOOD | {name: value})
    line = str(caught.value)
    assert line.startswith(f"{name}=")
    assert allowed in line
    assert "\n" not in line
    require_no_secret(line)


def test_a_wrong_choice_of_security_is_shown_as_it_was_given():
    given = GOOD | {"ML_ASSETS_SMTP_SECURITY": "plain", "ML_ASSETS_SMTP_HOST": "mail.example.org"}
    with pytest.raises(SettingsError, match=r"^ML_ASSETS_SMTP_SECURITY='plain' is not allowed"):
        read_alert_settings(given)


def test_nothing_secret_is_in_what_settings_show():
    settings = read_alert_settings(GOOD | {"ML_ASSETS_ALERT_WEBHOOK": HOOK})
    assert settings.shown_webhook == "https://hooks.example.org/…"
    require_no_secret(repr(settings), str(settings), settings.shown_webhook)
