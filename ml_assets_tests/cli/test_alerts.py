"""``ml-assets alerts``: shows and tests the channels; no password is shown."""

import json

import pytest

from ml_assets.config.alert_settings import Security
from ml_assets_tests.alerts.servers import (
    PASSWORD,
    USER,
    Authority,
    free_port,
    require_no_secret,
    running_mail,
    running_webhook,
)
from ml_assets_tests.cli.calling import call


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda arguments, variables: call(monkeypatch, capsys, ["alerts", *arguments], variables)


def variables(server, authority, **changed):
    given = {
        "ML_ASSETS_ALERT_EMAIL_TO": "a@example.org, b@example.org",
        "ML_ASSETS_ALERT_EMAIL_FROM": "ml@example.org",
        "ML_ASSETS_SMTP_HOST": "127.0.0.1",
        "ML_ASSETS_SMTP_PORT": server.port,
        "ML_ASSETS_SMTP_USER": USER,
        "ML_ASSETS_SMTP_PASSWORD": PASSWORD,
        "ML_ASSETS_SMTP_CA_FILE": authority.ca_file,
    }
    return {**given, **changed}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority):
    with running_mail(Security.STARTTLS, authority.context_for("127.0.0.1")) as running:
        yield running


def test_without_variables_everything_is_off_and_there_is_nothing_to_test(cli):
    answer = cli([], {})
    assert (answer.status, answer.err) == (0, "")
    assert "email     off: ML_ASSETS_ALERT_EMAIL_TO is not set\n" in answer.out
    assert "webhook   off: ML_ASSETS_ALERT_WEBHOOK is not set\n" in answer.out
    tested = cli(["--test"], {})
    assert tested.status == 1
    assert tested.err.startswith("error: there is no channel to test: set ML_ASSETS_ALERT_EMAIL_TO")


def test_it_shows_the_channels_without_a_secret(cli, server, authority):
    hook = "https://hooks.example.org/services/T0KEN123/B0T4567"
    given = variables(server, authority, ML_ASSETS_ALERT_WEBHOOK=hook)
    answer, as_json = cli([], given), cli(["--json"], given)
    assert (answer.status, answer.err, as_json.status) == (0, "", 0)
    assert (
        f"email     to a@example.org, b@example.org from ml@example.org by 127.0.0.1:{server.port} "
        "(starttls, with a password)\n"
        "webhook   https://hooks.example.org/…\n"
    ) in answer.out
    shown = json.loads(as_json.out)
    assert shown["email"]["with_password"] is True
    assert shown["webhook"] == "https://hooks.example.org/…"
    assert "test" not in shown
    require_no_secret(answer.out, as_json.out)
    assert not server.inbox.envelopes


def test_a_test_message_reaches_every_channel(cli, server, authority):
    with running_webhook() as hook:
        answer = cli(["--test"], variables(server, authority, ML_ASSETS_ALERT_WEBHOOK=hook.url))
        assert (answer.status, answer.err) == (0, "")
        (text,) = hook.texts
    assert server.inbox.subjects == ["[ml-assets] This is a test of the alerts of ml-assets"]
    assert text == server.inbox.messages[0].get_content()
    assert (
        "email: the test message was accepted\nwebhook: the test message was accepted" in answer.out
    )


def test_a_failing_channel_is_reported_with_the_reason_and_status_1(cli, server, authority):
    with running_webhook() as hook:
        given = variables(
            server,
            authority,
            ML_ASSETS_ALERT_WEBHOOK=hook.url,
            ML_ASSETS_SMTP_PASSWORD=f"not-{PASSWORD}",
        )
        answer, as_json = cli(["--test"], given), cli(["--test", "--json"], given)
    assert (answer.status, as_json.status) == (1, 1)
    assert "email: NOT SENT: user or password rejected (535): see ML_ASSETS" in answer.out
    assert "webhook: the test message was accepted" in answer.out
    assert answer.err == "error: not sent by email, see above\n"
    assert json.loads(as_json.out)["test"]["webhook"] == {"sent": True, "fault": None}
    require_no_secret(answer.out, answer.err, as_json.out, as_json.err)


def test_a_server_that_is_down_is_reported(cli, server, authority):
    down = variables(server, authority, ML_ASSETS_SMTP_PORT=free_port())
    answer = cli(["--test"], down)
    assert answer.status == 1
    assert "email: NOT SENT: connection refused or lost" in answer.out


def test_a_wrong_value_is_one_line_and_status_2(cli):
    answer = cli([], {"ML_ASSETS_ALERT_WEBHOOK": "hooks.example.org/T0KEN123"})
    assert answer.status == 2
    assert answer.err.startswith("error: ML_ASSETS_ALERT_WEBHOOK='…' is not allowed: use a URL")
    assert answer.err.count("\n") == 1
