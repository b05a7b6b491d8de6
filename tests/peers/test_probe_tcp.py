"""`tcp` at real servers: OpenSSH, which greets, and nginx, which waits to be asked, with TLS and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from connectors.network.trial import UP, Credential
from connectors.probes.tcp import Connector
from tests.connectors.looks import look
from tests.peers.harness import HOST, free_port
from tests.peers.mailing import Script
from tests.peers.webs import Servers, nginx, require

if TYPE_CHECKING:
    from collections.abc import Iterator

ASK = "GET / HTTP/1.0\r\nHost: shop\r\n\r\n"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """One nginx for all."""
    made = nginx(tmp_path_factory.mktemp("tcp") / "nginx")
    yield made
    made.run("stop")


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One sshd for all."""
    require("openssh.sh", "/usr/sbin/sshd")
    port = free_port()
    made = Script(tmp_path_factory.mktemp("openssh"), "openssh.sh", {"SSH_PORT": str(port)})
    try:
        made.run("start")
        yield f"{HOST}:{port}"
    finally:
        made.run("clean")


@pytest.mark.peer("openssh")
async def test_a_server_that_greets_and_the_time_of_each_phase(ssh: str) -> None:
    trial = await look(Connector, ssh)
    assert (trial.outcome, trial.note, list(trial.phases)) == (UP, "", ["dns", "connect"])
    trial = await look(Connector, ssh, {"dialogue": [{"expect": "^SSH-2.0-OpenSSH"}]})
    assert (trial.outcome, trial.note) == (UP, "")
    assert list(trial.phases) == ["dns", "connect", "dialogue"]
    assert min(trial.phases["connect"], trial.phases["dialogue"]) > 0


@pytest.mark.peer("openssh")
async def test_each_failure_by_its_name(ssh: str) -> None:
    trial = await look(Connector, ssh, {"dialogue": [{"expect": "^220 "}]}, timeout_s=1.0)
    assert trial.outcome == "body"
    assert trial.note.startswith("step 1: /^220 / is not in 'SSH-2.0-OpenSSH")
    trial = await look(Connector, ssh, {"tls": "on"})
    assert (trial.outcome, trial.note) == ("tls", "in the TLS handshake: the other side does not speak TLS")
    trial = await look(Connector, f"{HOST}:{free_port()}")
    assert (trial.outcome, list(trial.phases)) == ("refused", ["dns", "connect"])
    trial = await look(Connector, "nobody.test:22")
    assert (trial.outcome, list(trial.phases)) == ("name", ["dns"])


@pytest.mark.peer("nginx")
async def test_a_server_that_is_asked_with_tls_and_without(web: Servers) -> None:
    dialogue = [{"send": ASK, "expect": "^HTTP/1.1 200 "}, {"expect": "(?s)\r\n\r\nall is well$"}]
    trial = await look(Connector, f"{HOST}:{web.ports['PLAIN']}", {"dialogue": dialogue})
    assert (trial.outcome, trial.note) == (UP, "")
    trusting = Credential("ca", ca=web.folder / "ca.pem")
    secure = {"tls": "on", "dialogue": dialogue[:1]}
    for name, outcome, said in (
        ("GOOD", UP, ""),
        ("EXPIRED", "certificate", "certificate has expired"),
        ("NAME", "certificate", "certificate is not valid for"),
        ("SELF", "certificate", "self-signed certificate"),
    ):
        trial = await look(Connector, f"{HOST}:{web.ports[name]}", secure, credential=trusting)
        assert (trial.outcome, said in trial.note) == (outcome, True), trial.note
        assert list(trial.phases)[:3] == (["dns", "connect", "tls"])
    trial = await look(Connector, f"{HOST}:{web.ports['PLAIN']}", {"dialogue": [{"expect": "^220 "}]}, timeout_s=0.5)
    assert (trial.outcome, trial.note) == ("timeout", "step 1: nothing came; /^220 / was expected")
