"""`tls`: every way in which a certificate is wrong, told exactly; and STARTTLS of each protocol."""

import asyncio
import ssl
import warnings
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.network.trial import UP, Credential, Trial
from connectors.probes.tls import Connector
from connectors.probing.starttls import BYTES_MAX, PROTOCOLS
from rules.instants import DAY, parse_instant
from tests.connectors.certs import EXPIRED_ON, Authority, Leaf, self_signed
from tests.connectors.looks import Talk, look, saying, serving
from tests.connectors.servers import free_port

END = parse_instant("2120-01-01T00:00:00Z")  # of all that is valid


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority()


@pytest.fixture
def trusting(root: Authority, tmp_path: Path) -> Credential:
    return Credential("tests", ca=root.write(tmp_path / "ca.pem"))


Shows = Callable[..., Awaitable[Trial]]


@pytest.fixture
def shown(trusting: Credential, tmp_path: Path) -> Shows:
    """A look at a server with this certificate, by these options."""

    async def run(leaf: Leaf, options: dict[str, object] | None = None, **given: Any) -> Trial:
        async with serving(saying(), ssl=leaf.server(tmp_path)) as target:
            return await look(Connector, target, options, credential=trusting, **given)

    return run


async def test_a_certificate_that_is_good(root: Authority, shown: Shows) -> None:
    trial = await shown(Authority("Between", root).leaf(), now=END - 100 * DAY)
    assert (trial.outcome, trial.note) == (UP, "")
    assert trial.fields == {
        "cert_valid": 1.0,
        "cert_days_left": 100.0,
        "chain_length": 2.0,
        "protocol": 1.3,
        "key_bits": 256.0,
    }
    assert list(trial.phases) == ["dns", "connect", "tls"]
    assert [one.name for one in trial.checks] == ["expiry", "name", "trust", "protocol"]


async def test_one_that_expires_soon(root: Authority, shown: Shows) -> None:
    trial = await shown(root.leaf(), {"days_left": "14"}, now=END - 12 * DAY)
    assert trial.outcome == "certificate"
    assert trial.note == "the certificate expires in 12 days, on 2120-01-01; at least 14 days are wanted"
    assert trial.fields["cert_days_left"] == 12.0
    assert (await shown(root.leaf(), {"days_left": "12"}, now=END - 12 * DAY)).outcome == UP


async def test_the_earliest_of_the_chain_counts(root: Authority, shown: Shows) -> None:
    between = Authority("Between", root, until=datetime(2110, 1, 1, tzinfo=UTC))
    trial = await shown(between.leaf(), {"days_left": "30"}, now=parse_instant("2109-12-31T12:00:00Z"))
    assert trial.note.startswith("the certificate of 'Between' in the chain expires in 12 hours, on 2110-01-01")


async def test_one_that_has_expired(root: Authority, shown: Shows) -> None:
    trial = await shown(root.expired(), now=parse_instant("2021-01-04T00:00:00Z"))
    assert (trial.outcome, trial.note) == ("certificate", "the certificate expired 3 days ago, on 2021-01-01")
    assert trial.fields["cert_days_left"] == -3.0
    assert [one.name for one in trial.checks if not one.held] == ["expiry"]
    assert "examine" in trial.phases


async def test_one_between_that_has_expired(root: Authority, shown: Shows) -> None:
    trial = await shown(Authority("Between", root, until=EXPIRED_ON).leaf())
    assert trial.note.startswith("the certificate of 'Between' in the chain expired ")


async def test_one_that_is_not_yet_valid(root: Authority, shown: Shows) -> None:
    trial = await shown(root.not_yet())
    assert (trial.outcome, trial.note) == ("certificate", "the certificate is not valid before 2119-01-01")


async def test_one_for_another_name(root: Authority, shown: Shows) -> None:
    trial = await shown(root.wrong_name())
    said = "the certificate is for other.example.test, www.other.example.test, not for 127.0.0.1"
    assert (trial.outcome, trial.note) == ("certificate", said)
    assert [one.name for one in trial.checks if not one.held] == ["name"]
    assert (await shown(root.wrong_name(), {"server_name": "www.other.example.test"})).outcome == UP


async def test_one_that_is_wrong_in_two_ways_says_both(root: Authority, shown: Shows) -> None:
    trial = await shown(root.leaf("other.test", until=EXPIRED_ON), {"server_name": "shop.test"})
    assert [(one.name, one.held) for one in trial.checks[:3]] == [("expiry", False), ("name", False), ("trust", True)]


async def test_a_wildcard_is_one_label(root: Authority, shown: Shows) -> None:
    leaf = root.leaf("*.example.test", until=EXPIRED_ON)
    for name, held in (("a.example.test", True), ("a.b.example.test", False), ("example.test", False)):
        trial = await shown(leaf, {"server_name": name})
        assert {one.name: one.held for one in trial.checks}["name"] is held, name


async def test_one_that_vouches_for_itself(shown: Shows) -> None:
    trial = await shown(self_signed("localhost", "127.0.0.1"))
    said = "the certificate is self-signed by 'localhost': nobody vouches for it"
    assert (trial.outcome, trial.note) == ("certificate", said)


async def test_one_of_an_unknown_issuer(shown: Shows) -> None:
    other = Authority("Somebody")
    trial = await shown(other.leaf(chain=()))
    assert trial.outcome == "certificate"
    assert trial.note.startswith("the issuer 'Somebody' is not known here; the server sends its own certificate alone")
    trial = await shown(other.leaf(chain=(other.certificate,)))
    assert trial.note == "the chain ends at 'Somebody', which is not trusted here"


async def test_a_chain_with_a_hole(root: Authority, shown: Shows) -> None:
    trial = await shown(Authority("Between", root).leaf(chain=()))
    assert trial.note.startswith("the issuer 'Between' is not known here; the server sends its own certificate alone")
    assert trial.fields["chain_length"] == 1.0


async def test_trust_can_be_no_matter_but_dates_always_are(root: Authority, shown: Shows) -> None:
    trial = await shown(self_signed("other.test"), {"verify": "off"})
    assert (trial.outcome, [one.name for one in trial.checks]) == (UP, ["expiry", "protocol"])
    trial = await shown(root.expired(), {"verify": "off"})
    assert trial.outcome == "certificate"
    assert "expired" in trial.note


def old(root: Authority, folder: Path) -> ssl.SSLContext:
    """A server that has not been looked after since 2010."""
    context = root.leaf().server(folder)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


async def test_a_protocol_that_is_too_old(root: Authority, trusting: Credential, tmp_path: Path) -> None:
    async with serving(saying(), ssl=old(root, tmp_path)) as target:
        trial = await look(Connector, target, credential=trusting)
        assert (trial.outcome, trial.note) == ("value", "the server speaks TLS 1.1 at most; at least 1.2 is wanted")
        assert trial.fields["protocol"] == 1.1
        trial = await look(Connector, target, {"min_version": "1.1"}, credential=trusting)
        assert (trial.outcome, trial.fields["protocol"]) == (UP, 1.1)


async def test_an_old_protocol_and_a_certificate_of_nobody(root: Authority, tmp_path: Path) -> None:
    """Where the oldest protocols are taken, certificates are checked as ever."""
    async with serving(saying(), ssl=old(root, tmp_path)) as target:
        trial = await look(Connector, target, {"min_version": "1.0"})
    assert trial.outcome == "certificate"
    assert "is not known here" in trial.note


async def test_a_newer_protocol_than_the_server_has(root: Authority, shown: Shows, tmp_path: Path) -> None:
    context = root.leaf().server(tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(saying(), ssl=context) as target:
        trial = await look(Connector, target, {"min_version": "1.3", "verify": "off"})
    assert (trial.outcome, trial.note) == ("value", "the server speaks TLS 1.2 at most; at least 1.3 is wanted")


async def test_what_does_not_speak_tls() -> None:
    async with serving(saying(b"220 plain text\r\n" * 3)) as target:
        assert (await look(Connector, target)).outcome == "tls"


async def test_nobody_there_and_nobody_who_answers() -> None:
    assert (await look(Connector, f"127.0.0.1:{free_port()}")).outcome == "refused"
    async with serving(saying()) as target:
        trial = await look(Connector, target, timeout_s=0.2)
    assert (trial.outcome, trial.note) == ("timeout", "timed out while in tls")
    async with serving(saying(then="reset")) as target:
        assert (await look(Connector, target)).outcome == "reset"


# ---------------------------------------------------------------- STARTTLS
LDAP_OK = bytes.fromhex("300c02010178070a010004000400")
LDAP_REFUSED = bytes.fromhex("3020 020101 781b 0a0134 0400 0414") + b"TLS is not available"
# What a server says at first, what it is asked, and what it answers: for each question, in order.
PLAYS: dict[str, tuple[bytes, list[tuple[bytes, bytes]]]] = {
    "smtp": (
        b"220-mx\r\n220 ready\r\n",
        [(b"EHLO ticketd.invalid\r\n", b"250-mx\r\n250-SIZE\r\n250 STARTTLS\r\n"), (b"STARTTLS\r\n", b"220 go on\r\n")],
    ),
    "imap": (b"* OK ready\r\n", [(b"a1 STARTTLS\r\n", b"* CAPABILITY IMAP4rev1\r\na1 OK go on\r\n")]),
    "pop3": (b"+OK ready\r\n", [(b"STLS\r\n", b"+OK go on\r\n")]),
    "ftp": (b"220-welcome\r\n some words\r\n220 ready\r\n", [(b"AUTH TLS\r\n", b"234 go on\r\n")]),
    "ldap": (b"", [(bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037", LDAP_OK)]),
    "postgres": (b"", [(bytes.fromhex("0000000804d2162f"), b"S")]),
}


def playing(protocol: str, context: ssl.SSLContext | None, **instead: bytes) -> Talk:
    """A server of this protocol. `first`, `last`: what it says instead at first, and as its last answer."""
    greeting, questions = PLAYS[protocol]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(instead.get("first", greeting))
        for index, (question, answer) in enumerate(questions):
            asked = await reader.readexactly(len(question))
            assert asked == question
            last = index == len(questions) - 1
            writer.write(instead.get("last", answer) if last else instead.get("middle", answer))
        if context is not None:
            await writer.start_tls(context)
        await reader.read(-1)

    return talk


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_tls_begins_in_the_words_of_each_protocol(
    protocol: str, root: Authority, trusting: Credential, tmp_path: Path
) -> None:
    async with serving(playing(protocol, root.leaf().server(tmp_path))) as target:
        trial = await look(Connector, target, {"starttls": protocol}, credential=trusting)
    assert (trial.outcome, trial.note) == (UP, "")
    assert list(trial.phases) == ["dns", "connect", "starttls", "tls"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_second_look_asks_again(protocol: str, root: Authority, trusting: Credential, tmp_path: Path) -> None:
    async with serving(playing(protocol, root.expired().server(tmp_path))) as target:
        trial = await look(Connector, target, {"starttls": protocol}, credential=trusting)
    assert trial.outcome == "certificate"
    assert "expired" in trial.note


@pytest.mark.parametrize(
    ("protocol", "instead", "outcome", "said"),
    [
        ("smtp", {"first": b"554 no\r\n"}, "status", "the connection was answered by '554 no'"),
        ("smtp", {"first": b"hello\r\n"}, "answer", "expected a code of three digits, not 'hello'"),
        ("smtp", {"middle": b"250 mx\r\n"}, "status", "the server does not offer STARTTLS"),
        ("smtp", {"last": b"454 not now\r\n"}, "status", "STARTTLS was answered by '454 not now'"),
        ("smtp", {"last": b"220 go on\r\n250 injected\r\n"}, "answer", "which somebody may have put in"),
        ("imap", {"first": b"* BYE too many\r\n"}, "status", "the server greets with '* BYE too many'"),
        ("imap", {"last": b"a1 BAD what?\r\n"}, "status", "STARTTLS was answered by 'a1 BAD what?'"),
        ("imap", {"last": b"* a\r\n" * 200}, "limit", "an answer of more than 100 lines"),
        ("pop3", {"last": b"-ERR no\r\n"}, "status", "STLS was answered by '-ERR no'"),
        ("ftp", {"last": b"500 what?\r\n"}, "status", "AUTH TLS was answered by '500 what?'"),
        ("ldap", {"last": LDAP_REFUSED}, "status", "refuses StartTLS with LDAP result 52: 'TLS is not available'"),
        ("ldap", {"last": b"HTTP/1.1 400\r\n"}, "answer", "what answers is no LDAP server"),
        ("ldap", {"last": b"\x30\x03\x02\x01\x01"}, "answer", "the LDAP server answers something else"),
        (
            "ldap",
            {"last": b"\x30\x82\x10\x09\x02\x01\x01\x78\x82\x10\x02\x0a\x82\x0f\xfe" + b"x" * 0xFFE},
            "answer",
            "else",
        ),
        ("ldap", {"last": b"\x30\x84\xff\xff\xff\xff"}, "answer", "what answers is no LDAP server"),
        ("postgres", {"last": b"N"}, "status", "the server has TLS switched off"),
        ("postgres", {"last": b"E" + b"x" * 9}, "answer", "no PostgreSQL server answers 'E'"),
        ("postgres", {"last": b"Sx"}, "answer", "which somebody may have put in"),
    ],
)
async def test_a_server_that_will_not(protocol: str, instead: dict[str, bytes], outcome: str, said: str) -> None:
    async with serving(playing(protocol, None, **instead)) as target:
        trial = await look(Connector, target, {"starttls": protocol}, timeout_s=2)
    assert trial.outcome == outcome
    assert said in trial.note


@pytest.mark.parametrize("protocol", ["smtp", "imap", "pop3", "ftp"])
async def test_no_more_is_read_before_tls_than_an_answer_needs(protocol: str) -> None:
    async with serving(saying(b"2" * (BYTES_MAX * 2))) as target:
        trial = await look(Connector, target, {"starttls": protocol}, timeout_s=2)
    assert trial.outcome == "limit"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_server_that_leaves(protocol: str) -> None:
    async with serving(saying(then="reset")) as target:
        trial = await look(Connector, target, {"starttls": protocol}, timeout_s=2)
    assert trial.outcome == "reset"
