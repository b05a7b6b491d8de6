"""HTTP/2: one stream on one connection, bounded as HTTP/1 is, and its failures named alike."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from connectors.network import http2
from connectors.network.trial import Credential
from connectors.probes.http import Connector
from tests.connectors.servers import CERTIFICATE, HOST, listening, server_tls
from tests.connectors.webpeers import TRUSTED, look

Server = h2.connection.H2Connection
Reply = Callable[[Server, int], None]


class Speaker(asyncio.Protocol):
    """An HTTP/2 server that does the same for each request."""

    def __init__(self, reply: Reply, kept: list[Any]) -> None:
        self.reply = reply
        self.kept = kept
        self.body = b""
        self.connection = Server(h2.config.H2Configuration(client_side=False, validate_outbound_headers=False))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.connection.initiate_connection()
        self.transport.write(self.connection.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.connection.receive_data(data):
            match event:
                case h2.events.RequestReceived():
                    self.kept.append(dict(event.headers or []))
                case h2.events.DataReceived():
                    self.body += event.data
                    self.connection.acknowledge_received_data(event.flow_controlled_length, 1)
                case h2.events.StreamEnded():
                    self.kept.append(self.body)
                    self.reply(self.connection, 1)
        self.transport.write(self.connection.data_to_send())


def says(body: bytes = b"ok", status: str = "200", *more: tuple[str, str]) -> Reply:
    """An ordinary answer."""

    def reply(connection: Server, stream: int) -> None:
        connection.send_headers(stream, [(":status", status), ("content-type", "text/plain"), *more])
        for start in range(0, len(body), 16_000):
            connection.send_data(stream, body[start : start + 16_000])
        connection.end_stream(stream)

    return reply


async def ask(reply: Reply, options: dict[str, Any] | None = None, **more: Any) -> tuple[Any, list[Any]]:
    """One look at such a server by prior knowledge, and what the server got."""
    kept: list[Any] = []
    async with listening(lambda: Speaker(reply, kept)) as port:
        trial = await look(Connector, f"http://{HOST}:{port}/health?x=1", {"versions": ["2"]} | (options or {}), **more)
    return trial, kept


async def test_an_answer_over_http_2_by_prior_knowledge() -> None:
    trial, kept = await ask(says(b"all is well"), {"body": {"matches": "well"}})
    assert (trial.outcome, trial.note) == ("up", "")
    assert list(trial.phases) == ["dns", "connect", "request", "first_byte", "transfer"]
    assert (trial.fields["http_version"], trial.fields["body_bytes"]) == (2.0, 11)
    headers = {name.decode(): value.decode() for name, value in kept[0].items()}
    assert (headers[":method"], headers[":path"], headers[":scheme"]) == ("GET", "/health?x=1", "http")
    assert "connection" not in headers
    assert "host" not in headers


async def test_a_large_request_waits_for_room() -> None:
    trial, kept = await ask(says(), {"method": "POST", "send": "x" * 65_536}, credential=Credential("x", token="t"))
    assert trial.outcome == "up", trial.note
    assert kept[-1] == b"x" * 65_536
    assert kept[0][b"authorization"] == b"Bearer t"


async def test_it_is_offered_and_agreed_upon_with_tls() -> None:
    for offered, versions, version in ((["h2"], ["2", "1.1"], 2.0), (["h2", "http/1.1"], ["2"], 2.0)):
        tls = server_tls()
        tls.set_alpn_protocols(offered)
        async with listening(lambda: Speaker(says(), []), tls) as port:
            trial = await look(
                Connector,
                f"https://localhost:{port}/",
                {"versions": versions},
                credential=Credential("x", ca=CERTIFICATE),
            )
        assert (trial.outcome, trial.fields["http_version"]) == ("up", version), trial.note


async def test_a_server_that_does_not_speak_it_is_named() -> None:
    tls: ssl.SSLContext = server_tls()
    async with listening(asyncio.Protocol, tls) as port:
        trial = await look(Connector, f"https://localhost:{port}/", {"versions": ["2"]}, credential=TRUSTED)
    assert (trial.outcome, trial.note) == ("answer", "the server does not speak HTTP/2")


def _resets(connection: Server, stream: int) -> None:
    connection.reset_stream(stream, 2)


def _goes(connection: Server, _stream: int) -> None:
    connection.close_connection(11, last_stream_id=0)


def _pings(connection: Server, stream: int) -> None:
    connection.send_headers(stream, [(":status", "200")])
    for _ in range(3_000):
        connection.ping(b"12345678")


def _crumbs(connection: Server, stream: int) -> None:
    connection.send_headers(stream, [(":status", "200")])
    for _ in range(1_100):
        connection.send_data(stream, b"x")


@pytest.mark.parametrize(
    ("reply", "outcome", "note"),
    [
        (says(b"", "503"), "status", "status 503, not 200-299"),
        (_resets, "reset", "the other side ended the exchange: internal error"),
        (_goes, "reset", "the other side ended the exchange: enhance your calm"),
        (says(b"", "200", *[("a", "b")] * 300), "limit", "the answer has more than 200 headers"),
        (says(b"", "200", ("a", "b" * 10_000)), "limit", "the headers of the answer are longer than 4 KiB"),
        (_pings, "limit", "the answer has far more frames than body"),
        (_crumbs, "limit", "the body comes in more than 1000 pieces"),
    ],
)
async def test_a_failure_is_named(reply: Reply, outcome: str, note: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "CHUNKS_MAX", 1_000)
    monkeypatch.setattr(http2, "HEAD_BYTES_MAX", 4 << 10)
    monkeypatch.setattr(http2, "OVERHEAD_BYTES_MAX", 16 << 10)
    trial, _ = await ask(reply)
    assert (trial.outcome, trial.note) == (outcome, note)


async def test_a_large_body_is_cut() -> None:
    trial, _ = await ask(says(b"x" * 60_000), {"size": "20KiB", "larger": "down"})
    assert (trial.outcome, trial.fields["body_bytes"]) == ("limit", 20_480)


async def test_who_speaks_something_else_is_named() -> None:
    class Other(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

    async with listening(Other) as port:
        trial = await look(Connector, f"http://{HOST}:{port}/", {"versions": ["2"]})
    assert (trial.outcome, trial.note) == ("answer", "the server does not speak HTTP/2")
