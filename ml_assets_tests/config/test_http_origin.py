"""Which requests are those of this machine, told from those of proxies and of pages elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.config.http_origin import LOOPBACK_HOSTS, parse_host, rejection_reason, server_hosts

OWN = {"Host": "127.0.0.1:3000"}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
ALLOWED = [
    {},
    {"Host": "localhost"},
    {"Host": "LOCALHOST:3000"},
    {"Host": "localhost.:3000"},
    {"Host": "127.8.8.8:3000"},
    {"Host": "[::1]:3000"},
    {"Host": "[::ffff:127.0.0.1]"},
    {"Host": "mybox:3000"},
    {"Host": "rides.example"},
    {**OWN, "Origin": "http://127.0.0.1:3000"},
    {**OWN, "Origin": "http://localhost:3000"},
    {**OWN, "Origin": "http://[::1]:3000"},
    {"Host": "localhost", "Origin": "http://localhost"},
    {"Host": "localhost", "Origin": "https://localhost:443"},
    {**OWN, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
    {**OWN, "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
    {"Host": "rides.example", "X-Forwarded-For": "192.0.2.7", "Via": "1.1 proxy"},
    {"Host": "rides.example", "Origin": "https://rides.example", "X-Real-IP": "192.0.2.7"},
    {**OWN, "X-Forwarded-Host": "rides.example", "Origin": "https://rides.example"},
    {**OWN, "X-Request-ID": "1", "Forwarding": "x", "Content-Encoding": "gzip"},
]
REFUSED = [
    ({"Host": "evil.example"}, "evil.example"),
    ({"Host": "evil.example:3000", "Origin": "http://evil.example:3000"}, "evil.example"),
    ({"Host": "localhost.evil.example"}, "localhost.evil.example"),
    ({"Host": "127.0.0.1.evil.example"}, "127.0.0.1.evil.example"),
    ({"Host": "evil@localhost"}, "evil@localhost"),
    ({"Host": "localhost:evil"}, "localhost:evil"),
    ({"Host": "localhost/evil"}, "localhost/evil"),
    ({"Host": "192.0.2.7"}, "192.0.2.7"),
    ({"Host": "[::ffff:192.0.2.7]"}, "192.0.2.7"),
    ({"Host": "2130706433"}, "2130706433"),
    ({"Host": ""}, "host"),
    ({"Host": "a" * 5000}, "aaa…"),
    ({**OWN, "Origin": "http://evil.example"}, "http://evil.example"),
    ({**OWN, "Origin": "http://evil.example:3000"}, "http://evil.example"),
    ({**OWN, "Origin": "http://127.0.0.1:9999"}, "http://127.0.0.1:9999"),
    ({**OWN, "Origin": "http://127.0.0.1"}, "http://127.0.0.1"),
    ({**OWN, "Origin": "null"}, "null"),
    ({**OWN, "Origin": ""}, "page"),
    ({**OWN, "Origin": "http://["}, "http://["),
    ({**OWN, "Origin": "file://"}, "file://"),
    ({"Origin": "http://localhost:3000"}, "http://localhost:3000"),
    ({**OWN, "Origin": "http://evil.example", **LINK}, "http://evil.example"),
    ({**OWN, "Sec-Fetch-Site": "cross-site"}, "cross-site"),
    ({**OWN, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, "same-site"),
    ({**OWN, **LINK, "Sec-Fetch-Dest": "iframe"}, "cross-site"),
    ({**OWN, **LINK, "Sec-Fetch-Mode": "no-cors"}, "cross-site"),
    ({**OWN, "Via": "1.1 squid"}, "via"),
    ({**OWN, "Forwarded": "for=127.0.0.1"}, "forwarded"),
    ({**OWN, "X-Forwarded-For": "127.0.0.1"}, "x-forwarded-for"),
    ({**OWN, "X-Forwarded-Host": "evil.example"}, "x-forwarded-host"),
    ({**OWN, "X-Forwarded-Proto": "https"}, "x-forwarded-proto"),
    ({**OWN, "X-Real-IP": "127.0.0.1"}, "x-real-ip"),
    ({**OWN, "CF-Connecting-IP": "127.0.0.1"}, "cf-connecting-ip"),
    ({**OWN, "CF-Ray": "1"}, "cf-ray"),
    ({**OWN, "True-Client-IP": "127.0.0.1"}, "true-client-ip"),
    ({**OWN, "CDN-Loop": "cloudflare"}, "cdn-loop"),
    ({"Host": "evil.example", "X-Forwarded-Host": "rides.example"}, "evil.example"),
    ({"Host": "rides.example", "Origin": "http://evil.example"}, "http://evil.example"),
]
HOSTS = server_hosts("mybox", ["Rides.Example"])


def why(headers, hosts=HOSTS, method="GET", is_page=True, **options):
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return rejection_reason(method, sent, hosts, is_page=is_page, **options)


@pytest.mark.parametrize("headers", ALLOWED, ids=str)
@pytest.mark.parametrize("is_page", [False, True])
def test_a_request_of_this_machine_is_allowed(headers, is_page):
    assert why(headers, is_page=is_page) is None


@pytest.mark.parametrize(("headers", "named"), REFUSED, ids=str)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_request_is_refused_by_what_it_says(headers, named, method):
    reason = why(headers, method=method)
    assert reason is not None
    assert named in reason
    assert len(reason) < 200


@pytest.mark.parametrize(
    ("method", "is_page", "opens"),
    [("GET", True, True), ("HEAD", True, True), ("POST", True, False), ("GET", False, False)],
)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_anywhere_opens_pages_and_nothing_else(method, is_page, opens, site):
    headers = {**OWN, **LINK, "Sec-Fetch-Site": site}
    assert (why(headers, method=method, is_page=is_page) is None) == opens


def test_a_server_that_listens_to_others_takes_addresses_and_proxies_but_no_names():
    hosts = server_hosts("0.0.0.0", any_address=True)
    proxied = {"Host": "192.0.2.7:3000", "Via": "1.1 squid", "Origin": "http://192.0.2.7:3000"}
    assert why({"Host": "192.0.2.7:3000"}, hosts) is None
    assert why({"Host": "[2001:db8::1]:3000"}, hosts) is None
    assert why(proxied, hosts, proxies=True) is None
    assert why(proxied, hosts) is not None
    assert why({"Host": "evil.example"}, hosts, proxies=True) is not None
    assert why({**proxied, "Origin": "http://192.0.2.8:3000"}, hosts, proxies=True) is not None


def test_two_hosts_are_one_too_many():
    sent = [(b"host", b"localhost"), (b"host", b"localhost")]
    assert rejection_reason("GET", sent, LOOPBACK_HOSTS, is_page=True) == "names two hosts"


@given(st.text())
def test_no_text_is_a_host_and_more(text):
    found = parse_host(text)
    assert found is None or text.lower().startswith((found.name, f"[{found.name}]"))


@given(st.dictionaries(st.sampled_from([b"host", b"origin", b"sec-fetch-site"]), st.binary()))
def test_whatever_is_sent_the_reason_can_be_shown(headers):
    reason = rejection_reason("GET", [*headers.items()], LOOPBACK_HOSTS, is_page=False)
    assert reason is None or (reason.replace("…", "").isascii() and reason.isprintable())
