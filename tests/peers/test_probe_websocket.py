"""`websocket` at a real server: websocketd, which greets whoever comes and says what it hears."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from connectors.network.trial import UP, Trial
from connectors.probes.websocket import Connector
from tests.connectors.looks import look
from tests.peers.harness import HOST, free_port, launch, wait_until
from tests.peers.tlsservers import Certificates
from tests.peers.webs import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WEBSOCKETD = "/usr/bin/websocketd"
READY_S_MAX = 10.0
PROGRAM = 'echo welcome; while read -r line; do echo "heard $line"; done'
pytestmark = pytest.mark.peer("websocketd")


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex((HOST, port)) == 0


@contextmanager
def server(folder: Path, *options: str | Path) -> Iterator[int]:
    """The port of a websocketd with these options."""
    require("websocketd.sh", WEBSOCKETD)
    port = free_port()
    command = [WEBSOCKETD, f"--address={HOST}", f"--port={port}", *options, "/bin/sh", "-c", PROGRAM]
    process = launch(command, folder / f"websocketd-{port}.log")
    try:
        wait_until(lambda: _listens(port), READY_S_MAX, "websocketd listens")
        yield port
    finally:
        process.end()
        process.kill9()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """One for all, without TLS, for pages of the shop alone."""
    with server(tmp_path_factory.mktemp("websocketd"), "--origin=shop.example.test") as port:
        yield port


async def ask(port: int, *, timeout_s: float = 10.0, **options: Any) -> Trial:
    """A look as a page of the shop would connect."""
    options = {"headers": {"Origin": "https://shop.example.test"}, **options}
    return await look(Connector, f"ws://{HOST}:{port}/live", options, timeout_s=timeout_s)


async def test_a_healthy_server_and_the_time_of_each_phase(plain: int) -> None:
    trial = await ask(plain, send="hello", expect="^heard hello$", ping="on")
    assert (trial.outcome, trial.note) == (UP, "")
    assert trial.fields == {"status": 101.0}
    assert list(trial.phases) == ["dns", "connect", "handshake", "message", "ping"]
    assert all(trial.phases[one] > 0 for one in ("connect", "handshake", "message", "ping"))
    assert (await ask(plain, expect="^welcome$")).outcome == UP


async def test_each_failure_by_its_name(plain: int) -> None:
    trial = await ask(plain, headers={"Origin": "https://elsewhere.example.test"})
    assert (trial.outcome, trial.note) == ("status", "the server answers 403, not 101")
    assert trial.fields == {"status": 403.0}
    trial = await ask(plain, subprotocols=["chat"])
    assert (trial.outcome, trial.note) == ("header", "the server takes none of the subprotocols chat")
    trial = await ask(plain, send="hello", expect="^goodbye", timeout_s=1.0)
    assert (trial.outcome, trial.note) == ("body", "/^goodbye/ is not in 'heard hello'")
    trial = await look(Connector, f"wss://{HOST}:{plain}/live")
    assert (trial.outcome, trial.note) == ("tls", "in the TLS handshake: the other side does not speak TLS")
    assert list(trial.phases) == ["dns", "connect", "tls"]
    trial = await ask(free_port())
    assert (trial.outcome, list(trial.phases)) == ("refused", ["dns", "connect"])


async def test_over_tls(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    for name, outcome, said in (
        ("good", UP, ""),
        ("expired", "certificate", "certificate has expired"),
        ("name", "certificate", "certificate is not valid for"),
        ("self", "certificate", "self-signed certificate"),
    ):
        certificate, key = certificates.files(name)
        with server(tmp_path, "--ssl", f"--sslcert={certificate}", f"--sslkey={key}") as port:
            url = f"wss://{HOST}:{port}/live"
            trial = await look(Connector, url, {"expect": "welcome"}, credential=certificates.trusting)
            assert (trial.outcome, said in trial.note) == (outcome, True), trial.note
            if outcome == UP:
                assert list(trial.phases) == ["dns", "connect", "tls", "handshake", "message"]
                assert trial.phases["tls"] > 0
