"""uvicorn's httptools protocol, with limits for headers and fixes for unusual clients.

httptools parses in C: everything but the model takes about 0.1 ms of a request, half as long as
with h11. But it accepts headers of any length and waits for them forever (h11 limits the length,
not the time), drops the body of a request with an ``Upgrade`` header, and drops a request whose
client has closed its sending side.
"""

import asyncio
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_BYTES: Final = 64 * 1024
"""Maximum length of the request line and all headers together; h11 has the same limit."""

HEADER_SECONDS: Final = 10.0
"""Maximum time from the connection, or the first byte of a later request, to the end of headers."""

DRAIN_SECONDS: Final = 0.3
"""Wait on shutdown for requests that clients sent before they could notice it."""

_TOO_LARGE_BODY: Final = b'{"detail":"headers may have %d bytes"}' % HEADER_BYTES
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
    % (len(_TOO_LARGE_BODY), _TOO_LARGE_BODY)
)


class HeadersTooLarge(ValueError):
    """The headers of a request exceed ``HEADER_BYTES``."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes connections whose headers are too long or too slow.

    An ``Upgrade`` that the server does not support is ignored (RFC 9110, section 7.8): Java's
    HttpClient, Spring and Ktor send ``Upgrade: h2c`` with every first request, and httptools would
    not read its body (uvicorn #2722). A client that closes its sending side after a complete
    request gets the response.
    """

    _parsed_bytes = 0
    _raw_bytes = 0
    _messages = 0
    _in_headers = True
    _too_large = False
    _header_timeout: asyncio.TimerHandle | None = None
    _ending = False
    _half_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timeout for headers."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._start_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timeout for headers."""
        self._cancel_timeout()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection open for the responses to complete requests.

        Returns:
            Whether there are any; otherwise the connection is closed at once.
        """
        if self._is_idle():
            return False
        if self.cycle.more_body:  # the rest of this request will never arrive
            if not self.pipeline:
                return False
            self.pipeline.popleft()
        self._half_closed = True
        return True

    def on_response_complete(self) -> None:
        """Continue with the next request, if there is one."""
        was_last = not self.pipeline
        super().on_response_complete()
        if self._half_closed and was_last:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse data, and count the bytes of incomplete headers.

        The parser does not report incomplete headers. So a chunk counts as headers unless a
        request begins in it, since it may then also hold the body of the previous request.
        """
        begun = self._messages if self._in_headers else None
        self._parse(data)
        if not self._in_headers:
            return
        if self._header_timeout is None:
            self._start_timeout()
        if self._messages == begun:
            self._raw_bytes += len(data)
        if self._raw_bytes > HEADER_BYTES and not self.transport.is_closing():
            self._reject()

    def _parse(self, data: bytes) -> None:
        """Parse data like uvicorn, but also the body of a request whose upgrade is ignored."""
        self._unset_keepalive_if_required()
        unread = memoryview(data)
        try:
            while unread:
                try:
                    self.parser.feed_data(unread)
                    return
                except httptools.HttpParserUpgrade as upgrade:
                    if self._should_upgrade():
                        self.handle_websocket_upgrade()
                        return
                    unread = unread[upgrade.args[0] :]
                    self._read_without_upgrade()
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _read_without_upgrade(self) -> None:
        """Parse the head of this request again without its ``Upgrade``; the body comes later.

        Raises:
            httptools.HttpParserError: when the request is invalid without it.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":  # opens a tunnel
            raise httptools.HttpParserError("CONNECT")
        version = self.parser.get_http_version().encode("ascii")
        head = [b"%s %s HTTP/%s\r\n" % (method, self.url, version)]
        head += [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        # The old parser expects another protocol.
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # like uvicorn
        self.parser.feed_data(b"".join(head) + b"\r\n")

    def _ignores_upgrade(self) -> bool:
        return bool(self.parser.should_upgrade()) and not self._should_upgrade()

    def on_message_begin(self) -> None:
        """Reset the counters when a request begins."""
        self._in_headers, self._parsed_bytes, self._raw_bytes = True, 0, 0
        self._messages += 1
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count a part of the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Cancel the timeout when the headers are complete."""
        if self._ignores_upgrade():
            return  # they are parsed again
        self._in_headers = False
        self._cancel_timeout()
        super().on_headers_complete()
        if self.cycle is not None:  # None for a WebSocket
            self.cycle.keep_alive = self.cycle.keep_alive and not self._ending

    def on_message_complete(self) -> None:
        """Complete a request, unless its head is parsed again without an upgrade."""
        if not self._ignores_upgrade():
            super().on_message_complete()

    def shutdown(self) -> None:
        """Close the connection after the responses to all requests that have been sent.

        uvicorn closes idle connections at once, which resets those with an unread request: under
        load that is every connection but the one whose request is being processed.
        """
        self._ending = True
        if self._is_idle():
            self.loop.call_later(DRAIN_SECONDS, self._close_if_idle)
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Return 431 instead of uvicorn's 400 when headers are too long."""
        if self._too_large:
            self._reject()
        else:
            super().send_400_response(msg)

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_if_idle(self) -> None:
        """Close the connection if no request came; otherwise it closes after the response."""
        if self._is_idle() and not self.transport.is_closing():
            self.transport.close()

    def _count(self, length: int) -> None:
        self._parsed_bytes += length
        if self._parsed_bytes > HEADER_BYTES:
            self._too_large = True
            raise HeadersTooLarge

    def _reject(self) -> None:
        if self._is_idle():  # otherwise the response to an earlier request is being sent
            self.transport.write(_TOO_LARGE)
        self.transport.close()

    def _start_timeout(self) -> None:
        loop: Any = self.loop
        self._header_timeout = loop.call_later(HEADER_SECONDS, self._on_timeout)

    def _cancel_timeout(self) -> None:
        if self._header_timeout is not None:
            self._header_timeout.cancel()
            self._header_timeout = None

    def _on_timeout(self) -> None:
        self._header_timeout = None
        if not self._in_headers or self.transport.is_closing():
            return
        if self._is_idle():
            self.transport.close()
        else:  # an earlier request is being processed
            self._start_timeout()
