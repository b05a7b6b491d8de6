"""`websocket`: a real server in this process, and servers that break the protocol."""

import asyncio
import base64
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from connectors.network.trial import UP, Credential
from connectors.probes.websocket import MESSAGE_BYTES_MAX, Connector
from tests.connectors.certs import Authority
from tests.connectors.looks import HOST, Talk, look, mistake, saying, serving
from tests.connectors.servers import free_port

seen = web.AppKey("seen", list[dict[str, str]])


async def _echo(request: web.Request) -> web.StreamResponse:
    request.app[seen].append(dict(request.headers))
    socket = web.WebSocketResponse(protocols=("chat", "superchat"))
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.ping(b"are you there?")
            await socket.send_str("noise")
            await socket.send_str(f"echo {message.data}")
    return socket


async def _plain(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="no socket here")


async def _moved(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/live")


@contextlib.asynccontextmanager
async def server(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """Its HOST:PORT, and the headers of all handshakes at /live."""
    app = web.Application()
    app[seen] = []
    app.router.add_get("/live", _echo)
    app.router.add_get("/plain", _plain)
    app.router.add_get("/moved", _moved)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0, ssl_context=tls)
    await site.start()
    try:
        yield f"{HOST}:{runner.addresses[0][1]}", app[seen]
    finally:
        await runner.cleanup()


async def test_a_handshake_a_message_and_a_ping() -> None:
    async with server() as (at, _):
        options = {"send": "hello", "expect": "^echo hello$", "ping": "on"}
        trial = await look(Connector, f"ws://{at}/live?room=1", options)
    assert (trial.outcome, trial.note) == (UP, "")
    assert trial.fields == {"status": 101.0}
    assert list(trial.phases) == ["dns", "connect", "handshake", "message", "ping"]


async def test_over_tls(tmp_path: Path) -> None:
    root = Authority()
    async with server(root.leaf().server(tmp_path)) as (at, _):
        trusting = Credential("tests", ca=root.write(tmp_path / "ca.pem"))
        trial = await look(Connector, f"wss://{at}/live", {"ping": "on"}, credential=trusting)
        assert (trial.outcome, list(trial.phases)) == (UP, ["dns", "connect", "tls", "handshake", "ping"])
        assert (await look(Connector, f"wss://{at}/live")).outcome == "certificate"
        assert (await look(Connector, f"wss://{at}/live", {"verify": "off"})).outcome == UP


async def test_headers_and_who_we_are() -> None:
    async with server() as (at, handshakes):
        url, options = f"ws://{at}/live", {"headers": {"Origin": "https://shop.example.test"}}
        await look(Connector, url, options, credential=Credential("c", username="amina", password="s3cret"))
        await look(Connector, url, credential=Credential("c", token="t0ken"))
        await look(Connector, url)
    assert [one.get("Authorization") for one in handshakes] == ["Basic YW1pbmE6czNjcmV0", "Bearer t0ken", None]
    assert [one.get("Origin") for one in handshakes] == ["https://shop.example.test", None, None]
    assert {one["Host"] for one in handshakes} == {at}
    assert not any("Sec-WebSocket-Extensions" in one for one in handshakes)


async def test_a_subprotocol_that_the_server_has() -> None:
    async with server() as (at, _):
        trial = await look(Connector, f"ws://{at}/live", {"subprotocols": ["other", "chat"]})
    assert trial.outcome == UP
    assert trial.checks[1].said == "the server takes the subprotocol chat"


async def test_none_of_the_subprotocols(caplog: pytest.LogCaptureFixture) -> None:
    async with server() as (at, _):
        trial = await look(Connector, f"ws://{at}/live", {"subprotocols": ["other"]})
    assert (trial.outcome, trial.note) == ("header", "the server takes none of the subprotocols other")


@pytest.mark.parametrize(("path", "status"), [("plain", 200), ("none", 404), ("moved", 302)])
async def test_an_answer_that_is_no_switch(path: str, status: int) -> None:
    async with server() as (at, handshakes):
        trial = await look(Connector, f"ws://{at}/{path}")
    assert (trial.outcome, trial.note) == ("status", f"the server answers {status}, not 101")
    assert trial.fields == {"status": float(status)}
    assert handshakes == []  # no redirect is followed


async def test_another_message() -> None:
    async with server() as (at, _):
        options = {"send": "hello", "expect": "^echo goodbye$"}
        trial = await look(Connector, f"ws://{at}/live", options, timeout_s=0.3)
    assert (trial.outcome, trial.note) == ("body", "/^echo goodbye$/ is not in 'echo hello'")


async def test_no_message() -> None:
    async with server() as (at, _):
        trial = await look(Connector, f"ws://{at}/live", {"expect": "x"}, timeout_s=0.3)
    assert (trial.outcome, trial.note) == ("timeout", "no message came; /x/ was expected")


def switching(*frames: bytes, accept: bytes = b"", then: str = "wait") -> Talk:
    """A server that shakes hands by hand and sends these frames. `accept`: instead of the right token."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = next(line.partition(b": ")[2] for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324 - RFC 6455
        token = accept or base64.b64encode(digest)
        head = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        writer.write(head + token + b"\r\n\r\n" + b"".join(frames))
        await writer.drain()
        if then == "wait":
            await reader.read(-1)
        writer.close()

    return talk


PART = b"\x01\x7d" + b"a" * 125  # of a message that goes on
GOES_ON = b"\x00\x7d" + b"a" * 125


@pytest.mark.parametrize(
    ("talk", "outcome", "said"),
    [
        (switching(accept=b"AAAA"), "answer", "Bad accept token"),
        (saying(b"SSH-2.0-x\r\n\r\n"), "answer", "the answer is no WebSocket"),
        (saying(b"HTTP/1.1 101 Switching\r\n\r\n"), "answer", "the answer is no WebSocket"),
        (saying(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 20_000), "limit", "the headers of the answer are longer"),
        (saying(then="reset"), "reset", "the connection was cut"),
        (switching(b"\x81\x03abc", then="end"), "reset", "ended without a farewell"),
        (switching(b"\x88\x02\x03\xe9"), "body", "/x/ is not in nothing"),
        (switching(b"\xf1\x01a"), "answer", "the answer is no WebSocket"),
        (switching(b"\x81\x02\xff\xff"), "answer", "the answer is no WebSocket"),
        (switching(PART + GOES_ON * (MESSAGE_BYTES_MAX // 125)), "limit", "a message of more than"),
        (switching(b"\x81\x7f\x00\x00\x00\x7f\xff\xff\xff\xff" + b"a" * (MESSAGE_BYTES_MAX + 1)), "limit", "more than"),
        (switching(b"\x81\x01a" * 1_001), "limit", "more than 1000 messages"),
    ],
)
async def test_servers_that_break_the_protocol(talk: Talk, outcome: str, said: str) -> None:
    async with serving(talk) as at:
        trial = await look(Connector, f"ws://{at}/", {"expect": "x"}, timeout_s=2)
    assert (trial.outcome, said in trial.note) == (outcome, True), trial.note


async def test_a_message_in_parts_and_one_of_bytes() -> None:
    async with serving(switching(b"\x01\x02ab\x80\x02cd\x82\x03efg")) as at:
        assert (await look(Connector, f"ws://{at}/", {"expect": "^abcd$"})).outcome == UP
        assert (await look(Connector, f"ws://{at}/", {"expect": "^efg$"})).outcome == UP


async def test_a_server_that_closes_instead_of_answering_a_ping() -> None:
    async with serving(switching(b"\x88\x02\x03\xe9")) as at:
        trial = await look(Connector, f"ws://{at}/", {"ping": "on"})
    assert (trial.outcome, trial.note) == ("answer", "the server closes instead of answering a ping, with code 1001")


async def test_nobody_there_and_nobody_who_answers() -> None:
    assert (await look(Connector, f"ws://{HOST}:{free_port()}/")).outcome == "refused"
    assert (await look(Connector, "ws://169.254.169.254/")).outcome == "forbidden"
    async with serving(saying()) as at:
        trial = await look(Connector, f"ws://{at}/", timeout_s=0.2)
    assert (trial.outcome, trial.note) == ("timeout", "timed out while in handshake")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"headers": {"Authorization": "Bearer x"}}, "headers.Authorization: Authorization is a secret"),
        ({"headers": {"Host": "a"}}, "headers.Host: Host belongs to the handshake itself"),
        ({"headers": {"Sec-WebSocket-Key": "a"}}, "headers.Sec-WebSocket-Key: Sec-WebSocket-Key belongs to the handsh"),
        ({"headers": {"X A": "b"}}, 'headers.X A: "X A" and its value are no header'),
        ({"headers": {"X-A": "b\r\nX-B: c"}}, 'headers.X-A: "X-A" and its value are no header'),
        ({"subprotocols": ["a b"]}, 'subprotocols.0: "a b" is no name of a subprotocol'),
        ({"headers": {"X-A": "b c", "X-B": ""}, "subprotocols": ["a"]}, ""),
    ],
)
def test_options_that_do_not_fit_together(options: dict[str, Any], said: str) -> None:
    found = mistake(Connector, options)
    assert found.startswith(said)
    assert bool(found) == bool(said)


@pytest.mark.parametrize("target", ["https://a.test/", "ws://", "wss://u:p@a.test/", "a.test:80"])
def test_what_is_no_target(target: str) -> None:
    assert Connector.target_problem(target)
