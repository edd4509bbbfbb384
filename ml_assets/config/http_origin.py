"""The origin of an HTTP request: a program on this machine, a proxy, or a page of another site.

A server for local clients only has to distinguish these by headers, since browsers and proxies run
on this machine too:

* ``Host`` is the name by which the client addresses the server. A page whose host name resolves to
  this machine (DNS rebinding) can read every response, but can only send its own host name.
* ``Origin`` and ``Sec-Fetch-Site`` (https://www.w3.org/TR/fetch-metadata/) identify the page that
  sends a cross-site request. A page cannot set either.
* A proxy adds headers. A proxy that adds none cannot be distinguished from its clients.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

Headers = Sequence[tuple[bytes, bytes]]
"""Header names, in lower case, and values, as in ASGI."""

LOCALHOST: Final = "localhost"

PROXY_HEADERS: Final = frozenset(
    name.encode("ascii")
    for name in (
        "via", "forwarded", "forwarded-for", "cdn-loop", "client-ip", "true-client-ip",
        "x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-originating-ip", "x-remote-ip",
        "x-remote-addr", "x-proxyuser-ip", "x-host", "x-rewrite-url", "x-azure-clientip",
        "x-azure-socketip", "fastly-client-ip", "fly-client-ip", "proxy-client-ip",
        "wl-proxy-client-ip", "x-nf-client-connection-ip", "proxy-connection",
    )
)  # fmt: skip
PROXY_PREFIXES: Final = tuple(
    name.encode("ascii")
    for name in ("x-forwarded", "x-original-", "x-envoy-", "x-appengine-", "x-vercel-", "cf-")
)
"""Headers of RFC 9110 and RFC 7239, and of common servers, CDNs and cloud providers."""

_SAME_SITE: Final = (b"same-origin", b"none")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_MAX_HOST_BYTES: Final = 255 + len(":65535")
_SHOWN_CHARACTERS: Final = 80
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")
_ORIGIN: Final = re.compile(rb"(https?)://(.+)")


class Address(NamedTuple):
    """A host and port in a header.

    Attributes:
        name: Name or IP address in lower case, without brackets.
    """

    name: str
    port: str | None


@dataclass(frozen=True)
class AllowedHosts:
    """Host names that clients may use; ``localhost`` and loopback addresses are always allowed.

    Attributes:
        proxied: Names for which a proxy forwards requests, in lower case.
        any_address: Whether every IP address is allowed; a page cannot forge one.
    """

    names: frozenset[str] = frozenset()
    proxied: frozenset[str] = frozenset()
    any_address: bool = False

    def allows(self, name: str) -> bool:
        """Whether a client may use this name or address."""
        return self.is_own(name) or (self.any_address and _ip_address(name) is not None)

    def is_own(self, name: str) -> bool:
        """Whether this name or address belongs to this server only."""
        return name == LOCALHOST or name in self.names or name in self.proxied or is_loopback(name)


LOOPBACK_HOSTS: Final = AllowedHosts()


def server_hosts(
    listening: str, allowed: Iterable[str] = (), *, any_address: bool = False
) -> AllowedHosts:
    """Return the allowed hosts of a server on this machine.

    Args:
        allowed: Further names, for which a proxy may forward requests.
    """
    return AllowedHosts(
        names=frozenset({listening.lower(), socket.gethostname().lower()}),
        proxied=frozenset(name.lower() for name in allowed),
        any_address=any_address,
    )


def server_url(host: str, port: int) -> str:
    """Return a server's URL for links; loopback if it listens on all addresses."""
    named = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{named}:{port}"


def rejection_reason(
    method: str, headers: Headers, hosts: AllowedHosts, *, is_page: bool, proxies: bool = False
) -> str | None:
    """Return why a request may not come from a program or a person on this machine.

    Args:
        method: HTTP method; ``GET`` for a WebSocket.
        is_page: Whether the path is a page, which links of other sites may open, since they cannot
            read it.
        proxies: Whether any proxy may forward requests.

    Returns:
        The reason, to follow "the request"; None if the request is allowed.
    """
    values = dict(headers)
    host_header = values.get(b"host")
    host = None if host_header is None else _parse_header(host_header)
    if host_header is not None and (host is None or not hosts.allows(host.name)):
        return f"names the host {_shown(host_header)}"
    if len(values) < len(headers) and sum(name == b"host" for name, _ in headers) > 1:
        return "names two hosts"
    addresses = [] if host is None else [host]
    proxy = next(filter(_is_proxy_header, values), None)
    if proxy is not None:
        forwarded = _parse_header(values.get(b"x-forwarded-host", b""))
        if forwarded is not None and forwarded.name in hosts.proxied:
            addresses.append(forwarded)
        if not proxies and not any(address.name in hosts.proxied for address in addresses):
            return f"was forwarded by a proxy (header {_shown(proxy)})"
    origin = values.get(b"origin")
    if origin is not None and not _is_own_page(origin, addresses, hosts):
        return f"is from the page {_shown(origin)}"
    site = values.get(b"sec-fetch-site", b"none")
    if site not in _SAME_SITE and not (is_page and _opens_page(method, values)):
        return f"is from a page of another site (Sec-Fetch-Site: {_shown(site)})"
    return None


def host_rejection(headers: Headers, hosts: AllowedHosts) -> str | None:
    """Return :func:`rejection_reason` for public paths, which depends on ``Host`` only."""
    return rejection_reason(
        "GET", [header for header in headers if header[0] == b"host"], hosts, is_page=True
    )


def parse_host(text: str) -> Address | None:
    """Parse a name or an address with an optional port; None if invalid.

    Args:
        text: Text such as ``localhost:8000`` or ``[::1]``.
    """
    found = _HOST.fullmatch(text)
    if found is None:
        return None
    return Address((found[1] or found[2]).lower().removesuffix("."), found[3])


def is_loopback_host(host: str) -> bool:
    """Whether a server that listens on this name or address is reachable from this machine only.

    Args:
        host: Name, which is resolved, or address; False for a name that cannot be resolved.
    """
    if host == LOCALHOST or is_loopback(host):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(is_loopback(str(address[0])) for *_, address in found)


def is_loopback(host: str) -> bool:
    """Whether an address is a loopback address."""
    if host == "127.0.0.1":
        return True
    address = _ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped is not None and mapped.is_loopback


def _ip_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_proxy_header(name: bytes) -> bool:
    return name in PROXY_HEADERS or name.startswith(PROXY_PREFIXES)


def _parse_header(value: bytes) -> Address | None:
    return _parse_bytes(value) if len(value) <= _MAX_HOST_BYTES else None


@lru_cache(maxsize=256)
def _parse_bytes(value: bytes) -> Address | None:
    return parse_host(value.decode("latin-1"))


def _opens_page(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a link was followed in a window, not in a frame."""
    return (
        method in ("GET", "HEAD")
        and headers.get(b"sec-fetch-mode") == b"navigate"
        and headers.get(b"sec-fetch-dest") == b"document"
    )


def _is_own_page(origin: bytes, addresses: Iterable[Address], hosts: AllowedHosts) -> bool:
    """Whether the origin is a page of this server, possibly under another of its names."""
    found = _ORIGIN.fullmatch(origin)
    page = _parse_header(found[2]) if found else None
    if found is None or page is None:
        return False
    defaults = _DEFAULT_PORTS.values()
    port = page.port or _DEFAULT_PORTS[found[1].decode("ascii")]
    return any(
        (page.name == address.name or hosts.is_own(page.name))
        and (port == address.port or (address.port is None and port in defaults))
        for address in addresses
    )


def _shown(value: bytes) -> str:
    """Return a header value in a form that is safe in a message."""
    text = value.decode("latin-1")
    shown = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"
