"""Alerts reach a real mail server and a real webhook; what goes wrong is a warning."""

import email
import email.policy
import json
import logging
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from ml_assets.alerts.alert import Alert
from ml_assets.alerts.folding import fold
from ml_assets.alerts.sending import send
from ml_assets.alerts.settings import AlertSettings, EmailSettings, Security, read_alert_settings
from ml_assets.settings import SettingsError

NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)
ALERT = Alert(
    "run_failed:train", "Training failed\r\nBcc: x@y.z", "http://ui/runs/1", NOW, "Run it again."
)
PASSWORD = "hunter2-secret"


class Inbox:
    def __init__(self):
        self.messages = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.messages.append((envelope, server.transport.get_extra_info("ssl_object") is not None))
        return "250 OK"


def right(server, session, envelope, mechanism, data):
    return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def serve(authority, tmp_path):
    running = []
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))

    def start(security, password=PASSWORD, trusted=True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        inbox = Inbox()
        options = {"authenticator": right, "auth_required": True, "auth_require_tls": False}
        if security is Security.STARTTLS:
            options |= {"tls_context": context, "require_starttls": True}
        tls = {"ssl_context": context} if security is Security.TLS else {}
        server = Controller(inbox, hostname="127.0.0.1", port=free_port(), **tls, **options)
        server.start()
        running.append(server)
        file = str(ca_file) if trusted else None
        return inbox, EmailSettings(
            ("a@example.org", "b@example.org"),
            "ml@example.org",
            "127.0.0.1",
            server.port,
            security,
            "me",
            password,
            file,
        )

    yield start
    for each in running:
        each.stop()


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.mark.parametrize("security", list(Security))
def test_a_message_arrives_as_written(serve, security):
    inbox, settings = serve(security)
    assert send(ALERT, AlertSettings(settings)) == ("email",)
    [(envelope, encrypted)] = inbox.messages
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert envelope.rcpt_tos == ["a@example.org", "b@example.org"]
    assert message["Subject"] == "[ml-assets] Training failed Bcc: x@y.z"
    assert message["Bcc"] is None
    assert encrypted == (security is not Security.PLAIN)
    for part in (
        "Where: http://ui/runs/1",
        "Since: 2026-11-25 07:00 UTC",
        "What to do: Run it again.",
    ):
        assert part in message.get_content()


@pytest.mark.parametrize("wrong", [{"password": "wrong-" + PASSWORD}, {"trusted": False}])
def test_a_wrong_password_or_certificate_is_a_warning(serve, caplog, wrong):
    inbox, settings = serve(Security.STARTTLS, **wrong)
    assert send(ALERT, AlertSettings(settings)) == ()
    assert not inbox.messages
    assert "was not sent by email" in caplog.text
    assert PASSWORD not in caplog.text + repr(settings)


@pytest.mark.parametrize("status", [200, 500])
def test_a_webhook_is_told_though_the_mail_server_is_down(caplog, status):
    bodies = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        down = EmailSettings(
            ("a@example.org",), "a@example.org", "127.0.0.1", free_port(), Security.PLAIN
        )
        settings = AlertSettings(down, f"http://127.0.0.1:{server.server_port}/T0KEN")
        with caplog.at_level(logging.WARNING):
            assert send(ALERT, settings) == (("webhook",) if status == 200 else ())
        server.shutdown()
    assert bodies == [{"text": ALERT.text}]
    assert "not sent by email" in caplog.text
    assert "T0KEN" not in caplog.text + repr(settings)


def test_repeats_are_folded_for_six_hours(tmp_path):
    state = tmp_path / "alerts.json"
    assert fold(ALERT, state, NOW) == ALERT
    assert fold(ALERT, state, NOW + timedelta(hours=1)) is None
    assert fold(ALERT, state, NOW + timedelta(hours=5, minutes=59)) is None
    later = fold(ALERT, state, NOW + timedelta(hours=6))
    assert later is not None
    assert "Repeated: 2 more since 2026-11-25 07:00 UTC" in later.text


@pytest.mark.parametrize(
    "damage",
    [b"{", b"[]", b"\xff", b'{"run_failed:train": {"at": "2026-11-25T07:00:00", "held_back": 0}}'],
)
def test_a_damaged_state_is_empty(tmp_path, damage):
    state = tmp_path / "alerts.json"
    state.write_bytes(damage)
    assert fold(ALERT, state, NOW) == ALERT
    assert fold(ALERT, state, NOW) is None


GOOD = {
    "ML_ASSETS_ALERT_EMAIL_TO": "a@example.org",
    "ML_ASSETS_SMTP_HOST": "mail",
    "ML_ASSETS_SMTP_USER": "me",
    "ML_ASSETS_SMTP_PASSWORD": PASSWORD,
}


def test_without_variables_nothing_is_sent():
    assert send(ALERT, read_alert_settings({})) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ML_ASSETS_ALERT_EMAIL_TO", "nobody"),
        ("ML_ASSETS_ALERT_EMAIL_FROM", "a@b\nBcc: c@d"),
        ("ML_ASSETS_SMTP_HOST", ""),
        ("ML_ASSETS_SMTP_PORT", "0"),
        ("ML_ASSETS_SMTP_SECURITY", "ssl"),
        ("ML_ASSETS_SMTP_USER", ""),
        ("ML_ASSETS_SMTP_PASSWORD", ""),
        ("ML_ASSETS_SMTP_CA_FILE", "/nowhere.pem"),
        ("ML_ASSETS_ALERT_WEBHOOK", "hooks/T0KEN"),
        ("ML_ASSETS_ALERT_ON_SUCCESS", "maybe"),
        ("ML_ASSETS_UI_URL", "localhost"),
    ],
)
def test_a_wrong_value_names_its_variable_and_no_secret(name, value):
    assert PASSWORD not in repr(read_alert_settings(GOOD))
    with pytest.raises(SettingsError, match=name) as caught:
        read_alert_settings(GOOD | {name: value})
    assert PASSWORD not in str(caught.value)
    assert "T0KEN" not in str(caught.value)
