"""Servers that nobody should have to talk to, in this process, on free ports of 127.0.0.1.

Law: each does one thing wrong for as long as it is listened to, in whatever protocol it is spoken to, and ends with its
block. What would be endless ends after SENT_BYTES_MAX, so that a client that reads it all is found out, not waited for.
"""

import asyncio
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count, cycle

HOST = "127.0.0.1"
SENT_BYTES_MAX = 64 << 20
DRIP_S = 0.02  # between two bytes: a second in the wild, and no test has so many
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\n"
_PRESS = zlib.compressobj(9, zlib.DEFLATED, 31)
_PRESS_HEAD = _PRESS.compress(b" ") + _PRESS.flush(zlib.Z_FULL_FLUSH)
BLANKS = _PRESS.compress(b" " * (8 << 20)) + _PRESS.flush(zlib.Z_FULL_FLUSH)  # 8 MiB in 8 KiB; it can be repeated
JUNK = bytes(number * 73 % 251 for number in range(4_096))


async def pause(seconds: float) -> None:
    """For so long; none of our tests waits for it."""
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=seconds)


async def asked(reader: asyncio.StreamReader) -> bytes:
    """What the client says first."""
    return await reader.read(65_536)


async def endless(writer: asyncio.StreamWriter, parts: Iterator[bytes]) -> None:
    """These parts, as fast as they are taken."""
    sent = 0
    for part in parts:
        writer.write(part)
        sent += len(part)
        await writer.drain()
        if sent > SENT_BYTES_MAX:
            return


def cut(writer: asyncio.StreamWriter) -> None:
    """A reset instead of an end."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def never_answers(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(65_536):
        pass


async def resets(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    cut(writer)


async def closes(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    return


async def closes_when_asked(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asked(reader)


async def drips(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for number in OK + b"X-Slow: " + b"a" * 10_000:
        writer.write(bytes([number]))
        await writer.drain()
        await pause(DRIP_S)


async def endless_line(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await endless(writer, cycle([b"A" * 16_384]))


async def endless_lines(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As a mail server that never comes to its last line."""
    await endless(writer, cycle([b"220-and another thing\r\n" * 700]))


async def endless_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asked(reader)
    writer.write(OK)
    await endless(writer, (b"".join(b"X-%d-%d: b\r\n" % (turn, one) for one in range(500)) for turn in count()))


async def endless_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asked(reader)
    writer.write(OK + b"Content-Type: text/plain\r\n\r\n")
    await endless(writer, cycle([b"up 1\n" * 3_000]))


async def endless_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asked(reader)
    writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    await endless(writer, cycle([b"1\r\nA\r\n" * 2_000]))


async def gzip_bomb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A thousand times as large as what goes over the wire: 64 GiB in all."""
    await asked(reader)
    writer.write(OK + b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n")
    writer.write(_PRESS_HEAD)
    await endless(writer, cycle([BLANKS]))


async def junk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await endless(writer, iter([JUNK] * 4))


async def tls_junk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What begins as a TLS record."""
    await asked(reader)
    writer.write(b"\x16\x03\x03\x02\x00" + JUNK[:512])
    await writer.drain()
    await never_answers(reader, writer)


async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def cuts_its_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The request was taken, and half of an answer given."""
    await asked(reader)
    writer.write(OK + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
    await writer.drain()
    cut(writer)


async def lies_about_its_length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asked(reader)
    writer.write(OK + b"Content-Length: 99999999999999999999\r\n\r\nshort")
    await writer.drain()


SERVERS: dict[str, Handler] = {
    one.__name__: one
    for one in (
        never_answers, resets, closes, closes_when_asked, drips, endless_line, endless_lines, endless_headers,
        endless_body, endless_chunks, gzip_bomb, junk, tls_junk, echoes, cuts_its_answer, lies_about_its_length,
    )
}  # fmt: skip


@asynccontextmanager
async def serving(handler: Handler, *, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of such a server, by default a free one. Its connections end with the block, whatever they are at."""
    at_work: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        at_work.add(task)
        writers.append(writer)
        try:
            with suppress(OSError):
                await handler(reader, writer)
        except asyncio.CancelledError:
            pass  # the block ended: this task is ours alone
        finally:
            at_work.discard(task)
            writer.close()

    server = await asyncio.start_server(one, HOST, port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for _ in range(5):  # whoever was let in at the last moment has begun by then, and what is cut is gone
            await asyncio.sleep(0)
            for task in list(at_work):
                task.cancel()
            for writer in writers:
                writer.transport.abort()
        await server.wait_closed()


class Datagrams(asyncio.DatagramProtocol):
    """A UDP server that answers each datagram with these, or with nothing."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, _data: bytes, addr: tuple[str, int]) -> None:
        for answer in self._answers:
            self._transport.sendto(answer, addr)


@asynccontextmanager
async def datagrams(*answers: bytes, port: int = 0) -> AsyncIterator[int]:
    """The port of such a server."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(*answers), local_addr=(HOST, port))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()
