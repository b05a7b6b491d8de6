"""The probe `postgres`: the protocol's steps, every refusal by its name, and bounds that no server can pass."""

import asyncio
import hashlib
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.pgwire import Scram, prepared
from tests.connectors.hostile import serving
from tests.connectors.services import HOST, Trust, looked

READY, LET_IN = b"Z\0\0\0\5I", b"R\0\0\0\x08\0\0\0\0"
AMINA = Credential("shop", "amina", "hunter2")
INT, TEXT, BOOL = 23, 25, 16
NO_ROWS = "the query does something else than to give rows"


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def auth(what: int, more: bytes = b"") -> bytes:
    return message(b"R", struct.pack("!I", what) + more)


def error(code: str, text: str) -> bytes:
    return message(b"E", b"SFATAL\0VFATAL\0C" + code.encode() + b"\0M" + text.encode() + b"\0\0")


def table(columns: dict[str, int], *given: Sequence[str | None]) -> bytes:
    head = struct.pack("!H", len(columns)) + b"".join(
        name.encode() + b"\0" + struct.pack("!IHIhih", 0, 0, kind, -1, -1, 0) for name, kind in columns.items()
    )
    made = message(b"T", head)
    for row in given:
        cells = b"".join(
            struct.pack("!i", -1) if one is None else struct.pack("!i", len(one)) + one.encode() for one in row
        )
        made += message(b"D", struct.pack("!H", len(row)) + cells)
    return made


BEGUN = table({"pg_is_in_recovery": BOOL}, ["f"]) + message(b"C", b"SELECT 1\0") + READY
ANSWER = table({"value": INT}, ["1"]) + message(b"C", b"SELECT 1\0") + READY


class Postgres:
    """A server that answers the login, then BEGIN, then the query; `tls`: what it says to SSLRequest."""

    def __init__(self, login: bytes = LET_IN + READY, begun: bytes = BEGUN, answer: bytes = ANSWER) -> None:
        self.login, self.begun, self.answer = login, begun, answer
        self.tls: bytes = b"N"
        self.context: object = None
        self.heard: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await self._startup(reader)
        if said == struct.pack("!I", 80_877_103):
            writer.write(self.tls)
            if self.context is not None:
                await writer.start_tls(self.context)  # type: ignore[arg-type]
            said = await self._startup(reader)
        self.heard.append(said)
        writer.write(self.login)
        while kind := await reader.read(1):
            size = struct.unpack("!I", await reader.readexactly(4))[0]
            self.heard.append(kind + await reader.readexactly(size - 4))
            if kind == b"Q":
                writer.write(self.begun)
            elif kind == b"S":
                writer.write(self.answer)

    @staticmethod
    async def _startup(reader: asyncio.StreamReader) -> bytes:
        size = struct.unpack("!I", await reader.readexactly(4))[0]
        return await reader.readexactly(size - 4)


async def look(
    server: Postgres, credential: Credential | None = AMINA, timeout_s: float = 5.0, **options: object
) -> Trial:
    async with serving(server) as port:
        return await looked("postgres", f"{HOST}:{port}", options, credential, timeout_s=timeout_s)


async def test_a_server_that_answers_is_up_and_each_step_has_its_time() -> None:
    server = Postgres()
    trial = await look(server)
    assert (trial.outcome, trial.note, trial.fields) == ("up", "", {"rows": 1.0, "value": 1.0})
    assert list(trial.phases) == ["dns", "connect", "tls", "login", "query"]
    startup = server.heard[0]
    assert startup.startswith(b"\0\3\0\0user\0amina\0database\0postgres\0")
    assert re.fullmatch(rb"QBEGIN READ ONLY; SET LOCAL statement_timeout = [0-9]{4}\0", server.heard[1])
    assert server.heard[2:7] == [
        b"P\0SELECT 1 AS value\0\0\0", b"B" + b"\0" * 8, b"DP\0", b"E\0\0\0\x03\xe9", b"S",
    ]  # fmt: skip


async def test_numbers_and_truth_are_fields_and_labels_make_series() -> None:
    columns = {"host": TEXT, "lag": INT, "ready": BOOL}
    rows = table(columns, ["a", "5", "t"], ["b", None, "f"]) + message(b"C", b"SELECT 2\0") + READY
    trial = await look(Postgres(answer=rows), labels=["host"])
    assert trial.outcome == "up"
    assert [(one.labels, one.fields) for one in trial.series] == [
        ({"host": "a"}, {"lag": 5.0, "ready": 1.0}),
        ({"host": "b"}, {"ready": 0.0}),
    ]


@pytest.mark.parametrize(
    ("code", "outcome", "note"),
    [
        ("28P01", "login", "the server refused the login (28P01): no …"),
        ("28000", "login", "the server refused the login (28000): no …"),
        ("3D000", "value", "there is no such database (3D000): no …"),
        ("53300", "status", "the server takes no more connections (53300): no …"),
        ("57P03", "status", "the server does not work now (57P03): no …"),
        ("XX000", "status", "the server refuses us (XX000): no …"),
    ],
)
async def test_a_refused_login_is_named_by_its_code(code: str, outcome: str, note: str) -> None:
    trial = await look(Postgres(login=error(code, "no hunter2")))
    assert (trial.outcome, trial.note) == (outcome, note)
    assert "query" not in trial.phases


@pytest.mark.parametrize(
    ("answer", "outcome", "note"),
    [
        (error("42P01", "no relation") + READY, "value", "the query fails (42P01): no relation"),
        (error("25006", "cannot") + READY, "forbidden", "the query writes (25006): cannot"),
        (error("42501", "denied") + READY, "login", "we have no right to this (42501): denied"),
        (error("57014", "canceling") + READY, "timeout", "the server broke the query off (57014): canceling"),
        (error("57P01", "terminating"), "status", "the server does not work now (57P01): terminating"),
        (message(b"n") + message(b"C", b"COMMIT\0") + READY, "forbidden", NO_ROWS),
        (message(b"H", b"\0\0\0"), "forbidden", NO_ROWS),
        (table({"a": INT}, *[["1"]] * 1_001) + message(b"s") + READY, "limit", "the query gave more than 1000 rows"),
        (b"D\x7f\xff\xff\xff", "limit", "the answer has more than 1 MiB"),
        (b"T\0\0\0\x06\0\x09", "answer", "the columns of an answer cannot be read"),
        (table({"a": INT}, ["one"]), "answer", "a row of an answer cannot be read"),
        (b"HTTP/1.1 400\r\n\r\n", "limit", "the answer has more than 1 MiB"),
        (b"!!!!!", "answer", "this is no answer of a PostgreSQL server"),
        (message(b"v"), None, ""),
    ],
)  # fmt: skip
async def test_every_other_answer_is_named(answer: bytes, outcome: str | None, note: str) -> None:
    if outcome is None:  # what may come at any time, and matters to nobody
        answer, outcome = answer + message(b"N", b"\0") + message(b"S", b"a\0b\0") + ANSWER, "up"
    trial = await look(Postgres(answer=answer))
    assert (trial.outcome, trial.note) == (outcome, note)


async def test_a_query_that_hangs_is_broken_off_in_its_phase() -> None:
    trial = await look(Postgres(answer=b""), timeout_s=0.3)
    assert (trial.outcome, trial.note) == ("timeout", "timed out while in query")
    assert trial.phases["query"] > 0.1


async def test_a_connection_that_is_cut_is_named() -> None:
    async def cut(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(8)

    async with serving(cut) as port:
        trial = await looked("postgres", f"{HOST}:{port}", {"sslmode": "disable"}, AMINA)
    assert (trial.outcome, "login" in trial.phases) == ("reset", True)


@pytest.mark.parametrize(
    ("recovering", "wanted", "note"),
    [
        ("t", "on", ""),
        ("f", "off", ""),
        ("f", "on", "the server is no standby"),
        ("t", "off", "the server is a standby"),
    ],
)
async def test_a_server_in_the_wrong_role_is_named(recovering: str, wanted: str, note: str) -> None:
    begun = table({"pg_is_in_recovery": BOOL}, [recovering]) + message(b"C", b"SELECT 1\0") + READY
    trial = await look(Postgres(begun=begun), standby=wanted)
    assert (trial.outcome, trial.note) == ("value" if note else "up", note)


# ---------------------------------------------------------------- the password
async def test_the_password_itself_is_for_a_server_that_has_proved_its_name(tmp_path: Path) -> None:
    clear = Postgres(login=auth(3))
    trial = await look(clear)
    assert (trial.outcome, "that needs sslmode verify-full" in trial.note) == ("login", True)
    assert [one for one in clear.heard if b"hunter2" in one] == []

    trust = Trust(tmp_path)
    proved = Postgres(login=auth(3) + LET_IN + READY)
    proved.tls, proved.context = b"S", trust.server()
    trial = await look(proved, trust.credential("amina", "hunter2"), sslmode="verify-full")
    assert trial.outcome == "up"
    assert proved.heard[1] == b"phunter2\0"


async def test_an_old_servers_question_is_answered_with_a_digest() -> None:
    server = Postgres(login=auth(5, b"salt") + LET_IN + READY)
    assert (await look(server)).outcome == "up"
    inner = hashlib.md5(b"hunter2amina", usedforsecurity=False).hexdigest().encode()
    outer = hashlib.md5(inner + b"salt", usedforsecurity=False).hexdigest().encode()
    assert server.heard[1] == b"pmd5" + outer + b"\0"


async def test_without_a_password_a_server_that_asks_for_one_is_a_failed_login() -> None:
    trial = await look(Postgres(login=auth(10, b"SCRAM-SHA-256\0\0")), None)
    assert (trial.outcome, trial.note) == ("login", "the server asks for a password, and there is none")


async def test_a_login_that_is_not_known_here_is_named() -> None:
    trial = await look(Postgres(login=auth(7)))
    assert (trial.outcome, trial.note) == ("login", "the server asks for a login of kind 7, which is not known here")


def test_scram_is_what_its_standard_says() -> None:
    """The example of RFC 7677, section 3; there the user is named, here the server knows it already."""
    scram = Scram("pencil", nonce="rOprNGfwEbeRWgbNEkqO")
    scram._bare = "n=user,r=rOprNGfwEbeRWgbNEkqO"
    said = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    proof = scram.proof(said)
    assert proof == (
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    scram.check("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    with pytest.raises(Failure, match="does not prove that it knows our password"):
        scram.check("v=AAAA")


@pytest.mark.parametrize(
    "said",
    [
        "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "r=mine1,s=W22Z,i=2000000000",
        "r=mine1,s=%%,i=1",
        "r=mine1",
        "",
        "e=x",
    ],
)
def test_a_challenge_that_is_stale_costly_or_broken_is_refused(said: str) -> None:
    with pytest.raises(Failure) as caught:
        Scram("pencil", nonce="mine").proof(said)
    assert caught.value.outcome == "answer"


async def test_a_server_that_skips_its_proof_is_still_asked_for_it() -> None:
    """Let in without the end of SCRAM, which a server in the middle cannot know: that is nobody's server."""
    for end in (auth(12, b"v=AAAA"), LET_IN + READY):
        trial = await look(Postgres(login=auth(10, b"SCRAM-SHA-256\0\0") + end))
        assert (trial.outcome, trial.note) == ("login", "the server does not prove that it knows our password")


def test_passwords_are_prepared_as_the_server_does() -> None:
    assert prepared("pencil") == "pencil"
    assert prepared("I\u00adX") == "IX"  # a soft hyphen is nothing
    assert prepared("\u00aa\u2168") == "aIX"  # compatibility forms
    assert prepared("a\u00a0b") == "a b"
    assert prepared("كلمة") == "كلمة"
    assert prepared("\u06271") == "\u06271"  # forbidden by its direction, so taken as it is
    assert prepared("密码\u0007") == "密码\u0007"  # as is one with a control character


# ---------------------------------------------------------------- TLS
@pytest.mark.parametrize(
    ("mode", "offered", "outcome", "note"),
    [
        ("require", b"N", "tls", "the server does not offer TLS"),
        ("verify-full", b"N", "tls", "the server does not offer TLS"),
        ("prefer", b"N", "up", ""),
        ("prefer", b"E", "answer", "this is no answer of a PostgreSQL server"),
    ],
)
async def test_a_server_without_tls_is_judged_by_the_mode(mode: str, offered: bytes, outcome: str, note: str) -> None:
    server = Postgres()
    server.tls = offered
    trial = await look(server, sslmode=mode)
    assert (trial.outcome, trial.note) == (outcome, note)


@pytest.mark.parametrize(
    ("leaf", "mode", "outcome"),
    [
        ("leaf", "verify-full", "up"), ("expired", "verify-full", "certificate"), ("expired", "require", "up"),
        ("wrong_name", "verify-full", "certificate"),
    ],
)  # fmt: skip
async def test_a_certificate_is_judged_by_the_mode(tmp_path: Path, leaf: str, mode: str, outcome: str) -> None:
    trust = Trust(tmp_path)
    server = Postgres()
    server.tls, server.context = b"S", trust.server(leaf)
    trial = await look(server, trust.credential("amina", "hunter2"), sslmode=mode)
    assert trial.outcome == outcome


async def test_what_is_said_before_tls_is_not_believed_after_it(tmp_path: Path) -> None:
    trust = Trust(tmp_path)
    server = Postgres()
    server.tls, server.context = b"S" + LET_IN, trust.server()
    trial = await look(server, trust.credential("amina", "hunter2"))
    assert (trial.outcome, trial.note) == ("tls", "the server spoke in the clear after it had agreed to TLS")
