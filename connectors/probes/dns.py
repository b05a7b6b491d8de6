"""`dns`: a question to a name server: what it answers, how long that holds, and whether it vouches for it.

The one law: the question goes to one server, as it is written or as /etc/resolv.conf names it, never through the
system's resolver and its caches; an answer counts when it comes from there, with our id, to our question.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import Field

from connectors.net import plain
from connectors.network.datagrams import towards
from connectors.network.targets import host_port
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Probe
from connectors.probing.patterns import expression
from rules.typed import OnOff, RegexText, Shape, TextOf, WholeText, one_of
from rules.words import shown

if TYPE_CHECKING:
    from dns.message import Message

    from connectors.network.reach import Place, Reach

PORT: Final = 53
SERVERS_MAX: Final = 3  # of /etc/resolv.conf that are asked, as the system's own resolver does
RESOLV_CONF: Final = Path("/etc/resolv.conf")
RESOLV_BYTES_MAX: Final = 64 << 10
PAYLOAD_BYTES: Final = 1_232  # what a datagram may bring without being cut on its way
ANSWERS_MAX: Final = 1_000
STRANGERS_MAX: Final = 100  # datagrams that are no answer to our question
SHOWN: Final = 6
PROTOCOLS: Final = ("udp", "tcp")
_RCODES: Final = (
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE", "BADVERS",
)  # fmt: skip
_NAMESERVER: Final = re.compile(r"^\s*nameserver\s+(\S+)", re.MULTILINE)
_NAME: Final = re.compile(r"[^\x00-\x20\x7f-\xa0:@\u2028\u2029\ud800-\udfff]{1,1000}")
_META: Final = frozenset({"OPT", "TSIG", "TKEY", "AXFR", "IXFR", "MAILA", "MAILB", "NONE"})


def _type(text: str) -> str:
    from dns.exception import DNSException  # noqa: PLC0415 - heavy, and only where DNS is asked
    from dns.rdatatype import from_text, to_text  # noqa: PLC0415

    try:
        name = str(to_text(from_text(text)))
    except (DNSException, ValueError):
        raise ValueError(f"{shown(text)} is no type of record such as A, AAAA, MX, TXT or TYPE65280") from None
    if name in _META:
        raise ValueError(f"{name} is nothing to ask for in a probe")
    return name


def _server(text: str) -> str:
    host_port(text, PORT)
    return text


class Answers(Shape):
    """What the records must be, each as a zone file writes it: `192.0.2.1`, `10 mx.example.test.`."""

    at_least: WholeText | None = Field(None, description="so many; default: 1 where rcode is NOERROR")
    exact: tuple[str, ...] | None = Field(None, max_length=ANSWERS_MAX, description="these and no others, in any order")
    match: tuple[RegexText, ...] = Field(
        (), max_length=100, description="RE2: each is found in one of them, anywhere; ^ and $ are the record's ends"
    )


class Connector(Probe):
    """The probe `dns`."""

    class Options(Shape):
        """The question, whom it is put to, and the answer."""

        type: Annotated[str, TextOf(_type, "type of record")] = Field("A", description="the record that is asked for")
        server: Annotated[str, TextOf(_server, "HOST or HOST:PORT")] | None = Field(
            None, description="the name server; default: those of /etc/resolv.conf, one after the other"
        )
        protocol: Annotated[str, one_of("protocol", PROTOCOLS)] = Field(
            "udp", description="udp goes on by tcp where the answer is too long for it"
        )
        rcode: Annotated[str, one_of("rcode", _RCODES)] = Field("NOERROR", description="what the server is to say")
        answers: Answers = Field(Answers(), description="what the records must be")
        dnssec: OnOff = Field("off", description="on: the server must say that it has validated the answer (flag AD)")
        authoritative: OnOff = Field("off", description="on: the server must say that the zone is its own (flag AA)")
        recursion: OnOff = Field("on", description="off: the server is not asked to ask others")

    summary: ClassVar[str] = "a name server's answer"
    target: ClassVar[str] = "a name"
    example: ClassVar[str] = "shop.example.test"
    phases: ClassVar[dict[str, str]] = {
        "dns": "the server's own name is resolved, where it has one",
        "connect": "TCP connects, where the answer comes by TCP",
        "query": "from the question to the whole answer",
    }
    fields: ClassVar[dict[str, str]] = {
        "answers": "records of the wanted type in the answer",
        "ttl_s": "how long the answer may be kept: the smallest TTL of these records, in seconds",
        "rcode": "what the server says, as its number: 0 NOERROR, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED",
    }

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:  # noqa: ARG002 - DNS knows none
        """Opens nothing."""
        import dns.message  # noqa: F401, PLC0415 - only where DNS is asked, and no look waits for it

        self._options = options
        self._reach = reach
        self._patterns = tuple(expression(one) for one in options.answers.match)

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must be a name that a question can hold."""
        from dns.exception import DNSException  # noqa: PLC0415 - heavy, and only where DNS is asked
        from dns.name import from_text  # noqa: PLC0415

        if _NAME.fullmatch(target) is None:
            return "a target is a name such as shop.example.test, and nothing else"
        try:
            from_text(target)
        except (DNSException, ValueError) as error:
            return f"{shown(target)} is no name: {plain(error)}"
        return None

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        """What is asked for together can be."""
        answers = options.answers
        if answers.exact is not None and answers.at_least is not None:
            return ("answers", "at_least"), "`exact` says how many there are; leave at_least out"
        if options.rcode != "NOERROR" and (answers.match or answers.exact or answers.at_least):
            return ("answers",), f"an answer with rcode {options.rcode} holds no records"
        return None

    def host(self, target: str) -> str:
        """The server's, where one is written; else the name's own, so that all of them do not wait for each other."""
        server = self._options.server
        return target if server is None else host_port(server, PORT)[0]

    async def look(self, trial: Trial) -> None:
        """Ask, and judge what comes."""
        question = self._question(trial.target)
        self._judge(trial, await self._asked(trial, question))

    def _question(self, target: str) -> Message:
        from dns.flags import AD, RD  # noqa: PLC0415 - heavy, and only where DNS is asked
        from dns.message import make_query  # noqa: PLC0415

        secure = self._options.dnssec == "on"
        made = make_query(target, self._options.type, use_edns=0, payload=PAYLOAD_BYTES, want_dnssec=secure)
        made.flags = (made.flags | AD) if secure else made.flags
        made.flags = made.flags if self._options.recursion == "on" else made.flags & ~RD
        return made

    async def _asked(self, trial: Trial, question: Message) -> Message:
        """The answer of the first server that has one."""
        servers = (self._options.server,) if self._options.server is not None else _system_servers()
        last: Failure | None = None
        for index, server in enumerate(servers):
            share_s = trial.left_s / (len(servers) - index)
            try:
                async with asyncio.timeout(share_s if len(servers) > 1 else None):
                    return await self._asked_of(trial, server, question)
            except TimeoutError:
                last = Failure("timeout", f"the name server {server} did not answer in time")
            except Failure as failed:
                last = failed
        raise last or Failure("failed", f"{RESOLV_CONF} names no server; write one under `server`")

    async def _asked_of(self, trial: Trial, server: str, question: Message) -> Message:
        host, port = host_port(server, PORT)
        places = await self._reach.resolve(trial, host, port)
        wire = question.to_wire()
        if self._options.protocol == "udp":
            with trial.phase("query"):
                answer = await _by_udp(places, question, wire)
            if answer is not None:
                return answer
            trial.values["protocol"] = "tcp, since the answer is too long for udp"
        link = await self._reach.connect(trial, host, port)
        try:
            with trial.phase("query"):
                await link.send(struct.pack("!H", len(wire)) + wire)
                size = struct.unpack("!H", await link.exactly(2))[0]
                answer = _read(await link.exactly(size))
        finally:
            link.close()
        if not question.is_response(answer):
            raise Failure("answer", "the name server answers a question that was not asked")
        return answer

    def _judge(self, trial: Trial, answer: Message) -> None:
        from dns.flags import AA, AD  # noqa: PLC0415 - heavy, and only where DNS is asked
        from dns.rcode import to_text  # noqa: PLC0415

        records, ttl_s = self._records(answer)
        rcode = to_text(answer.rcode())
        trial.fields |= {"answers": float(len(records)), "rcode": float(answer.rcode())}
        if ttl_s is not None:
            trial.fields["ttl_s"] = float(ttl_s)
        trial.values["answers"] = _listed(records)
        wanted = self._options.rcode
        held = rcode == wanted
        trial.check("rcode", held, f"the server says {rcode}{'' if held else f', not {wanted}'}", "status")
        self._judge_records(trial, records)
        if self._options.dnssec == "on":
            held = bool(answer.flags & AD)
            trial.check("dnssec", held, f"the server has {'' if held else 'not '}validated the answer", "value")
        if self._options.authoritative == "on":
            held = bool(answer.flags & AA)
            trial.check("authoritative", held, f"the zone is {'' if held else 'not '}the server's own", "value")

    def _judge_records(self, trial: Trial, records: list[str]) -> None:
        wanted = self._options.answers
        kind = self._options.type
        least = wanted.at_least
        if least is None:
            least = int(self._options.rcode == "NOERROR" and wanted.exact is None)
        said = f"{len(records)} {kind} record{'' if len(records) == 1 else 's'}"
        held = len(records) >= least
        trial.check("answers", held, said if held else f"{said}; at least {least} are wanted", "body")
        if wanted.exact is not None:
            held = sorted(map(_canonical, wanted.exact)) == sorted(map(_canonical, records))
            said = f"the answer is {_listed(records)}"
            trial.check("exact", held, said if held else f"{said}, not {_listed(list(wanted.exact))}", "body")
        for one in self._patterns:
            held = any(one.search(record.encode()) is not None for record in records)
            said = f"/{one.text}/ is {'' if held else 'not '}in {_listed(records)}"
            trial.check("match", held, said, "body")

    def _records(self, answer: Message) -> tuple[list[str], int | None]:
        """The records of the wanted type as texts, whatever name the answer led to; and their smallest TTL."""
        from dns.rdatatype import ANY, from_text  # noqa: PLC0415 - heavy, and only where DNS is asked

        kind = from_text(self._options.type)
        found: list[str] = []
        ttls: list[int] = []
        for rrset in answer.answer:
            if kind in {rrset.rdtype, ANY}:
                ttls.append(rrset.ttl)
                found.extend(plain(one.to_text()) for one in list(rrset)[: ANSWERS_MAX - len(found)])
        return sorted(found), min(ttls, default=None)


async def _by_udp(places: Sequence[Place], question: Message, wire: bytes) -> Message | None:
    """The answer; None: it is too long for a datagram."""
    from dns.flags import TC  # noqa: PLC0415 - heavy, and only where DNS is asked

    link = towards(places)
    try:
        await link.send(wire)
        for _ in range(STRANGERS_MAX):
            data = await link.receive()
            if data[:2] != wire[:2]:  # not our id: somebody guesses
                continue
            answer = _read(data)
            if question.is_response(answer):
                return None if answer.flags & TC else answer
        raise Failure("answer", f"{STRANGERS_MAX} datagrams came, none an answer to the question")
    finally:
        link.close()


def _read(data: bytes) -> Message:
    from dns.exception import DNSException  # noqa: PLC0415 - heavy, and only where DNS is asked
    from dns.message import from_wire  # noqa: PLC0415

    try:
        return from_wire(data, ignore_trailing=True, raise_on_truncation=False)
    except (DNSException, ValueError, struct.error) as error:
        raise Failure("answer", f"the answer is not DNS: {plain(error) or type(error).__name__}") from None


def _system_servers() -> tuple[str, ...]:
    text = ""
    with suppress(OSError), RESOLV_CONF.open("rb") as file:
        text = file.read(RESOLV_BYTES_MAX).decode("utf-8", "replace")
    found = _NAMESERVER.findall(text)[:SERVERS_MAX]
    return tuple(f"[{one}]" if ":" in one else one for one in found)


def _canonical(record: str) -> str:
    """Host names in records compare without case; quoted texts do not."""
    return record if '"' in record else record.lower()


def _listed(records: list[str]) -> str:
    if not records:
        return "nothing"
    more = f" and {len(records) - SHOWN} more" if len(records) > SHOWN else ""
    return ", ".join(records[:SHOWN]) + more
