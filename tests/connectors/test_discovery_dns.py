"""Targets that DNS names: `dns_srv`, and how its answers can be wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from connectors.discoveries import dns_srv
from connectors.network.guard import Guard
from connectors.network.reach import Reach
from connectors.network.trial import Trial
from tests.connectors.finding import NOW, OPEN, found, partly, why
from tests.connectors.servers import HOST


class Zone(asyncio.DatagramProtocol):
    """A DNS server that knows these SRV records: name -> "priority weight port host" each; None: no such name."""

    def __init__(self, records: dict[str, list[str] | None]) -> None:
        self.records = records
        self.silent = False
        self.asked: list[str] = []
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text()
        self.asked.append(name)
        if self.silent:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        records = self.records.get(name)
        if records is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif records:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "SRV", *records))
        self._transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def zone(records: dict[str, list[str] | None]) -> AsyncIterator[tuple[Zone, int]]:
    made = Zone(records)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: made, (HOST, 0))
    try:
        yield made, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


def named(port: int, *names: str, reach: Reach = OPEN) -> dns_srv.Connector:
    given = {"names": list(names), "server": f"{HOST}:{port}"}
    return dns_srv.Connector(dns_srv.Connector.Options.model_validate(given), reach)


async def test_each_record_is_a_target_in_an_order_that_stays() -> None:
    records = ["0 5 8080 Web2.example.test.", "0 5 443 web1.example.test.", "0 9 8080 web2.example.test."]
    async with zone({"_web._tcp.example.test.": records[:], "_db._tcp.example.test.": ["0 0 5432 db."]}) as (_, port):
        finder = named(port, "_web._tcp.example.test", "_db._tcp.example.test.")
        assert await found(finder) == ["web1.example.test:443", "web2.example.test:8080", "db:5432"]


async def test_a_name_without_records_and_a_service_that_is_not_offered_have_no_targets() -> None:
    async with zone({"a.": [], "b.": ["0 0 0 ."]}) as (_, port):
        assert await found(named(port, "a", "b")) == []


async def test_a_name_that_does_not_exist_says_what_it_said_last_and_the_others_count() -> None:
    async with zone({"a.": ["0 0 1 a."], "b.": ["0 0 1 b."]}) as (server, port):
        finder = named(port, "a", "b")
        assert await found(finder) == ["a:1", "b:1"]
        server.records |= {"a.": None, "b.": ["0 0 2 b."]}
        assert await partly(finder) == (["a:1", "b:2"], "name: a does not exist")


async def test_a_server_that_does_not_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async with zone({}) as (server, port):
        server.silent = True
        look = Trial("", labels={}, timeout_s=0.05, now=NOW, monotonic=asyncio.get_running_loop().time)
        assert await named(port, "a").find(look) == ()
        assert (look.outcome, look.note) == ("timeout", "nobody answered in time what SRV records a has")


async def test_a_server_that_may_not_be_reached_is_not_asked() -> None:
    async with zone({"a.": []}) as (server, port):
        assert (await why(named(port, "a", reach=Reach(Guard())))).startswith("forbidden: 127.0.0.1 is forbidden")
        assert not server.asked


async def test_without_a_server_the_system_s_resolvers_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with zone({"a.": ["0 0 1 a."]}) as (_, port):

        def configured(resolver: Any, configure: bool = True) -> None:
            resolver.reset()
            resolver.nameservers, resolver.port = [HOST], port

        monkeypatch.setattr(dns.asyncresolver.Resolver, "__init__", configured)
        finder = dns_srv.Connector(dns_srv.Connector.Options.model_validate({"names": ["a"]}), Reach(Guard()))
        assert await found(finder) == ["a:1"], "which are nobody's choice, and may be on loopback"

    def absent(resolver: Any, configure: bool = True) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.asyncresolver.Resolver, "__init__", absent)
    assert (await why(finder)).startswith("name: it is not known whom to ask: ")


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "a\\300"])
async def test_what_is_no_name_fails_by_itself(name: str) -> None:
    async with zone({"a.": ["0 0 1 a."]}) as (_, port):
        targets, reason = await partly(named(port, name, "a"))
        assert (targets, reason.startswith("name: ")) == (["a:1"], True)
