"""A local mail server and a local webhook."""

import base64
import contextlib
import email
import email.policy
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from ml_assets.config.alert_settings import EmailSettings, Security

USER, PASSWORD = "mailer-of-alerts", "hunter2/s3cret"


def logged(caplog) -> str:
    """Everything that was logged, except by the mail server itself."""
    own = [entry for entry in caplog.records if entry.name != "mail.log"]
    return "\n".join(f"{entry.name} {entry.getMessage()} {entry.exc_text or ''}" for entry in own)


def require_no_secret(*texts):
    encoded = base64.b64encode(PASSWORD.encode()).decode()
    for text in texts:
        for secret in (PASSWORD, encoded, USER, "T0KEN123", "B0T4567", "hunter2"):
            assert secret not in text


def free_port():
    """A port on which nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


@dataclass
class Inbox:
    """Messages that a mail server has accepted."""

    envelopes: list = field(default_factory=list)
    encrypted: list = field(default_factory=list)
    refused: tuple = ()
    refused_text: str | None = None

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address in self.refused:
            return "550 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        subject = email.message_from_bytes(envelope.content)["Subject"]
        if self.refused_text is not None and self.refused_text in subject:
            return "554 this looks like spam"
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        self.envelopes.append(envelope)
        return "250 OK"

    @property
    def messages(self) -> list[EmailMessage]:
        return [
            email.message_from_bytes(each.content, policy=email.policy.default)
            for each in self.envelopes
        ]

    @property
    def subjects(self) -> list[str]:
        return [message["Subject"] for message in self.messages]


def _authenticate(server, session, envelope, mechanism, data):
    correct = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=correct, handled=False)


class MailServer(Controller):
    """Requires user and password; implicit TLS, STARTTLS, or neither."""

    def __init__(self, security, context=None):
        self.inbox = Inbox()
        self.security = security
        options: dict[str, Any] = {
            "authenticator": _authenticate,
            "auth_required": True,
            "auth_require_tls": False,
        }
        if security is Security.STARTTLS:
            options |= {
                "tls_context": context,
                "require_starttls": True,
                "auth_require_tls": True,
            }
        tls: dict[str, Any] = {"ssl_context": context} if security is Security.TLS else {}
        super().__init__(self.inbox, hostname="127.0.0.1", port=free_port(), **tls, **options)

    def settings(self, **changed) -> EmailSettings:
        defaults = {
            "to": ("a@example.org", "b@example.org"),
            "sender": "ml@example.org",
            "host": "127.0.0.1",
            "port": self.port,
            "security": self.security,
            "user": USER,
            "password": PASSWORD,
        }
        return EmailSettings(**{**defaults, **changed})


@contextlib.contextmanager
def running_mail(security=Security.PLAIN, context=None):
    server = MailServer(security, context)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Authority:
    """A certificate authority for the mail server's certificate; clients trust ``ca_file``."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.ca_file = str(folder / "authority.pem")
        self._authority.cert_pem.write_to_path(self.ca_file)

    def context_for(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(name).configure_cert(context)
        return context


class Webhook(ThreadingHTTPServer):
    """Responds to every post with a status, after a delay, and records what was posted."""

    daemon_threads = True

    def __init__(self, status=200, seconds=0.0, headers=()):
        self.posts: list[tuple[str, Any]] = []
        self.status, self.seconds, self.headers = status, seconds, headers
        super().__init__(("127.0.0.1", 0), _Hook)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/services/T0KEN123/B0T4567"

    @property
    def texts(self):
        return [post["text"] for _, post in self.posts]


class _Hook(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, json.loads(body)))
        time.sleep(self.server.seconds)
        self.send_response(self.server.status)
        for name, value in self.server.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"T0KEN123 is unknown" if self.server.status >= 400 else b"ok")

    def do_GET(self):
        self.do_POST()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def running_webhook(**options):
    with Webhook(**options) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def trickling_mail():
    """A mail server whose greeting never ends: one byte every half second."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    while not over.wait(0.5):
                        connection.sendall(b"2")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            listening.close()
            thread.join(2)
