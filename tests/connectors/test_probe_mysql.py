"""The probe `mysql`: the driver over our own connection, every refusal by its name, bounds, and no thread left over."""

import socket
import ssl
import struct
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from connectors.network.trial import Credential, Trial
from tests.connectors.services import HOST, Trust, looked

AMINA = Credential("shop", "amina", "hunter2")
LONG, STRING = 3, 253
SSL = 0x0800
CAPABILITIES = 0x0200 | 0x8000 | 0x80000 | 0x2000 | 8  # protocol 4.1, its login, plugins, transactions, a database
OK = b"\0\0\0\2\0\0\0"
CLEAR = "the server asks for the password itself: that needs ssl_mode verify_identity"
EOF = b"\xfe\0\0\2\0"


def error(number: int, text: str) -> bytes:
    return b"\xff" + struct.pack("<H", number) + b"#HY000" + text.encode()


def cell(text: str | None) -> bytes:
    return b"\xfb" if text is None else bytes([len(text)]) + text.encode()


def table(columns: dict[str, int], *rows: Sequence[str | None]) -> list[bytes]:
    heads = [
        b"\3def\0\0\0" + cell(name) + cell(name) + b"\x0c" + struct.pack("<HIBHB2x", 45, 255, kind, 0, 0)
        for name, kind in columns.items()
    ]
    return [bytes([len(columns)]), *heads, EOF, *[b"".join(map(cell, row)) for row in rows], EOF]


class Mysql:
    """A server that lets us in with `login`, and answers what is asked; other statements are fine."""

    def __init__(self, answer: list[bytes] | None = None, login: bytes = OK, greeting: bytes | None = None) -> None:
        self.answer = table({"value": LONG}, ["1"]) if answer is None else answer
        self.login, self.greeting = login, greeting
        self.version = b"8.0.36"
        self.context: ssl.SSLContext | None = None
        self.heard: list[str] = []
        self.logged_in = b""

    def __enter__(self) -> int:
        self._listening = socket.create_server((HOST, 0))
        self._listening.settimeout(10)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return int(self._listening.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._listening.close()

    def _serve(self) -> None:
        """One connection. In a thread: of a stream, asyncio would read on into what belongs to TLS."""
        self._link, _ = self._listening.accept()
        self._link.settimeout(10)
        try:
            self._talk()
        except OSError:
            pass  # the client has gone
        finally:
            self._link.close()

    def _talk(self) -> None:
        if self.greeting is not None:
            self._link.sendall(self.greeting)
            return
        offered = CAPABILITIES | (SSL if self.context is not None else 0)
        self._put(
            0,
            b"\x0a" + self.version + b"\0" + struct.pack("<I", 7) + b"12345678\0" + struct.pack("<H", offered & 0xFFFF)
            + struct.pack("<BHHB10x", 45, 2, offered >> 16, 21) + b"123456789012\0mysql_native_password\0",
        )  # fmt: skip
        number, said = self._take()
        if self.context is not None and len(said) == 32:
            self._link = self.context.wrap_socket(self._link, server_side=True)
            number, said = self._take()
        self.logged_in = said
        self._put(number + 1, self.login)
        while True:
            number, said = self._take()
            self.heard.append(said[1:].decode("utf-8", "replace"))
            asked = said[:1] == b"\3" and self.heard[-1].upper().startswith("SELECT")
            for packet in self.answer if asked else [OK]:
                number += 1
                self._put(number, packet)

    def _put(self, number: int, packet: bytes) -> None:
        self._link.sendall(struct.pack("<I", len(packet))[:3] + bytes([number % 256]) + packet)

    def _take(self) -> tuple[int, bytes]:
        head = self._exactly(4)
        return head[3], self._exactly(int.from_bytes(head[:3], "little"))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._link.recv(size - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return data


async def look(
    server: Mysql, credential: Credential | None = AMINA, timeout_s: float = 5.0, **options: object
) -> Trial:
    with server as port:
        return await looked("mysql", f"{HOST}:{port}", options, credential, timeout_s=timeout_s)


async def test_a_server_that_answers_is_up_and_each_step_has_its_time() -> None:
    server = Mysql()
    trial = await look(server)
    assert (trial.outcome, trial.note, trial.fields) == ("up", "", {"rows": 1.0, "value": 1.0})
    assert list(trial.phases) == ["dns", "connect", "login", "query"]
    assert trial.values == {"server": "8.0.36", "tls": "no", "value": "1"}
    assert b"amina\0" in server.logged_in
    statements = [one for one in server.heard if "NAMES" not in one]
    assert statements[0].startswith("SET SESSION max_execution_time = ")
    assert statements[1:] == [
        "SET SESSION TRANSACTION READ ONLY", "START TRANSACTION READ ONLY", "SELECT 1 AS value",
    ]  # fmt: skip


async def test_mariadb_is_bounded_in_its_own_words() -> None:
    server = Mysql()
    server.version = b"5.5.5-10.11.6-MariaDB"
    assert (await look(server)).outcome == "up"
    assert [one for one in server.heard if one.startswith("SET SESSION max_statement_time = 4.")] != []


async def test_numbers_in_texts_are_fields_and_labels_make_series() -> None:
    rows = table({"Variable_name": STRING, "Value": STRING}, ["Threads", "12"], ["Uptime", "3.5"])
    trial = await look(Mysql(rows), labels=["Variable_name"])
    assert [(one.labels, one.fields) for one in trial.series] == [
        ({"Variable_name": "Threads"}, {"Value": 12.0}),
        ({"Variable_name": "Uptime"}, {"Value": 3.5}),
    ]


@pytest.mark.parametrize(
    ("login", "outcome", "note"),
    [
        (error(1045, "no hunter2"), "login", "the server refused the login with 1045"),
        (error(1040, "Too many"), "status", "login fails with 1040: Too many"),
        (error(1049, "Unknown database"), "status", "login fails with 1049: Unknown database"),
        (b"\xfemysql_clear_password\0", "login", CLEAR),
        (b"\xfedialog\0", "login", CLEAR),
        (b"", "answer", "no answer of a MySQL server in the login: "),
    ],
)  # fmt: skip
async def test_a_refused_login_is_named(login: bytes, outcome: str, note: str) -> None:
    trial = await look(Mysql(login=login))
    assert (trial.outcome, trial.note.startswith(note.strip())) == (outcome, True), trial.note


@pytest.mark.parametrize(
    ("answer", "outcome", "note"),
    [
        ([error(1146, "no table")], "value", "query fails with 1146: no table"),
        ([error(1142, "denied")], "login", "the server refused the query, which we have no right to, with 1142"),
        ([error(1792, "cannot")], "forbidden", "the query writes: cannot"),
        ([error(3024, "interrupted")], "timeout", "the server broke the query off: interrupted"),
        ([error(1053, "shutdown")], "status", "query fails with 1053: shutdown"),
        ([OK], "forbidden", "the query does something else than to give rows"),
        ([b"\1", b"\3def\0\0\0\xff\0\x0c" + b"\0" * 12], "answer", "no answer of a MySQL server in the query: "),
        ([b"\xfb/etc/passwd"], "answer", "no answer of a MySQL server in the query: "),
        (table({"a": LONG}, *[["1"]] * 1_001), "limit", "the query gave more than 1000 rows"),
        ([b"x" * 1_500_000], "limit", "the answer has more than 1 MiB"),
    ],
)
async def test_every_other_answer_is_named(answer: list[bytes], outcome: str, note: str) -> None:
    trial = await look(Mysql(answer))
    assert (trial.outcome, trial.note.startswith(note.strip())) == (outcome, True), trial.note


async def test_what_is_no_mysql_server_is_named() -> None:
    for greeting, outcome, note in (
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "answer",
            "no answer of a MySQL server in the login: Packet sequence number wrong",
        ),
        (b"\xff\xff\xff\0", "answer", "no greeting of a MySQL server"),
        (b"\2\0\0\0\x0a8", "answer", "no answer of a MySQL server in the login: "),
        (b"", "reset", "in the login: the connection was cut"),
    ):
        trial = await look(Mysql(greeting=greeting))
        assert (trial.outcome, trial.note.startswith(note.strip())) == (outcome, True), trial.note


async def test_a_query_that_hangs_is_broken_off_and_its_thread_is_gone() -> None:
    before = set(threading.enumerate())
    trial = await look(Mysql([]), timeout_s=0.3)
    assert (trial.outcome, trial.note) == ("timeout", "timed out while in query")
    left = [one for one in threading.enumerate() if one not in before and one.name.startswith("mysql")]
    for one in left:
        one.join(1.0)
    assert [one.name for one in left if one.is_alive()] == []


# ---------------------------------------------------------------- TLS
@pytest.mark.parametrize(
    ("leaf", "mode", "outcome"),
    [
        ("leaf", "verify_identity", "up"), ("expired", "verify_identity", "certificate"), ("expired", "required", "up"),
        ("wrong_name", "verify_identity", "certificate"), ("expired", "preferred", "up"), ("leaf", "disabled", "up"),
    ],
)  # fmt: skip
async def test_a_certificate_is_judged_by_the_mode(tmp_path: Path, leaf: str, mode: str, outcome: str) -> None:
    trust = Trust(tmp_path)
    server = Mysql()
    server.context = trust.server(leaf)
    trial = await look(server, trust.credential("amina", "hunter2"), ssl_mode=mode)
    assert trial.outcome == outcome, trial.note
    assert ("tls" in trial.phases) == (mode != "disabled")


async def test_a_server_without_tls_is_judged_by_the_mode() -> None:
    for mode, outcome in {"required": "tls", "verify_identity": "tls", "preferred": "up", "disabled": "up"}.items():
        trial = await look(Mysql(), ssl_mode=mode)
        assert trial.outcome == outcome, trial.note
