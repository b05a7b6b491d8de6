"""`ssh` against a real OpenSSH server: its banner, its keys, and each failure by its name."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from connectors.network.trial import UP
from connectors.probes.ssh import Connector
from tests.connectors.looks import look
from tests.peers.harness import HOST, free_port
from tests.peers.mailing import Script, require

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.peer("openssh-server")


class Server(Script):
    """sshd with two keys."""

    @property
    def target(self) -> str:
        """Its HOST:PORT."""
        return f"{HOST}:{self.environment['SSH_PORT']}"

    def fingerprint(self, kind: str) -> str:
        """Of one of its keys, as ssh-keygen says it."""
        command = ["ssh-keygen", "-l", "-f", str(self.folder / "server" / f"{kind}.pub")]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.split()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all."""
    require("/usr/sbin/sshd", "openssh.sh")
    made = Server(tmp_path_factory.mktemp("openssh"), "openssh.sh", {"SSH_PORT": str(free_port())})
    try:
        made.run("start")
        yield made
    finally:
        made.run("clean")


async def test_a_healthy_server_and_the_time_of_each_phase(server: Server) -> None:
    options = {"banner": "^SSH-2.0-OpenSSH_", "fingerprints": [server.fingerprint("ed25519")]}
    trial = await look(Connector, server.target, options)
    assert (trial.outcome, trial.note) == (UP, "")
    assert trial.fields == {"key_bits": 256.0}
    assert list(trial.phases) == ["dns", "connect", "banner", "key_exchange"]
    assert min(trial.phases["banner"], trial.phases["key_exchange"]) > 0


async def test_the_other_key(server: Server) -> None:
    options = {"key_type": "rsa", "fingerprints": [server.fingerprint("rsa")]}
    trial = await look(Connector, server.target, options)
    assert (trial.outcome, trial.fields["key_bits"]) == (UP, 3072.0)


async def test_each_failure_by_its_name(server: Server) -> None:
    trial = await look(Connector, server.target, {"key_type": "ed25519", "fingerprints": [server.fingerprint("rsa")]})
    assert trial.outcome == "certificate"
    assert trial.note == (
        f"the host key is ssh-ed25519 {server.fingerprint('ed25519')}, not {server.fingerprint('rsa')}"
    )
    trial = await look(Connector, server.target, {"key_type": "ecdsa"})
    assert trial.outcome == "certificate"
    assert trial.note.endswith("; the server has none of type ecdsa")
    trial = await look(Connector, server.target, {"banner": "dropbear"})
    assert trial.outcome == "body"
    assert trial.note.startswith("the server is 'SSH-2.0-OpenSSH_")
    assert (await look(Connector, f"{HOST}:{free_port()}")).outcome == "refused"
