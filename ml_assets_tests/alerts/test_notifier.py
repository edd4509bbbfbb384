"""Pending alerts: who resends them, in which order, and what their file holds."""

from datetime import UTC, datetime, timedelta

import pytest

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.notifier import STATE, Notifier
from ml_assets.config.alert_settings import AlertSettings, Security
from ml_assets_tests.alerts.servers import PASSWORD, USER, free_port, require_no_secret

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")
NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)


def failure(number, what="failed"):
    return Alert(f"kind {number}", f"{what} {number}", "http://ui", NOW, "Look.")


@pytest.fixture
def server(mail):
    return mail(Security.PLAIN)


def test_pending_alerts_are_stored_without_secrets(server, tmp_path):
    down = AlertSettings(server.settings(port=free_port()))
    what = f"login of {USER} with {PASSWORD} at s3://key:hunter2@host/x"
    notifier = Notifier(down, tmp_path)
    for send in (notifier.send, notifier.send_deduplicated):
        assert send(failure(1, what)).pending
    state = tmp_path.joinpath(*STATE).read_text()
    assert "login of *** with ***" in state
    require_no_secret(state)


def test_an_alert_that_the_server_rejects_does_not_block_others(server, tmp_path):
    down = AlertSettings(server.settings(port=free_port()))
    for number in range(3):
        Notifier(down, tmp_path).send(failure(number))
    server.inbox.refused_text = "failed 0"
    outcomes = Notifier(AlertSettings(server.settings()), tmp_path).retry_pending()
    assert server.inbox.subjects == ["[ml-assets] failed 1", "[ml-assets] failed 2"]
    assert outcomes[0] == "kind 0: not sent: no channel accepted it, it will be retried"
    server.inbox.refused_text = None
    Notifier(AlertSettings(server.settings()), tmp_path).retry_pending()
    assert server.inbox.subjects[2:] == ["[ml-assets] failed 0"]


def test_a_channel_that_hangs_does_not_block_a_tick(server, tmp_path, monkeypatch):
    """Dagster gives a tick a minute: what is left is sent in the next."""
    now = [0.0]

    def hang(*_):
        now[0] += 8.0
        return ()

    monkeypatch.setattr("ml_assets.alerts.channels.send", hang)
    monkeypatch.setattr("ml_assets.alerts.notifier.time.monotonic", lambda: now[0])
    notifier = Notifier(AlertSettings(server.settings()), tmp_path)
    for number in range(9):
        notifier.send(failure(number))
    now[0] = 0.0
    assert len(notifier.retry_pending()) == 4
    assert now[0] == 32.0


def test_a_sent_alert_is_no_longer_pending(server, tmp_path):
    down, up = (AlertSettings(server.settings(**port)) for port in ({"port": free_port()}, {}))
    Notifier(down, tmp_path).send(failure(1))
    Notifier(up, tmp_path).send(failure(1))
    assert (
        Notifier(up, tmp_path, lambda: datetime.now(UTC) + timedelta(days=1)).retry_pending() == []
    )
    assert len(server.inbox.messages) == 1
