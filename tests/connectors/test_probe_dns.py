"""`dns`: a name server that answers as it was told to: rightly, otherwise, too long, or not at all."""

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from connectors.network.trial import UP
from connectors.probes import dns as kind
from connectors.probes.dns import Connector
from tests.connectors.looks import Talk, answering, look, mistake, serving
from tests.connectors.servers import free_port

NAME = "shop.example.test"
Answer = Callable[[dns.message.Message], dns.message.Message]


def holding(*records: str, of: str = "A", ttl: int = 300, flags: int = 0, rcode: int = 0, alias: str = "") -> Answer:
    """An answer with these records; `alias`: the name that it leads to."""

    def made(question: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(question, recursion_available=True)
        answer.flags |= flags
        answer.set_rcode(dns.rcode.Rcode(rcode))
        name = question.question[0].name.to_text()
        if alias:
            answer.answer.append(dns.rrset.from_text(name, 5, "IN", "CNAME", alias))
        if records:
            answer.answer.append(dns.rrset.from_text(alias or name, ttl, "IN", of, *records))
        return answer

    return made


def udp(answer: Answer) -> Callable[[bytes], list[bytes]]:
    return lambda data: [answer(dns.message.from_wire(data)).to_wire()]


def tcp(answer: Answer) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = struct.unpack("!H", await reader.readexactly(2))[0]
        wire = answer(dns.message.from_wire(await reader.readexactly(size))).to_wire(max_size=65_535)
        writer.write(struct.pack("!H", len(wire)) + wire)
        await reader.read(-1)

    return talk


async def test_an_answer_and_how_long_it_holds() -> None:
    async with answering(udp(holding("192.0.2.2", "192.0.2.1"))) as server:
        trial = await look(Connector, NAME, {"server": server})
    assert (trial.outcome, trial.note) == (UP, "")
    assert trial.fields == {"answers": 2.0, "ttl_s": 300.0, "rcode": 0.0}
    assert trial.values["answers"] == "192.0.2.1, 192.0.2.2"
    assert list(trial.phases) == ["dns", "query"]


async def test_records_behind_an_alias_are_the_answer() -> None:
    async with answering(udp(holding("192.0.2.1", alias="www.example.test."))) as server:
        trial = await look(Connector, NAME, {"server": server})
    assert trial.fields == {"answers": 1.0, "ttl_s": 300.0, "rcode": 0.0}


@pytest.mark.parametrize(
    ("answers", "note"),
    [
        ({"exact": ["192.0.2.2", "192.0.2.1"]}, ""),
        ({"exact": ["192.0.2.1"]}, "the answer is 192.0.2.1, 192.0.2.2, not 192.0.2.1"),
        ({"exact": []}, "the answer is 192.0.2.1, 192.0.2.2, not nothing"),
        ({"match": [r"\.1$", r"^192\."]}, ""),
        ({"match": [r"^203\."]}, "/^203\\./ is not in 192.0.2.1, 192.0.2.2"),
        ({"at_least": "2"}, ""),
        ({"at_least": "3"}, "2 A records; at least 3 are wanted"),
    ],
)
async def test_what_the_records_must_be(answers: dict[str, object], note: str) -> None:
    async with answering(udp(holding("192.0.2.1", "192.0.2.2"))) as server:
        trial = await look(Connector, NAME, {"server": server, "answers": answers})
    assert (trial.outcome, trial.note) == ("body" if note else UP, note)


async def test_a_type_with_words_in_it() -> None:
    async with answering(udp(holding("10 MX.example.test.", of="MX"))) as server:
        options = {"server": server, "type": "mx", "answers": {"exact": ["10 mx.Example.test."]}}
        trial = await look(Connector, NAME, options)
    assert trial.outcome == UP, trial.note


async def test_no_records() -> None:
    async with answering(udp(holding())) as server:
        trial = await look(Connector, NAME, {"server": server, "type": "AAAA"})
        assert (trial.outcome, trial.note) == ("body", "0 AAAA records; at least 1 are wanted")
        trial = await look(Connector, NAME, {"server": server, "answers": {"exact": []}})
        assert trial.outcome == UP


async def test_another_rcode_is_told_by_its_name() -> None:
    async with answering(udp(holding(rcode=2))) as server:
        trial = await look(Connector, NAME, {"server": server})
    assert (trial.outcome, trial.note) == ("status", "the server says SERVFAIL, not NOERROR")
    assert trial.fields == {"answers": 0.0, "rcode": 2.0}


async def test_an_rcode_that_is_wanted() -> None:
    async with answering(udp(holding(rcode=3))) as server:
        trial = await look(Connector, NAME, {"server": server, "rcode": "NXDOMAIN"})
    assert (trial.outcome, trial.fields["rcode"]) == (UP, 3.0)


@pytest.mark.parametrize(
    ("option", "flag", "note"),
    [
        ("dnssec", dns.flags.AD, "the server has not validated the answer"),
        ("authoritative", dns.flags.AA, "the zone is not the server's own"),
    ],
)
async def test_flags_that_are_wanted(option: str, flag: int, note: str) -> None:
    async with answering(udp(holding("192.0.2.1", flags=flag))) as server:
        assert (await look(Connector, NAME, {"server": server, option: "on"})).outcome == UP
    async with answering(udp(holding("192.0.2.1"))) as server:
        trial = await look(Connector, NAME, {"server": server, option: "on"})
    assert (trial.outcome, trial.note) == ("value", note)


async def test_what_is_asked_for_stands_in_the_question() -> None:
    asked: list[dns.message.Message] = []

    def answer(question: dns.message.Message) -> dns.message.Message:
        asked.append(question)
        return holding("192.0.2.1", flags=dns.flags.AD)(question)

    async with answering(udp(answer)) as server:
        await look(Connector, NAME, {"server": server, "dnssec": "on", "recursion": "off"})
        await look(Connector, NAME, {"server": server})
    first, second = asked
    assert first.flags & dns.flags.AD
    assert not first.flags & dns.flags.RD
    assert first.ednsflags & dns.flags.DO
    assert second.flags & dns.flags.RD
    assert not second.flags & dns.flags.AD


async def test_what_is_too_long_for_udp_comes_by_tcp() -> None:
    long = [f"192.0.2.{n}" for n in range(250)]
    async with serving(tcp(holding(*long))) as server:
        port = int(server.rpartition(":")[2])
        async with answering(udp(holding("192.0.2.1", flags=dns.flags.TC)), port):
            trial = await look(Connector, NAME, {"server": server})
    assert (trial.outcome, trial.fields["answers"]) == (UP, 250.0)
    assert list(trial.phases) == ["dns", "query", "connect"]


async def test_tcp_from_the_start() -> None:
    async with serving(tcp(holding("192.0.2.1"))) as server:
        trial = await look(Connector, NAME, {"server": server, "protocol": "tcp"})
    assert (trial.outcome, trial.fields["answers"]) == (UP, 1.0)


async def test_answers_to_other_questions_are_not_taken() -> None:
    def guessing(data: bytes) -> list[bytes]:
        right = holding("192.0.2.1")(dns.message.from_wire(data)).to_wire()
        other = dns.message.make_query("other.example.test", "A", id=dns.message.from_wire(data).id)
        return [bytes([right[0] ^ 1]) + right[1:], holding("198.51.100.1")(other).to_wire(), right]

    async with answering(guessing) as server:
        trial = await look(Connector, NAME, {"server": server})
    assert trial.values["answers"] == "192.0.2.1"


async def test_what_is_no_dns() -> None:
    async with answering(lambda data: [data[:2] + b"\xff" * 40]) as server:
        trial = await look(Connector, NAME, {"server": server})
    assert trial.outcome == "answer"
    assert trial.note.startswith("the answer is not DNS: ")


async def test_a_question_that_was_not_asked_answered_by_tcp() -> None:
    other = dns.message.make_query("other.example.test", "A")
    async with serving(tcp(lambda _: holding("192.0.2.1")(other))) as server:
        trial = await look(Connector, NAME, {"server": server, "protocol": "tcp"})
    assert (trial.outcome, trial.note) == ("answer", "the name server answers a question that was not asked")


async def test_nobody_there_and_nobody_who_answers() -> None:
    for protocol in ("udp", "tcp"):
        options = {"server": f"127.0.0.1:{free_port()}", "protocol": protocol}
        assert (await look(Connector, NAME, options)).outcome == "refused"
    async with answering(lambda _: []) as server:
        trial = await look(Connector, NAME, {"server": server}, timeout_s=0.2)
    assert (trial.outcome, trial.note) == ("timeout", "timed out while in query")


async def test_a_server_is_asked_only_where_it_may_be_reached() -> None:
    trial = await look(Connector, NAME, {"server": "169.254.169.254"})
    assert trial.outcome == "forbidden"


async def test_a_server_by_its_name() -> None:
    async with answering(udp(holding("192.0.2.1"))) as server:
        port = server.rpartition(":")[2]
        assert (await look(Connector, NAME, {"server": f"here.test:{port}"})).outcome == UP
    assert (await look(Connector, NAME, {"server": "nowhere.test"})).outcome == "name"


async def test_the_servers_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, each with its share of the time; here the first never answers and the second does."""
    conf = tmp_path / "resolv.conf"
    monkeypatch.setattr(kind, "RESOLV_CONF", conf)
    async with answering(lambda _: []) as silent:
        port = int(silent.rpartition(":")[2])
        monkeypatch.setattr(kind, "PORT", port)
        conf.write_text("# by hand\nsearch example.test\nnameserver 127.0.0.1\noptions ndots:1\n nameserver ::1\n")
        trial = await look(Connector, NAME, timeout_s=0.2)
        assert trial.outcome in {"refused", "unreachable"}  # the last one's failure: nobody is at [::1]
    conf.write_text("search example.test\n")
    trial = await look(Connector, NAME)
    assert trial.outcome == "failed"
    assert "names no server" in trial.note


def test_options_that_do_not_fit_together() -> None:
    said = mistake(Connector, {"answers": {"exact": ["192.0.2.1"], "at_least": "1"}})
    assert said == "answers.at_least: `exact` says how many there are; leave at_least out"
    said = mistake(Connector, {"rcode": "NXDOMAIN", "answers": {"match": ["a"]}})
    assert said == "answers: an answer with rcode NXDOMAIN holds no records"


@pytest.mark.parametrize("text", ["AXFR", "OPT", "NOSUCH", "", "TYPE99999999"])
def test_what_is_no_type_to_ask_for(text: str) -> None:
    with pytest.raises(ValueError, match=r"no type of record|nothing to ask for"):
        Connector.Options.model_validate({"type": text})


@pytest.mark.parametrize("target", ["", " a.test", "a..test", "x" * 64 + ".test"])
def test_what_is_no_name(target: str) -> None:
    assert Connector.target_problem(target)
