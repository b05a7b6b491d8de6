"""The journal of accepted bodies: what was received, as it was received, so that it can be replayed.

The one law: bytes come back exactly as they came. The bodies of one commit are framed and compressed into one row:
4 bytes length and a JSON header, 4 bytes length and the body, for each; lengths are big-endian.
zlib with a small state (memLevel 5) costs a third of its default for what a commit holds, as little as zstandard does,
so the standard library it is. `codec` names it in each row.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from daemon.store.errors import StoreDamagedError
from rules.instants import Instant

CODEC: Final = "zlib"
_LENGTH: Final = 4
_MEMORY: Final = 5
_WINDOW_SMALL: Final = 12  # 4 KiB: one body, seldom more
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(tuple[str, str, int, int]).decode
ROW_MAX: Final = 1 << 30  # bytes a row may unpack to; a commit's bodies are bounded far below by the inbox


class Body(NamedTuple):
    """One body as received. `alerts` is how many it held."""

    source: str
    sender: str
    received_at: Instant
    data: bytes
    alerts: int


def pack(bodies: Sequence[Body]) -> tuple[bytes, int]:
    """The compressed frames, and how long they were before."""
    parts: list[bytes] = []
    for source, sender, received_at, data, alerts in bodies:
        header = _encode((source, sender, received_at, alerts))
        parts += (len(header).to_bytes(_LENGTH, "big"), header, len(data).to_bytes(_LENGTH, "big"), data)
    raw = b"".join(parts)
    window = _WINDOW_SMALL if len(raw) <= 1 << _WINDOW_SMALL else zlib.MAX_WBITS
    packer = zlib.compressobj(1, zlib.DEFLATED, window, _MEMORY)
    return packer.compress(raw) + packer.flush(), len(raw)


def unpack(codec: str, data: bytes) -> Iterator[Body]:
    """The bodies of one row, in order. Raises StoreDamagedError where they cannot be read."""
    if codec != CODEC:
        raise StoreDamagedError(f"a row of the journal is packed with {codec!r}, which this ticketd cannot unpack")
    try:
        unpacker = zlib.decompressobj()
        raw = memoryview(unpacker.decompress(data, ROW_MAX))
    except zlib.error as error:
        raise StoreDamagedError(f"a row of the journal is damaged: {error}") from None
    if not unpacker.eof:
        raise StoreDamagedError("a row of the journal is cut short or too long")
    at = 0
    while at < len(raw):
        header, at = _frame(raw, at)
        body, at = _frame(raw, at)
        try:
            source, sender, received_at, alerts = _decode(header)
        except (msgspec.MsgspecError, ValueError) as error:
            raise StoreDamagedError(f"a header in the journal is damaged: {error}") from None
        yield Body(source, sender, received_at, bytes(body), alerts)


def _frame(raw: memoryview, at: int) -> tuple[memoryview, int]:
    start = at + _LENGTH
    end = start + int.from_bytes(raw[at:start], "big")
    if end > len(raw):
        raise StoreDamagedError("a row of the journal is damaged: a frame is longer than the row")
    return raw[start:end], end
