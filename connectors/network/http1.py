"""HTTP/1 as a client speaks it: one request, one answer, then the connection is done with.

The one law: whatever the other side sends, no more than `HEAD_BYTES_MAX` of head, `HEADERS_MAX` headers and the body
that was asked for are kept. An ordinary answer (HTTP/1.1, well-formed lines, one Content-Length or none) is taken apart
here, since that is what nearly every look gets; all else is read by h11 from its first byte on.
"""

import asyncio
import re
from typing import Any, Final, NamedTuple

from connectors.net import plain
from connectors.network.trial import Failure, Trial
from connectors.network.wire import READ_BYTES, Wire

HEAD_BYTES_MAX: Final = 64 << 10
HEADERS_MAX: Final = 200
INTERIM_MAX: Final = 20  # answers 1xx before the answer
CHUNKS_MAX: Final = 20_000  # pieces of one body: who sends it byte by byte is not worth the time
CHUNKS_AT_ONCE: Final = 256  # then others have their turn
Headers = tuple[tuple[str, str], ...]  # names in lower case, in their order
_READ_BYTES_MAX: Final = 256 << 10  # at once, of a large body
_END: Final = re.compile(rb"\n\r?\n")
_STATUS: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_WITHOUT_BODY: Final = frozenset({204, 304})


class Asked(NamedTuple):
    """A request. Names and values are as they go on the wire, without what would leave their line."""

    method: str
    target: str  # path and query, ASCII
    headers: Headers
    body: bytes = b""


class Answer(NamedTuple):
    """An answer; `body` as it came, not unpacked. `whole` is False where it was cut at the size asked for."""

    status: int
    version: str  # "1.0", "1.1" or "2"
    headers: Headers
    body: bytes
    whole: bool = True

    def header(self, name: str) -> str | None:
        """The values of a header joined with ", ", or None. `name` in lower case."""
        found = [value for one, value in self.headers if one == name]
        return ", ".join(found) if found else None


async def exchange(wire: Wire, trial: Trial, asked: Asked, body_bytes_max: int) -> Answer:
    """Send, and read the answer. Phases `request`, `first_byte` and `transfer`. Raises Failure."""
    with trial.phase("request"):
        await wire.send(_request(asked))
    with trial.phase("first_byte"):
        data = await wire.read()
    if not data:
        raise Failure("reset", "the connection was closed without an answer")
    with trial.phase("transfer"):
        head, rest, data = await _head(wire, data)
        ordinary = _ordinary(head)
        if ordinary is None:
            return await _by_h11(wire, asked, data, body_bytes_max)
        status, headers, length = ordinary
        if status in _WITHOUT_BODY or asked.method == "HEAD":
            return Answer(status, "1.1", headers, b"")
        return Answer(status, "1.1", headers, *await _body(wire, rest, length, body_bytes_max))


def _request(asked: Asked) -> bytes:
    lines = [f"{asked.method} {asked.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in asked.headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + asked.body


async def _head(wire: Wire, data: bytes) -> tuple[bytes, bytes, bytes]:
    """The head without its empty line, what came behind it, and all that came."""
    if (found := _END.search(data)) is not None:  # nearly always it came in one piece
        return data[: found.start()], data[found.end() :], data
    kept = bytearray(data)
    looked = 0
    while (found := _END.search(kept, looked)) is None:
        if kept[:5] != b"HTTP/"[: len(kept)]:
            raise Failure("answer", f"the answer is not HTTP; it begins with {_excerpt(kept)}")
        if len(kept) > HEAD_BYTES_MAX:
            raise _too_long()
        looked = max(0, len(kept) - 2)
        more = await wire.read()
        if not more:
            raise Failure("answer", f"the connection ended within the headers, after {len(kept)} bytes")
        kept += more
    data = bytes(kept)
    return data[: found.start()], data[found.end() :], data


def _ordinary(head: bytes) -> tuple[int, Headers, int | None] | None:
    """Status, headers and length of the body (None: until the end of the connection); None where h11 must look."""
    if len(head) > HEAD_BYTES_MAX:
        raise _too_long()
    first, *lines = head.removesuffix(b"\r").split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        return None
    if len(lines) > HEADERS_MAX:
        raise Failure("limit", f"the answer has more than {HEADERS_MAX} headers")
    headers = []
    length = None
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            return None
        name, value = field[1].decode().lower(), field[2].rstrip(b" \t").decode("latin-1")
        if name == "content-length":
            if length is not None or _LENGTH.fullmatch(value) is None:
                return None
            length = int(value)
        elif name == "transfer-encoding":
            return None
        headers.append((name, value))
    return int(status[1]), tuple(headers), length


async def _body(wire: Wire, rest: bytes, length: int | None, bytes_max: int) -> tuple[bytes, bool]:
    wanted = bytes_max + 1 if length is None else min(length, bytes_max + 1)
    if len(rest) >= wanted:
        return rest[: min(wanted, bytes_max)], wanted <= bytes_max
    kept = bytearray(rest)  # one piece, however small those are in which it comes
    while len(kept) < wanted:
        data = await wire.read(min(_READ_BYTES_MAX, max(READ_BYTES, wanted - len(kept))))
        if not data:
            if length is not None:
                raise Failure("answer", f"the connection ended after {len(kept)} of {length} bytes of the body")
            break
        kept += data
    return bytes(kept[: min(wanted, bytes_max)]), len(kept) <= bytes_max


async def _by_h11(wire: Wire, asked: Asked, data: bytes, bytes_max: int) -> Answer:
    """The same by the library that knows all of HTTP/1: chunks, interim answers, HTTP/1.0, lines in old ways."""
    import h11  # noqa: PLC0415 - an idle daemon does without; `exchange.prepare` has brought it

    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
    try:
        connection.send(h11.Request(method=asked.method, target=asked.target, headers=_for_h11(asked)))
        if asked.body:
            connection.send(h11.Data(data=asked.body))
        connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        answer = await _by_events(wire, connection, h11.Response, h11.InformationalResponse)
        if len(answer.headers) > HEADERS_MAX:
            raise Failure("limit", f"the answer has more than {HEADERS_MAX} headers")
        parts, size = [], 0
        while size <= bytes_max and isinstance(event := await _next(wire, connection), h11.Data):
            parts.append(bytes(event.data))
            size += len(event.data)
            if len(parts) % CHUNKS_AT_ONCE == 0:
                await asyncio.sleep(0)  # thousands may have come at once
            if len(parts) > CHUNKS_MAX:
                raise Failure("limit", f"the body comes in more than {CHUNKS_MAX} pieces")
    except h11.RemoteProtocolError as error:
        if error.error_status_hint == 431:  # noqa: PLR2004 - "header fields too large"
            raise _too_long() from None
        raise Failure("answer", f"the answer breaks the rules of HTTP: {plain(error)}") from None
    headers = tuple((name.decode(), value.decode("latin-1")) for name, value in answer.headers)
    version = answer.http_version.decode()
    return Answer(answer.status_code, version, headers, b"".join(parts)[:bytes_max], size <= bytes_max)


async def _by_events(wire: Wire, connection: Any, final: type, interim: type) -> Any:
    """The answer's head, after those that only announce it."""
    for _ in range(INTERIM_MAX):
        event = await _next(wire, connection)
        if isinstance(event, final):
            return event
        if not isinstance(event, interim):
            break
    raise Failure("answer", "no answer came, but what only announces one")


async def _next(wire: Wire, connection: Any) -> Any:
    import h11  # noqa: PLC0415 - as above

    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await wire.read())
    return event


def _for_h11(asked: Asked) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in asked.headers]


def _too_long() -> Failure:
    return Failure("limit", f"the headers of the answer are longer than {HEAD_BYTES_MAX >> 10} KiB")


def _excerpt(data: bytes | bytearray) -> str:
    return repr(bytes(data[:20]).decode("latin-1"))
