"""The probe `grpc` on a real gRPC server with its health service, with and without TLS."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from tests.peers.harness import HOST, free_port
from tests.peers.looks import credential, look
from tests.peers.sinks import self_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.timeout(60)]
SERVICE = "shop.v1.Checkout"


class Asked(grpc.ServerInterceptor):  # type: ignore[misc] # the library has no types
    """Lets in who bears the token, and keeps what was sent."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.metadata: dict[str, str] = {}

        def refuse(_request: object, context: Any) -> None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

        self._refusal = grpc.unary_unary_rpc_method_handler(refuse)

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Each call passes here."""
        self.metadata = {one.key: one.value for one in details.invocation_metadata}
        wrong = self._token and self.metadata.get("authorization") != f"Bearer {self._token}"
        return self._refusal if wrong else continuation(details)


class Server:
    """One gRPC server; `servicer` is None where it has no health service."""

    def __init__(self, *, healthy: bool = True, token: str = "", tls: tuple[Path, Path] | None = None) -> None:
        self.asked = Asked(token)
        self._server = grpc.server(ThreadPoolExecutor(4), interceptors=(self.asked,))
        self.servicer = health.HealthServicer() if healthy else None
        if self.servicer is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self.servicer, self._server)
        if tls is None:
            self.port = self._server.add_insecure_port(f"{HOST}:0")
        else:
            certificate, key = tls
            proof = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
            self.port = self._server.add_secure_port(f"{HOST}:0", proof)
        self._server.start()

    def says(self, status: int, service: str = SERVICE) -> None:
        assert self.servicer is not None
        self.servicer.set(service, status)

    def stop(self) -> None:
        self._server.stop(None).wait(10)


@pytest.fixture
def make() -> Iterator[Callable[..., Server]]:
    """`make(token=…)`: a started server."""
    made: list[Server] = []

    def one(**options: Any) -> Server:
        made.append(Server(**options))
        return made[-1]

    yield one
    for server in made:
        server.stop()


def test_a_service_that_serves_is_up_and_each_step_has_its_time(make: Callable[..., Server]) -> None:
    server = make()
    server.says(health_pb2.HealthCheckResponse.SERVING)
    for options in ({}, {"service": SERVICE, "metadata": {"x-tenant": "eu"}}):
        trial = look("grpc", f"grpc://{HOST}:{server.port}", options)
        assert (trial.outcome, trial.note) == ("up", "")
        assert trial.fields == {"grpc_status": 0.0, "health": 1.0}
        assert list(trial.phases) == ["dns", "connect", "call"]
    assert server.asked.metadata["x-tenant"] == "eu"


def test_every_other_word_of_the_service_is_named(make: Callable[..., Server]) -> None:
    server = make()
    where = f"grpc://{HOST}:{server.port}"
    for status, name in (
        (health_pb2.HealthCheckResponse.NOT_SERVING, "NOT_SERVING"),
        (health_pb2.HealthCheckResponse.UNKNOWN, "UNKNOWN"),
    ):
        server.says(status)
        trial = look("grpc", where, {"service": SERVICE})
        assert (trial.outcome, trial.note) == ("status", f"the service says {name}")
        assert trial.fields["health"] == float(status)
    unknown = look("grpc", where, {"service": "shop.v1.Nope"})
    assert (unknown.outcome, unknown.fields) == ("status", {"grpc_status": 5.0})
    assert unknown.note.startswith("the call ended with NOT_FOUND: it knows no service of that name")
    bare = make(healthy=False)
    trial = look("grpc", f"grpc://{HOST}:{bare.port}")
    assert trial.outcome == "status"
    assert trial.note.startswith("the call ended with UNIMPLEMENTED: it has no health service")


def test_a_token_lets_us_in(make: Callable[..., Server]) -> None:
    server = make(token="t0ken")
    where = f"grpc://{HOST}:{server.port}"
    assert look("grpc", where, {}, credential(token="t0ken")).outcome == "up"
    trial = look("grpc", where)
    assert (trial.outcome, trial.note) == ("login", "the call ended with UNAUTHENTICATED: who are you?")


def test_tls_is_verified(make: Callable[..., Server], tmp_path: Path) -> None:
    tls = self_signed(tmp_path)
    server = make(tls=tls)
    where = f"grpcs://localhost:{server.port}"
    trial = look("grpc", where, {}, credential(ca=tls[0]))
    assert (trial.outcome, trial.note) == ("up", "")
    assert list(trial.phases) == ["dns", "connect", "tls", "call"]
    assert look("grpc", where).outcome == "certificate"
    assert look("grpc", where, {"verify": "off"}).outcome == "up"
    assert look("grpc", where, {"server_name": "shop.example.test"}, credential(ca=tls[0])).outcome == "certificate"
    clear = look("grpc", f"grpc://localhost:{server.port}")
    assert clear.outcome in {"reset", "answer"}


def test_a_server_that_is_not_there_is_refused() -> None:
    trial = look("grpc", f"grpc://{HOST}:{free_port()}")
    assert (trial.outcome, list(trial.phases)) == ("refused", ["dns", "connect"])
