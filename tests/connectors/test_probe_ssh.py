"""`ssh`: a server with keys of its own, in this process, and servers that are none."""

import contextlib
from collections.abc import AsyncIterator

import asyncssh
import pytest

from connectors.network.trial import UP
from connectors.probes.ssh import BANNER_BYTES_MAX, Connector
from tests.connectors.looks import HOST, look, saying, serving
from tests.connectors.servers import free_port

ED25519 = asyncssh.generate_private_key("ssh-ed25519")
ECDSA = asyncssh.generate_private_key("ecdsa-sha2-nistp256")


@contextlib.asynccontextmanager
async def server(*keys: asyncssh.SSHKey) -> AsyncIterator[str]:
    """An SSH server with these keys; nobody may log in."""
    made = await asyncssh.listen(
        HOST, 0, server_host_keys=list(keys), server_version="Test_1.0", acceptor=None, login_timeout=5
    )
    try:
        yield f"{HOST}:{made.sockets[0].getsockname()[1]}"
    finally:
        made.close()
        await made.wait_closed()


async def test_the_banner_and_the_key() -> None:
    async with server(ED25519) as target:
        options = {"banner": "^SSH-2.0-Test", "fingerprints": [ED25519.get_fingerprint()]}
        trial = await look(Connector, target, options)
    assert (trial.outcome, trial.note) == (UP, "")
    assert trial.fields == {"key_bits": 256.0}
    assert trial.values["banner"] == "SSH-2.0-Test_1.0"
    assert trial.values["fingerprint"] == ED25519.get_fingerprint()
    assert list(trial.phases) == ["dns", "connect", "banner", "key_exchange"]


async def test_another_key_than_the_one_that_is_known() -> None:
    async with server(ED25519) as target:
        trial = await look(Connector, target, {"fingerprints": [ECDSA.get_fingerprint()]})
    assert trial.outcome == "certificate"
    said = f"the host key is ssh-ed25519 {ED25519.get_fingerprint()}, not {ECDSA.get_fingerprint()}"
    assert trial.note == said


async def test_the_server_is_asked_for_the_key_of_a_type() -> None:
    async with server(ED25519, ECDSA) as target:
        for wanted, key in (("ed25519", ED25519), ("ecdsa", ECDSA)):
            trial = await look(Connector, target, {"key_type": wanted})
            assert (trial.outcome, trial.values["fingerprint"]) == (UP, key.get_fingerprint())
        trial = await look(Connector, target, {"key_type": "rsa"})
    assert trial.outcome == "certificate"
    assert trial.note.endswith("; the server has none of type rsa")


async def test_another_banner() -> None:
    async with server(ED25519) as target:
        trial = await look(Connector, target, {"banner": "OpenSSH"})
    assert trial.outcome == "body"
    assert trial.note == "the server is 'SSH-2.0-Test_1.0'; /OpenSSH/ is not in that"
    assert "key_exchange" in trial.phases


async def test_lines_may_come_before_the_banner() -> None:
    async with serving(saying(b"be welcome\r\n", b"SSH-2.0-", b"late\r\n", then="end")) as target:
        trial = await look(Connector, target)
    assert trial.values["banner"] == "SSH-2.0-late"
    assert trial.outcome == "reset"
    assert "key exchange" in trial.note


@pytest.mark.parametrize(
    ("said", "then", "outcome"),
    [
        (b"220 mx ready\r\n", "end", "answer"),
        (b"", "end", "reset"),
        (b"", "reset", "reset"),
        (b"x" * BANNER_BYTES_MAX, "wait", "limit"),
        (b"x\n" * BANNER_BYTES_MAX, "wait", "limit"),
        (b"SSH-2.0-odd\r\n" + b"\0" * 100, "wait", "answer"),
        (b"SSH-2.0-odd\r\n" + b"\xff" * 100, "wait", "answer"),
        (b"SSH-1.5-old\r\n", "wait", "answer"),
    ],
)
async def test_what_is_no_ssh_server(said: bytes, then: str, outcome: str) -> None:
    async with serving(saying(said, then=then)) as target:
        trial = await look(Connector, target, timeout_s=2)
    assert trial.outcome == outcome, trial.note


@pytest.mark.parametrize(
    ("said", "phase"), [(b"", "banner"), (b"hm\r\n", "banner"), (b"SSH-2.0-x\r\n", "key_exchange")]
)
async def test_a_server_that_says_no_more(said: bytes, phase: str) -> None:
    async with serving(saying(said)) as target:
        trial = await look(Connector, target, timeout_s=0.2)
    assert (trial.outcome, trial.note) == ("timeout", f"timed out while in {phase}")


async def test_nobody_there_and_nobody_allowed() -> None:
    assert (await look(Connector, f"{HOST}:{free_port()}")).outcome == "refused"
    assert (await look(Connector, "169.254.169.254")).outcome == "forbidden"


@pytest.mark.parametrize("text", ["MD5:00:11", "SHA256:short", "", "SHA256:" + "!" * 43])
def test_what_is_no_fingerprint(text: str) -> None:
    with pytest.raises(ValueError, match="is no fingerprint"):
        Connector.Options.model_validate({"fingerprints": [text]})


def test_the_port_may_be_left_out() -> None:
    assert Connector.target_problem("bastion.example.test") is None
    assert Connector.target_problem("bastion.example.test:x")
