"""uvicorn's quicker HTTP protocol, with what it lacks.

httptools parses in C: all that surrounds the model takes about 0.1 ms of a request so, and twice
that with h11. But it takes headers of any length and waits for them for ever (h11 bounds the
length, not the time), it drops the body of a request that offers to change the protocol, and it
drops a request whose client has closed its sending side.
"""

import asyncio
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_BYTES: Final = 64 * 1024
"""Of the request line and all headers together, as h11 has it."""

HEADER_SECONDS: Final = 10.0
"""From the connection, or the first byte of a later request, to the end of its headers."""

DRAIN_SECONDS: Final = 0.3
"""When the service ends: for requests that were sent before their client could know of it."""

_DETAIL: Final = b'{"detail":"headers may have %d bytes"}' % HEADER_BYTES
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(_DETAIL), _DETAIL)
)


class HeadersTooLarge(ValueError):
    """More bytes of headers than a request may have."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes a connection whose headers are too long or too late.

    An ``Upgrade`` that the server does not support is ignored, as RFC 9110 (section 7.8) has it:
    Java's HttpClient, Spring and Ktor send ``Upgrade: h2c`` with every first request, and httptools
    would leave its body to another protocol (uvicorn #2722). A client that has closed its sending
    side after a whole request gets its answer.
    """

    _parsed_bytes = 0
    _raw_bytes = 0
    _messages = 0
    _in_headers = True
    _too_large = False
    _late: asyncio.TimerHandle | None = None
    _ending = False
    _half_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for headers."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection open for the answers to what has arrived whole.

        Returns:
            Whether there are any; the connection is closed at once otherwise.
        """
        if self._is_idle():
            return False
        if self.cycle.more_body:  # the rest of this one will never come
            if not self.pipeline:
                return False
            self.pipeline.popleft()
        self._half_closed = True
        return True

    def on_response_complete(self) -> None:
        """Go on with the next request, if there is one."""
        was_last = not self.pipeline
        super().on_response_complete()
        if self._half_closed and was_last:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse, and count what belongs to headers that are not whole yet.

        A header that is not whole is not reported by the parser, so that pieces are counted which
        hold nothing else; one in which a request begins may hold another's body as well.
        """
        begun = self._messages if self._in_headers else None
        self._parse(data)
        if not self._in_headers:
            return
        if self._late is None:
            self._wait()
        if self._messages == begun:
            self._raw_bytes += len(data)
        if self._raw_bytes > HEADER_BYTES and not self.transport.is_closing():
            self._refuse()

    def _parse(self, data: bytes) -> None:
        """Parse as uvicorn does, but read the body of a request whose upgrade is ignored."""
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
        """Read the head of this request again without its ``Upgrade``; its body is still to come.

        Raises:
            httptools.HttpParserError: when it is no valid request without it.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":  # asks for a tunnel, however it is written
            raise httptools.HttpParserError("CONNECT")
        version = self.parser.get_http_version().encode("ascii")
        head = [b"%s %s HTTP/%s\r\n" % (method, self.url, version)]
        head += [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        # This parser awaits another protocol.
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.parser.feed_data(b"".join(head) + b"\r\n")

    def _ignores_upgrade(self) -> bool:
        return bool(self.parser.should_upgrade()) and not self._should_upgrade()

    def on_message_begin(self) -> None:
        """Headers of a request begin."""
        self._in_headers, self._parsed_bytes, self._raw_bytes = True, 0, 0
        self._messages += 1
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """All of them are here."""
        if self._ignores_upgrade():
            return  # they are read again
        self._in_headers = False
        self._wait_no_more()
        super().on_headers_complete()
        if self.cycle is not None:  # there is none before a WebSocket
            self.cycle.keep_alive = self.cycle.keep_alive and not self._ending

    def on_message_complete(self) -> None:
        """The body is here as well."""
        if not self._ignores_upgrade():
            super().on_message_complete()

    def shutdown(self) -> None:
        """End the connection once what the client has sent is answered.

        uvicorn closes one that is idle at once, and a request that has arrived there unread then
        meets a reset: under load that is every connection but the one that is being answered.
        """
        self._ending = True
        if self._is_idle():
            self.loop.call_later(DRAIN_SECONDS, self._close_if_idle)
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn answers to whatever it cannot parse."""
        if self._too_large:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_if_idle(self) -> None:
        """By now a connection that has had a request closes by itself with its answer."""
        if self._is_idle() and not self.transport.is_closing():
            self.transport.close()

    def _count(self, length: int) -> None:
        self._parsed_bytes += length
        if self._parsed_bytes > HEADER_BYTES:
            self._too_large = True
            raise HeadersTooLarge

    def _refuse(self) -> None:
        if self._is_idle():  # else an answer to what was asked before is on its way
            self.transport.write(_TOO_LARGE)
        self.transport.close()

    def _wait(self) -> None:
        loop: Any = self.loop
        self._late = loop.call_later(HEADER_SECONDS, self._give_up)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if not self._in_headers or self.transport.is_closing():
            return
        if self._is_idle():
            self.transport.close()
        else:  # what was asked before is being answered
            self._wait()
