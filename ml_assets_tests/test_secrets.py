"""Scrubbing of text: no secrets, no control characters, bounded length."""

import io
import logging
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ml_assets.secrets import (
    _MAX_SCANNED,
    MAX_CHARACTERS,
    MAX_VALUE_CHARACTERS,
    ShownError,
    error_text,
    one_line,
    scrub,
    scrub_logs,
    shown_value,
)

SOURCE = "zip://*::http://me:s3c%40ret/PW@127.0.0.1:9/x.zip?sig=abC%2Fdef9%3D&mode=r"


@pytest.fixture(autouse=True)
def _configured(monkeypatch):
    monkeypatch.setenv("ML_ASSETS_TRIPS", SOURCE)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://mlflow:mlflow@server/mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "it's 4 secret")
    monkeypatch.setenv("ML_ASSETS_API_TOKEN", "T0k3n-of-the-service")
    monkeypatch.setenv("ML_ASSETS_ALERT_WEBHOOK", "https://hooks.example.org/services/T0/B0/x7Yz12")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:pr0xyPW@10.0.0.1:3128")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"[Errno 2] {SOURCE}", "[Errno 2] zip://*::http://***@127.0.0.1:9/x.zip"),
        ("Failed to parse: 's3c%40ret' is no port", "Failed to parse: '***' is no port"),
        ("no path '/s3c@ret/PW/x'", "no path '/***/x'"),
        ("cannot connect to me:s3c%2540ret%252fPW@h", "cannot connect to ***@h"),
        ("403 url='http://h/x?sig=abC/def9%3D'", "403 url='http://h/x'"),
        (
            "Max retries exceeded with url: /a?k=abc12345 (",
            "Max retries exceeded with url: /a?*** (",
        ),
        ("Signature abC/def9= differs", "Signature *** differs"),
        ('invalid login "it\'s 4 secret"', 'invalid login "***"'),
        ("login 'it\\'s 4 secret', it&#x27;s+4%20secret", "login '***', ***"),
        ("Authorization: Bearer T0k3n-of-the-service", "Authorization: Bearer ***"),
        (
            "headers {'Authorization': 'Basic bWU6cGFzcw=='}",
            "headers {'Authorization': 'Basic ***'}",
        ),
        ("POST /services/T0/B0/x7Yz12 500", "POST /*** 500"),
        ("proxy refused cHJveHk6cHIweHlQVw==", "proxy refused ***"),
        ("simplecache::http://h/x?sig=q1w2", "simplecache::http://h/x"),
        (
            "s3 error {'secret': 'other0ne', 'endpoint': 'x'}",
            "s3 error {'secret': '***', 'endpoint': 'x'}",
        ),
        ("AccountKey=abcd==;EndpointSuffix=x", "AccountKey=***;EndpointSuffix=x"),
        ("postgresql://a:b/c@h:5432/db", "postgresql://***@h:5432/db"),
        # A password that is a word stays where it is part of a path or a name.
        ("site-packages/mlflow/store.py, mlflow.db", "site-packages/mlflow/store.py, mlflow.db"),
        ("password 'mlflow' for user", "password '***' for user"),
        ("mode r, 2023-01: 3 of 5 months", "mode r, 2023-01: 3 of 5 months"),
        ("see http://127.0.0.1:3000/runs/1#logs", "see http://127.0.0.1:3000/runs/1#logs"),
    ],
)
def test_secrets_are_masked_and_other_text_kept(text, shown):
    assert scrub(text) == shown


FORMS = [
    str,
    repr,
    lambda text: quote(text, safe=""),
    lambda text: quote(quote(text, safe=""), safe=""),
    quote_plus,
    lambda text: f"http://user:{text}@host:1/x",
    lambda text: f"http://user:{quote(text, safe='')}@host:1/x?y=1",
    lambda text: f"['{text}', {{'password': '{text}'}}]",
]
PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), min_size=8, max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(password=PASSWORDS.map(lambda text: f"{text}7Z"), form=st.sampled_from(FORMS))
@example(password="a?b#c/d@e:f&g=h7Z", form=str)
def test_passwords_are_masked_in_every_encoding(monkeypatch, password, form):
    monkeypatch.setenv("ML_ASSETS_SMTP_PASSWORD", password)
    monkeypatch.setenv("ML_ASSETS_HOME", f"s3://key:{quote(password, safe='')}@bucket/home")
    written = form(password)
    scrubbed = scrub(f"cannot open {written}: refused")
    assert written not in scrubbed
    assert password not in scrubbed
    assert scrubbed.startswith("cannot open ")


@pytest.mark.parametrize("value", ["1", "yes", "true"])
def test_switches_are_not_secrets(monkeypatch, value):
    monkeypatch.setenv("MYSQL_ALLOW_EMPTY_PASSWORD", value)
    text = "version 1 serves; passed: yes; carried out: true"
    assert scrub(text) == text


def test_secrets_outside_the_environment_can_be_passed():
    scrubbed = scrub("no such host: me:pa55 w0rd@h (q9w8e7)", "http://me:pa55%20w0rd@h/x", "q9w8e7")
    assert scrubbed == "no such host: ***@h (***)"


def test_control_characters_and_terminal_escapes_are_removed():
    assert scrub("\x1b]0;title\x07\x1b[31mred\x1b[0m\x00 a\u202eb\u200b \ud800\r\nnext\t.") == (
        "red ab \nnext\t."
    )


def test_a_long_text_is_shortened_and_keeps_its_end():
    scrubbed = error_text(ValueError(f"column {'x' * 1_000_000}: rename it"))
    assert len(scrubbed) <= MAX_CHARACTERS
    assert scrubbed.startswith("ValueError: column ")
    assert scrubbed.endswith("rename it")
    assert len(scrub("x" * 1_000_000)) <= MAX_CHARACTERS
    assert len(one_line("a\n" * 1_000_000, 100)) == 100


def test_shortening_does_not_expose_a_secret():
    for before in range(_MAX_SCANNED // 2 - 20, _MAX_SCANNED // 2 + 2, 3):
        scrubbed = scrub(
            f"{'y' * before} T0k3n-of-the-service {'z ' * _MAX_SCANNED}", limit=_MAX_SCANNED
        )
        assert "T0k3n" not in scrubbed
        assert "service" not in scrubbed


def test_shown_errors_are_scrubbed_on_construction():
    class Unreadable(ShownError, OSError):
        pass

    assert str(Unreadable(f"{SOURCE} cannot be read\x07")) == (
        "zip://*::http://***@127.0.0.1:9/x.zip cannot be read"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http:/me:s3cretPW@host/x", "'***@host/x'"),
        ("me:s3cretPW@host", "'***@host'"),
        ("/data/x@y", "'/data/x@y'"),
        ("//host/x?signature=s3cretPW", "'//host/x'"),
    ],
)
def test_an_invalid_value_is_quoted_without_its_password(value, shown):
    assert shown_value(value) == shown
    assert len(shown_value("x" * 1_000_000)) <= MAX_VALUE_CHARACTERS + 2


def test_log_records_and_tracebacks_are_scrubbed():
    before = logging.getLogRecordFactory()
    written = io.StringIO()
    logger = logging.getLogger("urllib3.connectionpool.test")
    logger.addHandler(logging.StreamHandler(written))
    try:
        scrub_logs()
        logger.warning("Retrying: %s", "/a?sig=abC%2Fdef9%3D")
        try:
            raise OSError(SOURCE)
        except OSError:
            logger.exception("failed at %d", 7)
    finally:
        logging.setLogRecordFactory(before)
    lines = written.getvalue()
    assert "Retrying: /a?***" in lines
    assert "failed at 7" in lines
    assert "Traceback" in lines
    assert "OSError: zip://*::http://***@127.0.0.1:9/x.zip" in lines
    assert "s3c" not in lines
