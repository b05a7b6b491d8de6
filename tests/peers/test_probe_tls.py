"""`tls` and `tcp` against real servers: nginx with every wrong certificate, and the four protocols that begin in plain.

Law: what is asserted is what an operator reads: the outcome, the sentence, the fields, and the phases that took time.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from connectors.network.trial import UP
from connectors.probes.tcp import Connector as Tcp
from connectors.probes.tls import Connector
from rules.instants import DAY, parse_instant
from tests.connectors.looks import look
from tests.peers.harness import free_port, wait_until
from tests.peers.mailing import reachable_folder, require
from tests.peers.tlsservers import NGINX, Certificates, TlsWeb, speaker

if TYPE_CHECKING:
    from collections.abc import Iterator

END = parse_instant("2120-01-01T00:00:00Z")
PROGRAMS = {
    "smtp": ("/usr/sbin/postfix", "postfix.sh"),
    "imap": ("/usr/lib/dovecot/imap", "dovecot.sh"),
    "ldap": ("/usr/sbin/slapd", "slapd.sh"),
    "postgres": ("/usr/lib/postgresql", "postgresql.sh"),
}


@pytest.fixture(scope="module")
def certificates() -> Iterator[Certificates]:
    """In a folder that servers which are not root can reach, too."""
    with reachable_folder() as folder:
        yield Certificates(folder)


@pytest.fixture(scope="module")
def web(certificates: Certificates) -> Iterator[TlsWeb]:
    """One nginx for all."""
    require(NGINX, "nginx.sh")
    made = TlsWeb(certificates)
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.mark.peer("nginx")
async def test_a_healthy_server_and_the_time_of_each_phase(web: TlsWeb, certificates: Certificates) -> None:
    trial = await look(Connector, web["good"], credential=certificates.trusting, now=END - 40 * DAY)
    assert (trial.outcome, trial.note) == (UP, "")
    assert trial.fields == {
        "cert_valid": 1.0,
        "cert_days_left": 40.0,
        "chain_length": 2.0,
        "protocol": 1.3,
        "key_bits": 256.0,
    }
    assert list(trial.phases) == ["dns", "connect", "tls"]
    assert trial.phases["tls"] > 0


@pytest.mark.peer("nginx")
@pytest.mark.parametrize(
    ("name", "options", "outcome", "said"),
    [
        ("good", {"days_left": "60"}, "certificate", "the certificate expires in 40 days, on 2120-01-01; at least 60"),
        ("expired", {}, "certificate", "the certificate expired 36118 days ago, on 2021-01-01"),
        ("name", {}, "certificate", "the certificate is for other.example.test, www.other.example.test, not for 127."),
        ("self", {}, "certificate", "the certificate is self-signed by 'localhost': nobody vouches for it"),
        ("incomplete", {}, "certificate", "the issuer 'Peer Between' is not known here; the server sends its own"),
        ("unknown", {}, "certificate", "the issuer 'Nobody's Root' is not known here"),
        ("old", {}, "value", "the server speaks TLS 1.1 at most; at least 1.2 is wanted"),
        ("good", {"server_name": "shop.test"}, "certificate", "the certificate is for localhost, 127.0.0.1, ::1, not"),
    ],
)
async def test_each_failure_by_its_name(
    web: TlsWeb, certificates: Certificates, name: str, options: dict[str, str], outcome: str, said: str
) -> None:
    trial = await look(Connector, web[name], options, credential=certificates.trusting, now=END - 40 * DAY)
    assert (trial.outcome, trial.note[: len(said)]) == (outcome, said)
    judged = set() if outcome == "value" else {"cert_valid"}  # an old protocol ends the handshake before its verdict
    assert trial.fields.keys() == {"cert_days_left", "chain_length", "protocol", "key_bits"} | judged


@pytest.mark.peer("nginx")
async def test_one_of_tomorrow_a_modern_one_and_nobody(web: TlsWeb, certificates: Certificates) -> None:
    trial = await look(Connector, web["later"], credential=certificates.trusting)
    assert (trial.outcome, trial.note) == ("certificate", "the certificate is not valid before 2119-01-01")
    trial = await look(Connector, web["modern"], {"min_version": "1.3"}, credential=certificates.trusting)
    assert (trial.outcome, trial.fields["protocol"]) == (UP, 1.3)
    trial = await look(Connector, web["old"], {"min_version": "1.0"}, credential=certificates.trusting)
    assert (trial.outcome, trial.fields["protocol"]) == (UP, 1.1)
    assert (await look(Connector, f"127.0.0.1:{free_port()}")).outcome == "refused"


@pytest.mark.peer("postfix, dovecot, slapd, postgresql")
@pytest.mark.parametrize("protocol", PROGRAMS)
async def test_tls_that_begins_in_plain_text(certificates: Certificates, protocol: str) -> None:
    """A good certificate, one that has expired (where only the second handshake can say why), and its phases."""
    require(*PROGRAMS[protocol])
    for name, outcome in (("good", UP), ("expired", "certificate")):
        server, target = speaker(protocol, certificates, name)
        try:
            server.run("start")
            wait_until(lambda at=target: _listens(at), 10, f"{target} listens")  # type: ignore[misc] # a default binds it
            trial = await look(
                Connector, target, {"starttls": protocol}, credential=certificates.trusting, timeout_s=10
            )
            assert trial.outcome == outcome, trial.note
            assert list(trial.phases)[:4] == ["dns", "connect", "starttls", "tls"]
            assert trial.phases["starttls"] > 0
            assert ("expired" in trial.note) is (name == "expired")
            if protocol == "smtp" and name == "good":
                await _speak_smtp(target, certificates)
        finally:
            server.run("clean")


async def _speak_smtp(target: str, certificates: Certificates) -> None:
    """The same server by `tcp`, word by word."""
    dialogue: list[dict[str, str]] = [
        {"expect": "^220 mx.office.test ESMTP"},
        {"send": "EHLO ticketd.test\r\n", "expect": "(?s)^250-STARTTLS.*^250 "},
        {"send": "STARTTLS\r\n", "expect": "^220 ", "starttls": "on"},
        {"send": "EHLO ticketd.test\r\n", "expect": "^250 "},
        {"send": "QUIT\r\n", "expect": "^221 "},
    ]
    options = {"dialogue": dialogue, "server_name": "localhost"}
    trial = await look(Tcp, target, options, credential=certificates.trusting, timeout_s=10)
    assert (trial.outcome, trial.note) == (UP, "")
    assert list(trial.phases) == ["dns", "connect", "dialogue", "tls"]
    trial = await look(Tcp, target, {"dialogue": [{"expect": "^220 mx.home.test"}]}, timeout_s=2)
    assert trial.outcome == "body"
    assert "is not in '220 mx.office.test ESMTP Postfix" in trial.note


def _listens(target: str) -> bool:
    host, _, port = target.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
