"""The answer that senders get all day: 200, as bytes.

The one law: it is what `web.Response` would send, and only where nothing is out of the ordinary; else a `web.Response`
is sent. Why it exists: making, preparing and writing a `web.Response` is a quarter of what the HTTP side of a webhook
costs, and says the same bytes each time.
"""

import asyncio
from email.utils import formatdate
from typing import Final, cast

from aiohttp import web
from aiohttp.http import HttpVersion11

from rules.instants import SECOND, Instant

UNREAD_BYTES_MAX: Final = 64 << 10  # answers that wait because the other side does not read


class _Taken:
    """As much of a response as aiohttp's protocol asks for."""

    __slots__ = ("_bytes", "_transport", "body_length")

    status = 200
    keep_alive = True

    def __init__(self, transport: asyncio.Transport, data: bytes, body_length: int) -> None:
        self._transport = transport
        self._bytes = data
        self.body_length = body_length

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to prepare."""

    async def write_eof(self) -> None:
        """Hands the bytes over."""
        if self._transport.is_closing():
            raise ConnectionResetError("the sender has gone")
        self._transport.write(self._bytes)


class Answers:
    """Makes the answers of one handler; it remembers the head, which changes once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._head = b""

    def json(self, request: web.Request, text: bytes, now: Instant) -> web.StreamResponse:
        """200 with this JSON."""
        transport = request.transport
        if (
            transport is None
            or not request.keep_alive
            or request.version != HttpVersion11
            or transport.get_write_buffer_size() > UNREAD_BYTES_MAX
        ):
            return web.Response(body=text, content_type="application/json")
        if now // SECOND != self._second:
            self._second = now // SECOND
            date = formatdate(self._second, usegmt=True)
            self._head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: {date}\r\nContent-Length: ".encode()
            )
        data = b"%s%d\r\n\r\n%s" % (self._head, len(text), text)
        return cast("web.StreamResponse", _Taken(transport, data, len(text)))
