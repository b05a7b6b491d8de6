"""Every kind names what can befall any of them: nobody there, no such name, silence, a cut, an answer without end."""

import re
from collections.abc import Mapping, Sequence
from socket import AF_INET
from typing import Any

import pytest

from connectors.network.guard import Guard
from connectors.network.reach import Place, Reach
from connectors.network.trial import Trial
from tests.connectors.aiming import CONNECTING, NO_PORT, Aimed, asking, at_host, looked, probe, trial
from tests.connectors.hostile import HOST, SERVERS, datagrams, serving

LOOK_S = 0.3
PATIENT_S = 20.0
# In which phase whoever waits for an answer in vain says that it timed out.
SILENT: Mapping[str, str] = {
    "blackbox": "exporter", "dns": "query", "grpc": "call", "http": "first_byte", "imap": "greeting", "mysql": "login",
    "postgres": "tls", "prometheus": "first_byte", "redis": "command", "scrape": "first_byte", "smtp": "greeting",
    "ssh": "banner", "tcp": "dialogue", "tls": "tls", "udp": "answer", "websocket": "handshake",
}  # fmt: skip
OVER_UDP: Mapping[str, dict[str, Any]] = {"dns": {"protocol": "tcp"}}  # and how it speaks over TCP instead
ENDLESS = [
    ("blackbox", {}, "endless_headers", "the exporter at http://.*: the headers of the answer are longer than 64 KiB"),
    ("blackbox", {}, "endless_body", "the exporter's answer is longer than 2 MiB"),
    ("http", {}, "endless_headers", "the headers of the answer are longer than 64 KiB"),
    ("http", {}, "endless_body", "the body is larger than 1 MiB"),
    ("http", {"size": "2KiB"}, "gzip_bomb", "the body is larger than 2 KiB"),
    ("imap", {}, "endless_line", "a line of more than 4096 bytes"),
    ("prometheus", {}, "endless_headers", "the headers of the answer are longer than 64 KiB"),
    ("prometheus", {}, "endless_body", "the answer is longer than 4 MiB"),
    ("scrape", {}, "endless_headers", "the headers of the answer are longer than 64 KiB"),
    ("scrape", {"size": "2MiB"}, "endless_body", "the page is larger than 2 MiB; `size` can raise that"),
    ("smtp", {}, "endless_line", "a line of more than 4096 bytes"),
    ("smtp", {}, "endless_lines", "an answer of more than 200 lines"),
    ("ssh", {}, "endless_line", "no SSH banner within 8192 bytes: 'AAAA"),
    ("tcp", {}, "endless_line", "more than 65536 bytes came without /\\^WELL MET\\$/"),
    ("tls", {"starttls": "smtp"}, "endless_lines", "before TLS: an answer of more than 100 lines"),
    ("tls", {"starttls": "imap"}, "endless_line", "before TLS: more than 16384 bytes"),
    ("websocket", {}, "endless_headers", "the headers of the answer are longer than is read"),
]


def at_port(name: str, port: int) -> list[Aimed]:
    """A server of this machine; with TLS and without, where the kind knows both."""
    return at_host(name, HOST, port)


async def seen(name: str, aimed: Aimed, timeout_s: float, reach: Reach | None = None, **more: Any) -> Trial:
    """One look, when it is over."""
    reach = reach or Reach(Guard(allow=["loopback"]))
    one = probe(name, reach, **(aimed.options | more))
    at = trial(aimed.target, timeout_s)
    await looked(one, at)
    await one.close()
    await reach.close()
    return at


@pytest.mark.parametrize("name", CONNECTING)
async def test_nobody_there_is_refused(name: str) -> None:
    for aimed in at_port(name, 1):
        at = await seen(name, aimed, PATIENT_S)
        assert (at.outcome, "refused" in at.note) == ("refused", True), at.note
        assert "dns" in at.phases or name == "blackbox", "the exporter is asked in one phase"


@pytest.mark.parametrize("name", asking())
async def test_a_name_that_nobody_has_is_named(name: str) -> None:
    async def nobody(_host: str, _port: int, _family: int, _kind: int) -> Sequence[Place]:
        raise OSError(-2, "Name or service not known")

    for aimed in at_host(name, "shop.example.test", None if name in NO_PORT else 1):
        at = await seen(name, aimed, PATIENT_S, Reach(Guard(), resolver=nobody))
        assert at.outcome == "name", at.note
        assert "shop.example.test cannot be resolved: Name or service not known" in at.note
        assert set(at.phases) <= {"dns", "exporter"}


@pytest.mark.parametrize("name", CONNECTING)
async def test_a_server_that_never_answers_is_a_timeout_in_its_phase(name: str) -> None:
    await seen(name, at_port(name, 1)[-1], PATIENT_S)  # loads what the kind needs
    async with serving(SERVERS["never_answers"]) as port, datagrams(port=port):
        at = await seen(name, at_port(name, port)[-1], LOOK_S)
    assert at.outcome == "timeout", at.note
    assert "timed out" in at.note or "came" in at.note
    assert list(at.phases)[-1] == SILENT[name]
    assert at.phases[SILENT[name]] > LOOK_S / 10, "and the time of the phase says so"


@pytest.mark.parametrize("name", [one for one in CONNECTING if one != "udp"])
async def test_a_server_that_cuts_the_connection_is_a_reset(name: str) -> None:
    async with serving(SERVERS["resets"]) as port:
        for aimed in at_port(name, port):
            at = await seen(name, aimed, PATIENT_S, **OVER_UDP.get(name, {}))
            assert (at.outcome, "the connection was cut" in at.note) == ("reset", True), at.note


@pytest.mark.parametrize(
    ("name", "way", "server", "said"), ENDLESS, ids=lambda one: one if isinstance(one, str) and " " not in one else ""
)
async def test_an_answer_without_end_is_a_limit(name: str, way: dict[str, Any], server: str, said: str) -> None:
    async with serving(SERVERS[server]) as port:
        at = await seen(name, at_port(name, port)[-1], PATIENT_S, **way)
    assert at.outcome == "limit", at.note
    assert re.match(said, at.note), at.note


@pytest.mark.parametrize("name", CONNECTING)
async def test_a_name_that_resolves_twice_differently_is_refused_the_second_time(name: str) -> None:
    """The first look is taken at the address that may be; the second resolves to the metadata address."""
    given = iter([HOST, "169.254.169.254"])

    async def rebinds(_host: str, port: int, _family: int, _kind: int) -> Sequence[Place]:
        address = next(given)
        return [Place(AF_INET, address, port, (address, port))]

    aimed = at_host(name, "shop.example.test", 1)[-1]
    reach = Reach(Guard(allow=["loopback"]), resolver=rebinds)
    one = probe(name, reach, **aimed.options)
    first = await looked(one, trial(aimed.target, PATIENT_S))
    second = await looked(one, trial(aimed.target, PATIENT_S))
    await one.close()
    await reach.close()
    assert (first[0], second[0]) == ("refused", "forbidden")
    assert "shop.example.test: 169.254.169.254 is forbidden: it is a metadata address" in second[1]
    assert next(given, None) is None, "nobody resolves twice for one look"
