"""HTTP/2 as a client speaks it: one stream on one connection, then the connection is done with.

The one law: what is read is bounded as with HTTP/1, and frames that carry nothing of the answer are bounded with it.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hpack

from connectors.net import plain
from connectors.network.http1 import CHUNKS_MAX, HEAD_BYTES_MAX, HEADERS_MAX, INTERIM_MAX, Answer, Asked
from connectors.network.targets import Url
from connectors.network.trial import Failure, Trial
from connectors.network.wire import READ_BYTES, Wire

OVERHEAD_BYTES_MAX: Final = 256 << 10  # of frames beside the body
WINDOW_BYTES: Final = 1 << 20  # what the other side may send before we say go on
PIECE_BYTES: Final = 2 << 10  # taken at once: it may be hundreds of frames, each of which takes longer than its bytes
UPDATES_MAX: Final = 2  # of the table's size, before a block of headers (RFC 7541, 4.2)
HEADS_BYTES_MAX: Final = 64 << 10  # of all blocks of headers together, as HPACK counts them
_ENTRY_BYTES: Final = 32  # what a header counts beside its name and value (RFC 7541, 4.1)
_UPDATE, _UPDATE_MASK, _UPDATE_BITS = 0x20, 0xE0, 5  # as which an update of the table's size begins
_OF_HTTP_1: Final = frozenset({"host", "connection", "transfer-encoding", "keep-alive", "upgrade", "proxy-connection"})


async def exchange(wire: Wire, trial: Trial, asked: Asked, url: Url, body_bytes_max: int) -> Answer:
    """Send, and read the answer. Phases `request`, `first_byte` and `transfer`. Raises Failure."""
    config = h2.config.H2Configuration(client_side=True, header_encoding=None)
    stream = _Stream(h2.connection.H2Connection(config), body_bytes_max)
    try:
        with trial.phase("request"):
            await stream.ask(wire, asked, url)
        with trial.phase("first_byte"):
            while not stream.headers and not stream.ended:
                await stream.read(wire)
        with trial.phase("transfer"):
            while not stream.ended and stream.size <= body_bytes_max:
                await stream.read(wire)
    except (hpack.OversizedHeaderListError, h2.exceptions.DenialOfServiceError):
        raise _too_long() from None
    except (h2.exceptions.H2Error, hpack.HPACKError) as error:
        said = plain(error) or type(error).__name__
        raise Failure("answer", f"the answer breaks the rules of HTTP/2: {said}") from None
    return stream.answer()


class Heads(hpack.Decoder):
    """Reads headers: `HEADS_BYTES_MAX` of one connection in all, however few bytes of references they come in."""

    def __init__(self) -> None:
        """Of one connection."""
        super().__init__(max_header_list_size=HEADS_BYTES_MAX)
        self._left = HEADS_BYTES_MAX

    def decode(self, data: bytes, raw: bool = False) -> Any:  # noqa: FBT001, FBT002 - the library's signature
        """One block. Raises HPACKError, also for one that begins with updates without end."""
        at = updates = 0
        while at < len(data) and data[at] & _UPDATE_MASK == _UPDATE:
            updates += 1
            if updates > UPDATES_MAX:
                raise hpack.InvalidTableSizeError("the table's size is changed again and again")
            at += hpack.hpack.decode_integer(data[at:], _UPDATE_BITS)[1]
        self.max_header_list_size = max(1, self._left)  # 0 would be without end
        found = super().decode(data, raw=raw)
        self._left -= sum(len(one[0]) + len(one[1]) + _ENTRY_BYTES for one in found)
        return found


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    """What came, in pieces between which others have their turn."""
    for start in range(0, len(data), PIECE_BYTES):
        if start:
            await asyncio.sleep(0)
        yield data[start : start + PIECE_BYTES]


class _Stream:
    """The one stream, as far as it has come."""

    def __init__(self, connection: h2.connection.H2Connection, body_bytes_max: int) -> None:
        self.headers: tuple[tuple[str, str], ...] = ()
        self.size = 0
        self.ended = False
        connection.decoder = Heads()
        self._connection = connection
        self._bytes_max = body_bytes_max
        self._parts: list[bytes] = []
        self._status = 0
        self._received = 0
        self._interim = 0

    async def ask(self, wire: Wire, asked: Asked, url: Url) -> None:
        connection = self._connection
        settings = h2.settings.SettingCodes
        connection.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                settings.ENABLE_PUSH: 0,
                settings.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
                settings.MAX_HEADER_LIST_SIZE: HEAD_BYTES_MAX,
            },
        )
        connection.initiate_connection()
        connection.increment_flow_control_window(WINDOW_BYTES)
        authority = next((value for name, value in asked.headers if name.lower() == "host"), url.authority)
        headers = [(":method", asked.method), (":scheme", url.scheme), (":authority", authority)]
        headers.append((":path", asked.target))
        headers += [(name.lower(), value) for name, value in asked.headers if name.lower() not in _OF_HTTP_1]
        sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        connection.send_headers(1, sent, end_stream=not asked.body)
        await wire.send(connection.data_to_send())
        rest = asked.body
        while rest and not self.ended:
            room = min(connection.local_flow_control_window(1), connection.max_outbound_frame_size, len(rest))
            if room < 1:
                await self.read(wire)
                continue
            connection.send_data(1, rest[:room], end_stream=room == len(rest))
            rest = rest[room:]
            await wire.send(connection.data_to_send())

    async def read(self, wire: Wire) -> None:
        """What comes next."""
        data = await wire.read()
        if not data:
            raise Failure("answer" if self.headers else "reset", "the connection ended before the answer did")
        if not self._received and data.startswith(b"HTTP/"):
            raise Failure("answer", "the server does not speak HTTP/2")
        self._received += len(data)
        if self._received > self.size + READ_BYTES + OVERHEAD_BYTES_MAX:
            raise Failure("limit", "the answer has far more frames than body")
        async for piece in pieces(data):
            for event in self._connection.receive_data(piece):
                self._take(event)
        if reply := self._connection.data_to_send():
            await wire.send(reply)

    def _take(self, event: Any) -> None:
        match event:
            case h2.events.ResponseReceived():
                self._take_headers(event.headers)
            case h2.events.InformationalResponseReceived():
                self._interim += 1
                if self._interim > INTERIM_MAX:
                    raise Failure("answer", f"more than {INTERIM_MAX} interim answers")
            case h2.events.DataReceived():
                self._parts.append(event.data)
                self.size += len(event.data)
                if len(self._parts) > CHUNKS_MAX:
                    raise Failure("limit", f"the body comes in more than {CHUNKS_MAX} pieces")
                if event.flow_controlled_length:
                    self._connection.acknowledge_received_data(event.flow_controlled_length, 1)
            case h2.events.StreamEnded():
                self.ended = True
            case h2.events.StreamReset():
                self._ended_by(event.error_code)
            case h2.events.ConnectionTerminated() if not self.ended and event.last_stream_id == 0:
                self._ended_by(event.error_code)

    def _take_headers(self, headers: Any) -> None:
        if len(headers) > HEADERS_MAX:
            raise Failure("limit", f"the answer has more than {HEADERS_MAX} headers")
        told = [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in headers]
        if sum(len(name) + len(value) for name, value in told) > HEAD_BYTES_MAX:
            raise _too_long()
        status = dict(told).get(":status", "")
        if len(status) != 3 or not status.isdecimal():  # noqa: PLR2004 - as many digits as a status has
            raise Failure("answer", "the answer has no status")
        self._status = int(status)
        self.headers = tuple(one for one in told if one[0][:1] != ":") or (("", ""),)

    def _ended_by(self, code: Any) -> None:
        if self.headers and code == h2.errors.ErrorCodes.NO_ERROR:  # all was said, and the request need not be
            self.ended = True
            return
        name = code.name if isinstance(code, h2.errors.ErrorCodes) else str(code)
        raise Failure("reset", f"the other side ended the exchange: {name.replace('_', ' ').lower()}")

    def answer(self) -> Answer:
        whole = self.ended and self.size <= self._bytes_max
        return Answer(self._status, "2", self.headers, b"".join(self._parts)[: self._bytes_max], whole)


def _too_long() -> Failure:
    return Failure("limit", f"the headers of the answer are longer than {HEAD_BYTES_MAX >> 10} KiB")
