"""Access control of Dagster's webserver in ``ml-assets dev``, by HTTP and WebSocket."""

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.parse import quote

import pytest

from ml_assets.cli.webserver import guarded
from ml_assets_tests.conftest import REPOSITORY, inherited_environment
from ml_assets_tests.serving.service_process import free_port

READY_SECONDS = 120
LIMITS = "{instance {concurrencyLimits {concurrencyKey}}}"
MUTATION = 'mutation {setConcurrencyLimit(concurrencyKey: "%s", limit: 1)}'
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
FOREIGN = {
    "DNS rebinding": {"Host": "evil.example"},
    "a page's script": {"Origin": "http://evil.example"},
    "another server's page": {"Origin": "http://localhost:1", "Sec-Fetch-Site": "same-site"},
    "a picture": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"},
    "a frame": {**LINK, "Sec-Fetch-Dest": "iframe"},
    "a proxy": {"X-Forwarded-For": "192.0.2.7"},
}


@contextmanager
def running_webserver(home, *options, **variables):
    """Port of a webserver without code location, which starts quickly."""
    port = free_port()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    command = [sys.executable, "-m", "ml_assets.cli.webserver", "--empty-workspace", "--port"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, str(port), *options],
            env={**inherited_environment(), "DAGSTER_HOME": str(home), **variables},
            cwd=REPOSITORY,
            stdout=log,
            stderr=log,
        )
        try:
            end = time.monotonic() + READY_SECONDS
            while not _listens(port):
                assert process.poll() is None and time.monotonic() < end, (home / "log").read_text()
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with running_webserver(tmp_path_factory.mktemp("webserver")) as port:
        yield port


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def request(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer, answer.read().decode()


def graphql(port, query, headers=None):
    kind = {"Content-Type": "application/json"}
    return request(
        port, "POST", "/graphql", json.dumps({"query": query}), {**kind, **(headers or {})}
    )


def limits(port):
    answer, content = graphql(port, LIMITS)
    assert answer.status == 200
    return re.findall('"concurrencyKey": ?"(.*?)"', content)


def handshake(port, headers):
    """Status of the response to a WebSocket handshake."""
    lines = {
        "Host": f"127.0.0.1:{port}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "graphql-ws",
        **headers,
    }
    sent = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"GET /graphql HTTP/1.1\r\n{sent}\r\n".encode())
        return int(connection.recv(65536).split()[1])


def test_its_own_page_and_local_programs_may_use_it(port):
    page = f"http://localhost:{port}"
    own = {"Host": f"localhost:{port}", "Origin": page, "Sec-Fetch-Site": "same-origin"}
    assert request(port, "GET", "/", headers=own)[0].status == 200
    assert graphql(port, MUTATION % "page", own)[0].status == 200
    assert graphql(port, MUTATION % "program")[0].status == 200
    assert {"page", "program"} <= {*limits(port)}
    assert request(port, "GET", f"/graphql?query={quote('{version}')}")[0].status == 200
    assert handshake(port, {}) == handshake(port, own) == 101


@pytest.mark.parametrize("client", FOREIGN)
def test_other_pages_and_proxies_may_neither_read_nor_change(port, client):
    headers = FOREIGN[client]
    mutation = quote(MUTATION % "foreign")
    answers = [
        request(port, "GET", "/server_info", headers=headers),
        request(port, "GET", "/runs", headers=headers),
        request(port, "GET", f"/graphql?query={mutation}", headers=headers),
        request(port, "POST", f"/graphql?query={mutation}", headers=headers),
        request(port, "POST", "/report_asset_materialization/foreign", headers=headers),
        graphql(port, MUTATION % "foreign", headers),
    ]
    for answer, content in answers:
        assert answer.status == 403
        assert "ML_ASSETS_ALLOWED_HOSTS" in content
    assert handshake(port, headers) == 403
    assert "foreign" not in limits(port)


def test_a_link_from_anywhere_opens_the_page_but_not_the_api(port):
    assert request(port, "GET", "/runs/1234", headers=LINK)[0].status == 200
    assert (
        request(port, "GET", f"/graphql?query={quote('{version}')}", headers=LINK)[0].status == 403
    )
    assert request(port, "POST", "/runs", headers=LINK)[0].status == 403


def test_no_get_changes_anything(port):
    """Without Sec-Fetch-Site, a request for an image looks like one by a user."""
    for query in (MUTATION % "get", "query A {version} " + (MUTATION % "get").replace(" ", " B ")):
        path = f"/graphql?operationName=B&query={quote(query)}"
        answer, _ = request(port, "GET", path)
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert "get" not in limits(port)


def test_a_body_behind_an_upgrade_is_read(port):
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEA"}
    answer, content = graphql(port, "{version}", offer)
    assert (answer.status, "version" in content) == (200, True)


def test_hosts_are_named_by_settings():
    def reason(headers, host="127.0.0.1", **variables):
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
        refused = guarded(None, host, variables)._refused(scope)  # type: ignore[arg-type]
        return None if refused is None else refused.status_code

    named, proxied = {"Host": "dagster.example"}, {"X-Forwarded-For": "192.0.2.7"}
    assert reason(named) == 403
    assert (
        reason({**named, **proxied}, ML_ASSETS_ALLOWED_HOSTS="x.example, dagster.example") is None
    )
    assert reason({**named, **proxied}, ML_ASSETS_UI_URL="https://dagster.example/") is None
    assert reason(proxied, ML_ASSETS_UI_URL="http://127.0.0.1:3000") == 403
    assert reason({"Host": "192.0.2.7:3000"}) == 403
    for headers in ({"Host": "192.0.2.7:3000"}, {"Host": "localhost:3000", **proxied}):
        assert reason(headers, host="0.0.0.0") is None
    assert reason(named, host="0.0.0.0") == 403
