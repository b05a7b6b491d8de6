"""Servers, programs and pages that lie to make a look costly, endless, or talkative: each is met by a Failure.

Law: what is sent here is small; it is what it would become that is large.
"""

import asyncio
import os
import ssl
import time
from base64 import encodebytes
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import hpack
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hyperframe.frame import HeadersFrame, SettingsFrame

from connectors.network.http2 import Heads, pieces
from connectors.network.trial import Credential, Failure, Trial
from connectors.probes.websocket import Connector as WebSocket
from connectors.probing import contents, expositions, rows, target_groups
from tests.connectors.hostile import HOST, Handler, asked, serving
from tests.connectors.looks import look as look_at
from tests.connectors.looks import serving as speaking
from tests.connectors.services import looked
from tests.connectors.test_probe_command import alive, gone, run, script
from tests.connectors.test_probe_mysql import AMINA, CLEAR, OK, Mysql, look, table
from tests.connectors.test_probe_postgres import LET_IN, READY, Postgres, auth, error, message
from tests.connectors.test_probe_websocket import switching

__all__ = ["script"]  # a fixture
NEWDECIMAL = 246


def says(*parts: bytes) -> Handler:
    """A server that answers the first words of a client with these."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked(reader)
        writer.write(b"".join(parts))
        await writer.drain()
        await reader.read(-1)

    return handler


# ---------------------------------------------------------------- HTTP
def head(block: bytes) -> bytes:
    frame = HeadersFrame(1, block, flags=["END_HEADERS"])
    return bytes(frame.serialize())


def references() -> tuple[bytes, bytes]:
    """One header of 3.9 KB, and 17 bytes that stand for sixteen of it."""
    encoder = hpack.Encoder()
    named = [("a", "x" * 3_900)]
    return encoder.encode([(":status", "103"), *named], huffman=False), encoder.encode(
        [(":status", "103"), *named * 16]
    )


def test_headers_are_bounded_by_what_they_become_over_a_whole_connection() -> None:
    heads = Heads()
    first, more = references()
    heads.decode(first, raw=True)
    with pytest.raises(hpack.OversizedHeaderListError):
        heads.decode(more, raw=True)


def test_a_table_s_size_is_not_changed_without_end() -> None:
    assert Heads().decode(b"\x3f\xe1\x1f\x20\x88", raw=True) == [(b":status", b"200")]
    with pytest.raises(hpack.InvalidTableSizeError):
        Heads().decode(b"\x20" * 100_000, raw=True)


async def test_what_comes_at_once_is_taken_in_pieces() -> None:
    data = bytes(5_000)
    assert [len(one) async for one in pieces(data)] == [2_048, 2_048, 904]


@pytest.mark.parametrize("kind", ["http", "grpc"])
async def test_announcements_that_unpack_to_megabytes_are_a_limit(kind: str) -> None:
    first, more = references()
    sent = bytes(SettingsFrame(0).serialize()) + head(first) + head(more) * 2_000
    options = {"versions": ["2"]} if kind == "http" else {}
    async with serving(says(sent)) as port:
        trial = await looked(kind, f"{kind}://{HOST}:{port}", options, timeout_s=20.0)
    assert trial.outcome in {"limit", "answer"}, trial.note
    assert trial.phases.keys() <= {"dns", "connect", "request", "first_byte", "call"}


def test_an_encoding_that_does_not_exist_harms_nobody() -> None:
    assert contents.in_utf8(b"up", "text/html; charset=iso-8859-12") == b"up"


async def test_a_host_s_name_in_a_redirect_cannot_leave_its_line() -> None:
    answer = (
        b"HTTP/1.1 302 Found\r\nLocation: http://a\xc2\x85b\xe2\x80\xaec.example.test/\r\nContent-Length: 0\r\n\r\n"
    )
    async with serving(says(answer)) as port:
        trial = await looked("http", f"http://{HOST}:{port}/", {}, timeout_s=20.0)
    assert trial.outcome in {"name", "forbidden", "answer"}
    assert trial.note.isprintable(), trial.note


# ---------------------------------------------------------------- certificates
async def test_a_certificate_of_a_version_that_there_is_not_is_named(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)]), datetime(2026, 1, 1, tzinfo=UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), 5, now, now + timedelta(days=99))
    der = built.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False).sign(
        key, hashes.SHA256()
    )
    odd = der.public_bytes(serialization.Encoding.DER).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)
    pem = b"-----BEGIN CERTIFICATE-----\n" + encodebytes(odd) + b"-----END CERTIFICATE-----\n"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "odd.pem").write_bytes(pem + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "odd.pem")
    async with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), tls=context) as port:
        shown = await looked("tls", f"{HOST}:{port}", {"verify": "off"}, timeout_s=20.0)
        met = await looked("http", f"https://{HOST}:{port}/", {"tls": {"verify": "off"}}, timeout_s=20.0)
    assert (shown.outcome, met.outcome) == ("certificate", "up"), (shown.note, met.note)


# ---------------------------------------------------------------- databases
@pytest.mark.parametrize(
    "value",
    [Decimal("sNaN"), Decimal("NaN"), pytest.param(10**400, id="400 digits"), float("inf"), "1e999", "x", b"1", None],
)
def test_what_no_float_can_be_is_no_number(value: object) -> None:
    assert rows.number(value) is None


@pytest.mark.parametrize(("text", "outcome"), [("xyz", "answer"), ("sNaN", "value")])
async def test_a_decimal_that_is_none_is_named(text: str, outcome: str) -> None:
    trial = await look(Mysql(table({"value": NEWDECIMAL}, [text])))
    assert trial.outcome == outcome, trial.note


class Asks(Mysql):
    """A server that switches to another way to log in, and then wants the password itself."""

    def _put(self, number: int, packet: bytes) -> None:
        super()._put(number, b"\x01\x04" if packet == OK else packet)


@pytest.mark.parametrize("plugin", [b"caching_sha2_password", b"sha256_password"])
async def test_no_way_to_log_in_hands_the_password_to_whoever_asks(plugin: bytes) -> None:
    server = Asks(login=b"\xfe" + plugin + b"\0" + b"1234567890123456789\0\0")
    trial = await look(server)
    assert (trial.outcome, trial.note) == ("login", CLEAR)
    assert AMINA.password not in "".join(server.heard)
    assert not {"\1", "\2"} & set(server.heard), "a key of anybody's is as bad as none"


async def pg(server: Postgres, credential: Credential = AMINA) -> tuple[str, str]:
    async with serving(server) as port:
        trial = await looked("postgres", f"{HOST}:{port}", {}, credential, timeout_s=20.0)
    return trial.outcome, trial.note


async def test_a_row_without_columns_is_no_standby() -> None:
    nothing = message(b"D", b"\0\0") + message(b"C", b"SELECT 1\0") + READY
    assert await pg(Postgres(begun=nothing)) == ("up", "")


async def test_a_proof_is_given_once() -> None:
    again = auth(5, b"salt") * 2 + LET_IN + READY
    assert await pg(Postgres(login=again)) == ("login", "the server asks for the same proof again and again")


async def test_a_repeated_secret_is_hidden_before_the_rest_is_cut() -> None:
    secret = "two  blanks and forty more letters behind them"
    said = await pg(Postgres(login=error("XX000", "who says " + secret)), Credential("shop", "amina", secret))
    assert "two" not in said[1]
    assert "blanks" not in said[1]


async def test_a_list_that_is_announced_behind_an_answer_is_not_made() -> None:
    async with serving(says(b"+OK\r\n*2147483647\r\n")) as port:
        trial = await looked("redis", f"{HOST}:{port}", {}, Credential("cache", password="hunter2"), timeout_s=20.0)
    assert (trial.outcome, trial.note) == ("answer", "the server says more than it was asked")


# ---------------------------------------------------------------- pages and lists
def read(page: bytes, left_s: Callable[[], float] = lambda: 1.0) -> int:
    return sum(1 for _ in expositions.points(page, None, [expositions.parse_selector("up")], left_s))


def test_a_page_is_bounded_in_its_lines_and_their_number_and_the_time_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(b"other 1\n" * 10 + b'up{a="b"} 1\n up 2\nupper 3\n') == 2
    with pytest.raises(Failure, match="a line of the page is longer than 64 KiB"):
        read(b"up{" + b",".join(b'l%d=""' % one for one in range(10_000)) + b"} 1\n")
    with pytest.raises(Failure, match="longer to read than there is time"):
        read(b"up 1\n", lambda: 0.0)
    monkeypatch.setattr(expositions, "SAMPLES_MAX", 10)
    with pytest.raises(Failure, match="more than 10 samples"):
        read(b"up 1\n" * 11)


def test_an_answer_of_very_many_groups_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_groups, "VALUES_MAX", 10)
    assert target_groups.of_json(b'[{"targets": ["a:1"]}]')
    for said in (b"[" + b"{}," * 11 + b"{}]", b"[" + b'"",' * 11 + b'""]'):
        with pytest.raises(Failure, match="holds more than 10 values"):
            target_groups.of_json(said)


async def test_json_at_the_edge_of_too_deep_is_judged_or_refused() -> None:
    """Between what can be read and what can be written again are some levels, wherever they lie."""
    check = contents.JsonCheck(path="$", equals="x")
    for depth in range(900, 1_010):
        trial = Trial("", labels={}, timeout_s=5.0, now=0, monotonic=time.monotonic)
        try:
            await contents.check_json(trial, b"[" * depth + b"1" + b"]" * depth, (check,))
        except Failure as failed:
            trial.failed(failed.outcome, failed.reason)
        assert trial.outcome in {"value", "body"}


async def test_json_of_very_many_lists_is_not_made() -> None:
    said = b"[" + b"[]," * 100_000 + b"1]"
    async with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said), said)) as port:
        options = {"body": {"json": [{"path": "$..x"}]}}
        trial = await looked("http", f"http://{HOST}:{port}/", options, timeout_s=20.0)
    assert (trial.outcome, trial.note) == ("limit", "the body is JSON of more than 100000 lists and maps")


async def test_an_answer_of_very_many_series_is_not_made() -> None:
    found = b'{"status":"success","data":{"resultType":"vector","result":[' + b"{}," * 50_000 + b"{}]}}"
    async with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(found), found)) as port:
        trial = await looked("prometheus", f"http://{HOST}:{port}", {"query": "up"}, timeout_s=20.0)
    assert (trial.outcome, trial.note.partition(" that")[0]) == (
        "limit",
        "the query finds far more than the 1000 series",
    )


# ---------------------------------------------------------------- WebSocket
@pytest.mark.parametrize("frames", [b"\x89\x00" * 30_000, b"\x01\x01a" + b"\x00\x00" * 30_000, b"\x8a\x00" * 30_000])
async def test_frames_without_content_come_to_an_end(frames: bytes) -> None:
    async with speaking(switching(frames)) as at:
        trial = await look_at(WebSocket, f"ws://{at}/", {"expect": "x"}, timeout_s=30.0)
    assert (trial.outcome, trial.note) == ("limit", "more than 20000 frames came")


# ---------------------------------------------------------------- programs
async def test_what_left_the_group_of_a_program_ends_with_it(script: Callable[[str], str], tmp_path: Path) -> None:
    """As `timeout` does, and the jobs of a shell."""
    pid = tmp_path / "pid"
    trial = await run(script(f"timeout 60 sh -c 'echo $$ > {pid}; sleep 60' & while [ ! -s {pid} ]; do :; done"))
    assert trial.outcome == "up", trial.note
    assert await gone(int(pid.read_text()))


async def test_what_left_its_session_does_not_hold_up_the_look(script: Callable[[str], str], tmp_path: Path) -> None:
    """As a connection that ssh keeps for later does; it is let live, as whoever wrote the program means it."""
    pid = tmp_path / "pid"
    kept = f"setsid sh -c 'echo $$ > {pid}; exec sleep 60' & while [ ! -s {pid} ]; do :; done; echo done"
    trial = await run(script(kept))
    one = int(pid.read_text())
    assert alive(one)
    os.kill(one, 9)
    assert (trial.outcome, trial.values["output"]) == ("up", "done")
