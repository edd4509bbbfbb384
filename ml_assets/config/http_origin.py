"""Where an HTTP request comes from: a program on this machine, a proxy, or a page from elsewhere.

A server that only this machine may use has to tell these apart by headers, since a browser and a
proxy are programs on this machine too:

* ``Host`` names the server as the client knows it. A page whose own name was made to resolve to
  this machine (DNS rebinding) may read every answer, but cannot send another name than its own.
* ``Origin`` and ``Sec-Fetch-Site`` (https://www.w3.org/TR/fetch-metadata/) name the page that sends
  a request to another site than its own. A page cannot set either.
* A proxy adds headers of its own. One that adds none cannot be told from its clients.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case and values, as ASGI has them."""

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
"""What RFC 9110 and RFC 7239, and the common servers, content networks and hosts add."""

_NOT_FOREIGN: Final = (b"same-origin", b"none")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_MAX_HOST_BYTES: Final = 255 + len(":65535")
_SHOWN_CHARACTERS: Final = 80
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?")
_ORIGIN: Final = re.compile(rb"(https?)://(.+)")


class Address(NamedTuple):
    """A host as a client writes it.

    Attributes:
        name: Name or IP address in lower case, without brackets.
        port: As it is written; None when it is not.
    """

    name: str
    port: str | None


@dataclass(frozen=True)
class AllowedHosts:
    """Names by which clients may address a server; ``localhost`` and loopback addresses always are.

    Attributes:
        names: Further ones of this machine, in lower case.
        proxied: Names for which a proxy forwards requests here, in lower case.
        any_address: Whether every IP address is known: no page can have made one up.
    """

    names: frozenset[str] = frozenset()
    proxied: frozenset[str] = frozenset()
    any_address: bool = False

    def knows(self, name: str) -> bool:
        """Whether a client may address the server by this name or address."""
        return self.is_own(name) or (self.any_address and _is_address(name))

    def is_own(self, name: str) -> bool:
        """Whether this is a name or an address of this server and no other."""
        return name == LOCALHOST or name in self.names or name in self.proxied or is_loopback(name)


LOOPBACK_HOSTS: Final = AllowedHosts()


def server_hosts(
    listening: str, allowed: Iterable[str] = (), *, any_address: bool = False
) -> AllowedHosts:
    """The names of a server on this machine.

    Args:
        listening: Name or address on which it was told to listen.
        allowed: Further names, for which a proxy may forward requests.
        any_address: See :class:`AllowedHosts`.
    """
    return AllowedHosts(
        names=frozenset({listening.lower(), socket.gethostname().lower()}),
        proxied=frozenset(name.lower() for name in allowed),
        any_address=any_address,
    )


def rejection_reason(
    method: str, headers: Headers, hosts: AllowedHosts, *, is_page: bool, proxies: bool = False
) -> str | None:
    """Why a request may not have been made by a program or a person on this machine.

    Args:
        method: Of the request; ``GET`` for a WebSocket.
        headers: Of the request.
        hosts: Names of the server.
        is_page: Whether the path is one of a page, which a link anywhere may open: the page that
            holds the link cannot read what is opened.
        proxies: Whether requests may come through any proxy.

    Returns:
        The reason, to follow "the request"; None when there is none.
    """
    given = dict(headers)
    stated = given.get(b"host")
    host = None if stated is None else _parsed(stated)
    if stated is not None and (host is None or not hosts.knows(host.name)):
        return f"names the host {_shown(stated)}"
    if len(given) < len(headers) and sum(name == b"host" for name, _ in headers) > 1:
        return "names two hosts"
    addresses = [] if host is None else [host]
    proxy = next(filter(_is_proxy_header, given), None)
    if proxy is not None:
        forwarded = _parsed(given.get(b"x-forwarded-host", b""))
        if forwarded is not None and forwarded.name in hosts.proxied:
            addresses.append(forwarded)
        if not proxies and not any(address.name in hosts.proxied for address in addresses):
            return f"was forwarded by a proxy (header {_shown(proxy)})"
    origin = given.get(b"origin")
    if origin is not None and not _is_own_page(origin, addresses, hosts):
        return f"is from the page {_shown(origin)}"
    site = given.get(b"sec-fetch-site", b"none")
    if site not in _NOT_FOREIGN and not (is_page and _opens_page(method, given)):
        return f"is from a page of another site (Sec-Fetch-Site: {_shown(site)})"
    return None


def host_rejection(headers: Headers, hosts: AllowedHosts) -> str | None:
    """As :func:`rejection_reason`, for what anybody may fetch from a server by one of its names."""
    return rejection_reason(
        "GET", [header for header in headers if header[0] == b"host"], hosts, is_page=True
    )


def parse_host(text: str) -> Address | None:
    """A name or an address, perhaps with a port; None when it is neither.

    Args:
        text: For example ``localhost:8000`` or ``[::1]``.
    """
    found = _HOST.fullmatch(text)
    if found is None:
        return None
    return Address((found[1] or found[2]).lower().removesuffix("."), found[3])


def is_loopback_host(host: str) -> bool:
    """Whether a name or an address on which a server listens can be reached from this machine only.

    Args:
        host: A name is resolved; one that cannot be is taken for one that others reach.
    """
    if host == LOCALHOST or is_loopback(host):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(is_loopback(str(address[0])) for *_, address in found)


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine alone."""
    if host == "127.0.0.1":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_proxy_header(name: bytes) -> bool:
    return name in PROXY_HEADERS or name.startswith(PROXY_PREFIXES)


def _parsed(value: bytes) -> Address | None:
    return _parse_bytes(value) if len(value) <= _MAX_HOST_BYTES else None


@lru_cache(maxsize=256)
def _parse_bytes(value: bytes) -> Address | None:
    return parse_host(value.decode("latin-1"))


def _opens_page(method: str, given: Mapping[bytes, bytes]) -> bool:
    """Whether a person has followed a link, in a window of its own rather than in a frame."""
    return (
        method in ("GET", "HEAD")
        and given.get(b"sec-fetch-mode") == b"navigate"
        and given.get(b"sec-fetch-dest") == b"document"
    )


def _is_own_page(origin: bytes, addresses: Iterable[Address], hosts: AllowedHosts) -> bool:
    """Whether a page was served at one of these addresses, perhaps under another own name."""
    found = _ORIGIN.fullmatch(origin)
    page = _parsed(found[2]) if found else None
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
    """A value as it may stand in a message."""
    text = value.decode("latin-1")
    shown = "".join(sign if sign.isascii() and sign.isprintable() else "?" for sign in text)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"
