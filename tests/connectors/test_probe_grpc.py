"""The probe `grpc`: what the health protocol says, by what name each other end is told, and what goes over the wire."""

import asyncio
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from hypothesis import given
from hypothesis import strategies as st

from connectors.network.trial import UP, Credential, Failure, Trial
from connectors.probes.grpc import _health
from tests.connectors.hostile import serving
from tests.connectors.services import HOST, Trust, looked, problem


def health(status: int) -> bytes:
    """A HealthCheckResponse with gRPC's head; a status of 0 is left out, as Protocol Buffers do."""
    message = bytes([8, status]) if status else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


class Service:
    """A server that answers the one call with a body and an end."""

    def __init__(self, body: bytes = health(1), http_status: str = "200", **end: str) -> None:
        self.body, self.start = body, [(":status", http_status), ("content-type", "application/grpc")]
        self.end = [(name.replace("_", "-"), value) for name, value in ({"grpc_status": "0"} | end).items()]
        self.context: object = None
        self.headers: dict[str, str] = {}
        self.message = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.context is not None:
            await writer.start_tls(self.context)  # type: ignore[arg-type]
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(65_536):
            for event in connection.receive_data(data):
                match event:
                    case RequestReceived():
                        self.headers = {str(name): str(value) for name, value in event.headers}
                    case DataReceived():
                        self.message += event.data
                    case StreamEnded():
                        self._answer(connection, event.stream_id)
                    case _:
                        pass
            writer.write(connection.data_to_send())

    def _answer(self, connection: H2Connection, stream: int) -> None:
        if not self.body:  # as a server does that fails at once: all in one head
            connection.send_headers(stream, [*self.start, *self.end], end_stream=True)
            return
        connection.send_headers(stream, self.start)
        for at in range(0, len(self.body), 16_384):
            connection.send_data(stream, self.body[at : at + 16_384])
        connection.send_headers(stream, self.end, end_stream=True)


async def look(server: Service, credential: Credential | None = None, scheme: str = "grpc", **options: object) -> Trial:
    async with serving(server) as port:
        return await looked("grpc", f"{scheme}://{HOST}:{port}", options, credential)


async def test_a_service_that_serves_is_up_and_each_step_has_its_time() -> None:
    service = Service()
    trial = await look(service, service="shop.v1.Checkout", metadata={"x-tenant": "eu"})
    assert (trial.outcome, trial.note) == ("up", "")
    assert trial.fields == {"grpc_status": 0.0, "health": 1.0}
    assert list(trial.phases) == ["dns", "connect", "call"]
    assert service.message == b"\0\0\0\0\x12\x0a\x10shop.v1.Checkout"
    assert service.headers[":path"] == "/grpc.health.v1.Health/Check"
    assert service.headers["x-tenant"] == "eu"
    assert service.headers["te"] == "trailers"
    assert service.headers["grpc-timeout"].endswith("m")


async def test_the_server_as_a_whole_is_asked_about_with_nothing() -> None:
    service = Service()
    await look(service)
    assert service.message == b"\0\0\0\0\0"


@pytest.mark.parametrize(
    ("status", "outcome", "note"),
    [
        (2, "status", "the service says NOT_SERVING"),
        (3, "status", "the service says SERVICE_UNKNOWN"),
        (0, "status", "the service says UNKNOWN"),
        (9, "status", "the service says the unknown status 9"),
    ],
)
async def test_every_other_word_of_the_service_is_named(status: int, outcome: str, note: str) -> None:
    trial = await look(Service(health(status)))
    assert (trial.outcome, trial.note, trial.fields["health"]) == (outcome, note, status)


@pytest.mark.parametrize(
    ("end", "outcome", "note"),
    [
        ({"grpc_status": "12"}, "status", "the call ended with UNIMPLEMENTED: it has no health service"),
        ({"grpc_status": "5", "grpc_message": "unknown%20service"}, "status",
         "the call ended with NOT_FOUND: it knows no service of that name; unknown service"),
        ({"grpc_status": "14"}, "status", "the call ended with UNAVAILABLE"),
        ({"grpc_status": "16", "grpc_message": "no hunter2"}, "login", "the call ended with UNAUTHENTICATED: no …"),
        ({"grpc_status": "7"}, "login", "the call ended with PERMISSION_DENIED"),
        ({"grpc_status": "4"}, "timeout", "the call ended with DEADLINE_EXCEEDED"),
        ({"grpc_status": "77"}, "status", "the call ended with the unknown code 77"),
        ({"grpc_status": "x"}, "answer", "the server did not say how the call ended"),
    ],
)  # fmt: skip
async def test_a_call_that_fails_is_named(end: dict[str, str], outcome: str, note: str) -> None:
    trial = await look(Service(b"", **end), Credential("shop", token="hunter2"))
    assert (trial.outcome, trial.note) == (outcome, note)


@pytest.mark.parametrize(
    ("body", "outcome", "note"),
    [
        (b"\0\0\0\0\3\x08", "answer", "the message is none of the health protocol"),
        (b"\1\0\0\0\2\x08\1", "answer", "the message is none of the health protocol"),
        (b"\0\0\0\0\2\x0f\1", "answer", "the message is none of the health protocol"),
        (b"\0\0\0\0\x0b\x08" + b"\xff" * 10, "answer", "the message is none of the health protocol"),
        (b"\0" * 5_000, "limit", "the message has more than 4 KiB"),
    ],
)
async def test_a_message_that_is_none_is_named(body: bytes, outcome: str, note: str) -> None:
    trial = await look(Service(body))
    assert (trial.outcome, trial.note) == (outcome, note)


@given(st.binary(max_size=40))
def test_any_message_is_a_status_or_refused(message: bytes) -> None:
    outcome = UP
    try:
        assert _health(b"\0" + len(message).to_bytes(4, "big") + message) >= 0
    except Failure as failed:
        outcome = failed.outcome
    assert outcome in {UP, "answer"}


async def test_fields_that_a_later_protocol_may_add_are_passed_over() -> None:
    message = b"\x12\x02hi\x08\x01\x1d\0\0\0\0\x21" + b"\0" * 8
    trial = await look(Service(b"\0" + len(message).to_bytes(4, "big") + message))
    assert trial.outcome == "up"


async def test_a_web_server_is_no_grpc_server() -> None:
    trial = await look(Service(b"", http_status="404", grpc_status=""))
    assert (trial.outcome, trial.note) == ("answer", "the server answered with HTTP status 404, not as gRPC does")

    async def http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with serving(http1) as port:
        trial = await looked("grpc", f"grpc://{HOST}:{port}")
    assert (trial.outcome, trial.note.startswith("the server does not speak HTTP/2")) == ("answer", True)


# ---------------------------------------------------------------- who we are, and TLS
@pytest.mark.parametrize(
    ("credential", "sent"),
    [
        (Credential("shop", token="hunter2"), "Bearer hunter2"),
        (Credential("shop", "amina", "hunter2"), "Basic YW1pbmE6aHVudGVyMg=="),
    ],
)
async def test_credentials_are_sent_as_a_header(credential: Credential, sent: str) -> None:
    service = Service()
    await look(service, credential)
    assert service.headers["authorization"] == sent


@pytest.mark.parametrize(
    ("leaf", "verify", "outcome"),
    [
        ("leaf", "on", "up"),
        ("expired", "on", "certificate"),
        ("wrong_name", "on", "certificate"),
        ("expired", "off", "up"),
    ],
)
async def test_tls_is_verified(tmp_path: Path, leaf: str, verify: str, outcome: str) -> None:
    trust = Trust(tmp_path)
    service = Service()
    service.context = trust.server(leaf)
    trial = await look(service, trust.credential(), "grpcs", verify=verify)
    assert trial.outcome == outcome, trial.note
    assert "tls" in trial.phases
    if outcome == "up":
        assert service.headers[":scheme"] == "https"


def test_what_may_not_stand_in_a_file_is_refused_when_it_is_read() -> None:
    assert problem("grpc", {"metadata": {"X-Tenant": "eu"}}) == (
        ("metadata", "X-Tenant"),
        "a name has only small letters, digits and _ . -",
    )
    assert problem("grpc", {"metadata": {"grpc-timeout": "1S"}}) == (
        ("metadata", "grpc-timeout"),
        "this name is gRPC's own",
    )
    where, said = problem("grpc", {"metadata": {"authorization": "Bearer x"}}) or ((), "")
    assert where == ("metadata", "authorization")
    assert "config.toml" in said
    with pytest.raises(ValueError, match="printable ASCII"):
        problem("grpc", {"metadata": {"x": "a\r\nb: c"}})
