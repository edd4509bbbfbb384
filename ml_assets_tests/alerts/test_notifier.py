"""What waits to be told: by whom it is told, in which order, and what lies in its file."""

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


def test_what_waits_lies_on_disk_without_a_secret(server, tmp_path):
    down = AlertSettings(server.settings(port=free_port()))
    told = f"login of {USER} with {PASSWORD} at s3://key:hunter2@host/x"
    for tell in (Notifier(down, tmp_path).tell, Notifier(down, tmp_path).send_deduplicated):
        assert tell(failure(1, told)).waiting
    state = tmp_path.joinpath(*STATE).read_text()
    assert "login of *** with ***" in state
    require_no_secret(state)


def test_an_alert_that_the_server_refuses_keeps_no_other_from_being_told(server, tmp_path):
    down = AlertSettings(server.settings(port=free_port()))
    for number in range(3):
        Notifier(down, tmp_path).tell(failure(number))
    server.inbox.refused_text = "failed 0"
    outcomes = Notifier(AlertSettings(server.settings()), tmp_path).retry_pending()
    assert server.inbox.subjects == ["[ml-assets] failed 1", "[ml-assets] failed 2"]
    assert outcomes[0] == "kind 0: not told: no channel took it, it is tried again"
    server.inbox.refused_text = None
    Notifier(AlertSettings(server.settings()), tmp_path).retry_pending()
    assert server.inbox.subjects[2:] == ["[ml-assets] failed 0"]


def test_a_channel_that_hangs_holds_up_no_tick(server, tmp_path, monkeypatch):
    """Dagster gives a tick a minute: what is left is told in the next."""
    now = [0.0]

    def hang(*_):
        now[0] += 8.0
        return ()

    monkeypatch.setattr("ml_assets.alerts.notifier.send", hang)
    monkeypatch.setattr("ml_assets.alerts.notifier.time.monotonic", lambda: now[0])
    teller = Notifier(AlertSettings(server.settings()), tmp_path)
    for number in range(9):
        teller.tell(failure(number))
    now[0] = 0.0
    assert len(teller.retry_pending()) == 4
    assert now[0] == 32.0


def test_what_was_told_by_itself_waits_no_more(server, tmp_path):
    down, up = (AlertSettings(server.settings(**port)) for port in ({"port": free_port()}, {}))
    Notifier(down, tmp_path).tell(failure(1))
    Notifier(up, tmp_path).tell(failure(1))
    assert (
        Notifier(up, tmp_path, lambda: datetime.now(UTC) + timedelta(days=1)).retry_pending() == []
    )
    assert len(server.inbox.messages) == 1
