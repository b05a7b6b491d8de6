"""`dns` and `udp` against real name servers: dnsmasq, and BIND with signed zones and a resolver that validates them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from connectors.network.trial import UP
from connectors.probes.dns import Connector
from connectors.probes.udp import Connector as Udp
from tests.connectors.looks import look
from tests.peers.harness import HOST, free_port
from tests.peers.mailing import Script, require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def dnsmasq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its HOST:PORT."""
    require("/usr/sbin/dnsmasq", "dnsmasq.sh")
    port = free_port()
    yield from _running(
        Script(tmp_path_factory.mktemp("dnsmasq"), "dnsmasq.sh", {"DNS_PORT": str(port)}), f"{HOST}:{port}"
    )


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The HOST:PORT of whose the zones are, and of the resolver."""
    require("/usr/sbin/named", "bind9.sh")
    zones, resolver = free_port(), free_port()
    script = Script(
        tmp_path_factory.mktemp("bind9"), "bind9.sh", {"ZONE_PORT": str(zones), "RESOLVER_PORT": str(resolver)}
    )
    for _ in _running(script, ""):
        yield f"{HOST}:{zones}", f"{HOST}:{resolver}"


def _running(script: Script, target: str) -> Iterator[str]:
    try:
        script.run("start")
        yield target
    finally:
        script.run("clean")


@pytest.mark.peer("dnsmasq")
@pytest.mark.parametrize(
    ("name", "kind", "records"),
    [
        ("www.peer.test", "A", ["192.0.2.10"]),
        ("www.peer.test", "AAAA", ["2001:db8::10"]),
        ("alias.peer.test", "A", ["192.0.2.10"]),
        ("alias.peer.test", "CNAME", ["www.peer.test."]),
        ("peer.test", "MX", ["10 mx.peer.test."]),
        ("peer.test", "TXT", ['"v=spf1 -all"']),
        ("_web._tcp.peer.test", "SRV", ["5 10 8080 www.peer.test."]),
        ("10.2.0.192.in-addr.arpa", "PTR", ["www.peer.test."]),
    ],
)
async def test_a_record_of_each_type(dnsmasq: str, name: str, kind: str, records: list[str]) -> None:
    trial = await look(Connector, name, {"server": dnsmasq, "type": kind, "answers": {"exact": records}})
    assert (trial.outcome, trial.note) == (UP, "")
    assert (trial.fields["answers"], trial.fields["ttl_s"], trial.fields["rcode"]) == (1.0, 300.0, 0.0)
    assert list(trial.phases) == ["dns", "query"]
    assert trial.phases["query"] > 0


@pytest.mark.peer("dnsmasq")
async def test_what_is_too_long_for_a_datagram(dnsmasq: str) -> None:
    options = {"server": dnsmasq, "type": "TXT", "answers": {"at_least": "100", "match": ["record 77 of many"]}}
    trial = await look(Connector, "many.peer.test", options)
    assert (trial.outcome, trial.fields["answers"]) == (UP, 100.0)
    assert list(trial.phases) == ["dns", "query", "connect"]
    trial = await look(Connector, "many.peer.test", options | {"protocol": "tcp"})
    assert (trial.outcome, trial.fields["answers"]) == (UP, 100.0)


@pytest.mark.peer("dnsmasq")
@pytest.mark.parametrize(
    ("name", "options", "outcome", "said"),
    [
        ("no.peer.test", {}, "status", "the server says NXDOMAIN, not NOERROR"),
        ("www.example.test", {}, "status", "the server says REFUSED, not NOERROR"),
        ("www.peer.test", {"type": "MX"}, "body", "0 MX records; at least 1 are wanted"),
        ("www.peer.test", {"answers": {"exact": ["192.0.2.11"]}}, "body", "the answer is 192.0.2.10, not 192.0.2.11"),
        ("www.peer.test", {"answers": {"match": ["^203"]}}, "body", "/^203/ is not in 192.0.2.10"),
        ("www.peer.test", {"dnssec": "on"}, "value", "the server has not validated the answer"),
    ],
)
async def test_each_failure_by_its_name(
    dnsmasq: str, name: str, options: dict[str, object], outcome: str, said: str
) -> None:
    trial = await look(Connector, name, {"server": dnsmasq, **options})
    assert (trial.outcome, trial.note) == (outcome, said)


@pytest.mark.peer("dnsmasq")
async def test_a_name_that_must_not_be_there_and_a_server_that_is_not(dnsmasq: str) -> None:
    trial = await look(Connector, "no.peer.test", {"server": dnsmasq, "rcode": "NXDOMAIN"})
    assert (trial.outcome, trial.fields["rcode"]) == (UP, 3.0)
    trial = await look(Connector, "www.peer.test", {"server": f"{HOST}:{free_port()}"})
    assert trial.outcome == "refused"


@pytest.mark.peer("bind9")
async def test_an_answer_that_was_validated(bind: tuple[str, str]) -> None:
    zones, resolver = bind
    trial = await look(Connector, "www.signed.test", {"server": resolver, "dnssec": "on"})
    assert (trial.outcome, trial.note) == (UP, "")
    trial = await look(Connector, "www.plain.test", {"server": resolver, "dnssec": "on"})
    assert (trial.outcome, trial.note) == ("value", "the server has not validated the answer")
    trial = await look(Connector, "www.forged.test", {"server": resolver, "dnssec": "on"})
    assert (trial.outcome, trial.note) == ("status", "the server says SERVFAIL, not NOERROR")
    trial = await look(Connector, "www.forged.test", {"server": zones, "authoritative": "on"})
    assert (trial.outcome, trial.values["answers"]) == (UP, "192.0.2.66")


@pytest.mark.peer("bind9")
async def test_whose_the_zone_is(bind: tuple[str, str]) -> None:
    zones, resolver = bind
    assert (await look(Connector, "www.plain.test", {"server": zones, "authoritative": "on"})).outcome == UP
    trial = await look(Connector, "www.plain.test", {"server": resolver, "authoritative": "on"})
    assert (trial.outcome, trial.note) == ("value", "the zone is not the server's own")


@pytest.mark.peer("dnsmasq")
async def test_a_datagram_written_by_hand(dnsmasq: str, tmp_path: Path) -> None:
    """The question for www.peer.test, by `udp`: its answer holds the name again."""
    question = "beef 0100 0001 0000 0000 0000 03 777777 04 70656572 04 74657374 00 0001 0001"
    send = " ".join(part[at : at + 2] for part in question.split() for at in range(0, len(part), 2))
    trial = await look(Udp, dnsmasq, {"send_hex": send, "expect": "(?s)www.peer.test"})
    assert (trial.outcome, list(trial.phases)) == (UP, ["dns", "answer"])
    trial = await look(Udp, dnsmasq, {"send_hex": send, "expect": "nothing of the kind"}, timeout_s=0.5)
    assert trial.outcome == "body"
