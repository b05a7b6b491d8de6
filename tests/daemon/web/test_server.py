"""The socket: garbage, floods, drips and leavers each cost one bounded connection."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
from aiohttp.http_parser import HttpRequestParserPy

from connectors.kinds import load
from daemon.config import LimitSettings, Settings
from daemon.web import server as server_module
from daemon.web.app import build
from daemon.web.server import ListenError, Server
from tests.daemon.web.fakes import FakeDaemon

Start = Callable[..., Awaitable[tuple[FakeDaemon, Server]]]
BODY = load().sources["alertmanager"].example
HEAD = b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: localhost\r\n"


def served(daemon: FakeDaemon) -> Server:
    return Server(daemon, partial(build, daemon))


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    monkeypatch.setattr(server_module, "LINGER_S", 0.1)
    running: list[Server] = []

    async def run(**limits: object) -> tuple[FakeDaemon, Server]:
        daemon = FakeDaemon(Settings(listen="127.0.0.1:0", limits=LimitSettings(**limits)))  # type: ignore[arg-type]
        server = served(daemon)
        await server.start()
        running.append(server)
        return daemon, server

    yield run
    for server in running:
        await server.close(0.1)


async def talk(server: Server, *parts: bytes, end: bool = False) -> bytes:
    """Sends, and reads until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    if end:
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def whole(body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in (b"Connection: close", *headers))
    return HEAD + lines + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body


async def test_a_body_is_taken_in_one_piece_or_many(start: Start) -> None:
    daemon, server = await start()
    request = whole(BODY)
    assert b" 200 OK" in await talk(server, request)
    assert b" 200 OK" in await talk(server, *(request[at : at + 97] for at in range(0, len(request), 97)))
    assert [body.data for _, body in daemon.ingest.seen if body] == [BODY, BODY]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03secret-bytes\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"bad header name: x\r\n\r\n",
        HEAD + b"X: " + b"secret-bytes" * 4_000 + b"\r\n\r\n",
        HEAD + b"".join(b"X%d: 1\r\n" % number for number in range(300)) + b"\r\n",
    ],
)
async def test_what_is_no_http_is_400_in_our_words_and_never_logged(
    start: Start, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    daemon, server = await start()
    caplog.set_level(logging.DEBUG)
    answer = await talk(server, garbage)
    assert b" 400 Bad Request" in answer
    assert b"application/problem+json" in answer
    assert b"secret-bytes" not in answer
    assert "secret-bytes" not in caplog.text
    assert "Traceback" not in caplog.text
    assert daemon.count("signals_refused_total", source="http", reason="malformed") == 1
    assert b" 200 OK" in await talk(server, whole(BODY))


async def test_broken_chunks_are_400(start: Start) -> None:
    daemon, server = await start()
    answer = await talk(server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nZZZ\r\n")
    assert b" 400 Bad Request" in answer
    assert daemon.ingest.seen == []


async def test_a_body_that_ends_early_is_no_body(start: Start) -> None:
    daemon, server = await start()
    await talk(server, HEAD + b"Content-Length: 1000\r\n\r\n{", end=True)
    assert daemon.ingest.seen == []


async def test_a_dripping_body_is_503_at_its_deadline(start: Start) -> None:
    daemon, server = await start(body_deadline="100ms")
    answer = await talk(server, HEAD + b"Connection: close\r\nContent-Length: 1000\r\n\r\n", b"{")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in answer
    assert daemon.ingest.seen == []


async def test_a_head_that_never_ends_is_closed(start: Start) -> None:
    _, server = await start(idle="100ms")
    assert await talk(server, HEAD) == b""


async def test_a_body_said_to_be_too_large_is_413_before_it_is_sent(start: Start) -> None:
    daemon, server = await start(body="1KiB")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HEAD + b"Content-Length: 99999999\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
    writer.close()
    assert daemon.count("signals_refused_total", source="alertmanager", reason="too_large") == 1


async def test_beyond_the_cap_a_connection_is_told_503_and_room_comes_back(start: Start) -> None:
    daemon, server = await start(connections=2)
    held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
    for reader, writer in held:  # both are served
        writer.write(whole(BODY).replace(b"Connection: close", b"Connection: keep-alive"))
        assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
    answer = await talk(server, whole(BODY))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in answer
    assert daemon.count("signals_refused_total", source="http", reason="connections") == 1
    for reader, writer in held:
        writer.close()
        await reader.read()
    while server.connections:
        await asyncio.sleep(0)
    assert b" 200 OK" in await talk(server, whole(BODY))


async def test_the_quick_answer_is_a_whole_one_and_the_connection_goes_on(start: Start) -> None:
    _, server = await start()
    quick = whole(BODY).replace(b"Connection: close\r\n", b"")
    answer = await talk(server, quick, quick, whole(BODY))
    first, second, last = answer.split(b'{"accepted":2,"tickets":[]}')[:3]
    assert (
        first
        == second
        == (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Tue, 03 Mar 2026 12:00:00 GMT\r\n"
            b"Content-Length: 27\r\n\r\n"
        )
    )
    assert b"Connection: close" in last


async def test_a_sender_that_asks_first_is_told_to_go_on(start: Start) -> None:
    daemon, server = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head, body = whole(BODY, b"Expect: 100-continue").split(b"\r\n\r\n", 1)
    writer.write(head + b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
    writer.close()
    assert len(daemon.ingest.seen) == 1


async def test_an_old_client_gets_an_answer_of_its_own_version(start: Start) -> None:
    _, server = await start()
    request = whole(BODY).replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Connection: close", b"Connection: keep-alive")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.0 200 OK")
    assert b"keep-alive" in head.lower()


async def test_pipelined_requests_are_answered_in_order(start: Start) -> None:
    _, server = await start()
    first = whole(BODY).replace(b"Connection: close", b"Connection: keep-alive")
    answer = await talk(server, first + whole(b"{"))
    assert answer.index(b" 200 OK") < answer.index(b" 400 ")


async def test_closing_waits_for_what_runs_and_takes_nothing_new(start: Start) -> None:
    _, server = await start()
    port = server.port
    await server.close(0.1)
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_an_address_in_use_is_named(start: Start) -> None:
    _, server = await start()
    other = served(FakeDaemon(Settings(listen=f"127.0.0.1:{server.port}")))
    with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{server.port}: "):
        await other.start()


async def test_the_slow_parser_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HttpRequestParser", HttpRequestParserPy)
    with pytest.raises(ListenError, match="compiled HTTP parser"):
        await served(FakeDaemon()).start()
