"""PostgreSQL's protocol, version 3, as far as somebody needs it who logs in and asks: over a connection made elsewhere.

The one law: of one session no more than `rows.BYTES_MAX` are read, whatever the server announces; and the password
itself leaves only for a server that has proved its name.
"""

import asyncio
import hmac
import ssl
import stringprep
import struct
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import md5, pbkdf2_hmac, sha256
from typing import Final
from unicodedata import normalize

from connectors.net import plain
from connectors.network.reach import Link
from connectors.network.trial import Failure
from connectors.probing import rows

TLS_REQUEST: Final = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
VERSION: Final = 196_608  # 3.0
AT_ONCE_MAX: Final = 256  # messages
ITERATIONS_MAX: Final = 100_000  # of SCRAM; servers use 4096, and more take time that others wait for
BOOL: Final = 16  # the type's number
NUMBERS: Final = frozenset({20, 21, 23, 26, 700, 701, 1700})  # of whole and other numbers
_HEAD: Final = struct.Struct("!cI")
_INT: Final = struct.Struct("!I")
_SHORT: Final = struct.Struct("!H")
_LENGTH: Final = struct.Struct("!i")
_COLUMN: Final = struct.Struct("!IHIhih")  # behind a column's name
_OK, _CLEAR, _MD5, _SASL, _SASL_MORE, _SASL_END = 0, 3, 5, 10, 11, 12  # how a server speaks of a login
_MECHANISM: Final = "SCRAM-SHA-256"
_TRUTH: Final = {b"t": True, b"f": False}
_ASIDE: Final = frozenset({b"S", b"K", b"N", b"A", b"v"})  # settings, keys, notices: for whoever wants them
_BROKEN: Final = (struct.error, IndexError, ValueError, KeyError)


@dataclass(frozen=True, slots=True)
class Column:
    """Of an answer."""

    name: str
    type: int


@dataclass(slots=True)
class Answer:
    """What one query gave."""

    columns: list[Column] = field(default_factory=list)
    rows: list[list[object]] = field(default_factory=list)
    more: bool = False  # than were asked for


class ServerError(Exception):
    """What the server refused, by its code (SQLSTATE) and in its words."""

    def __init__(self, code: str, text: str) -> None:
        """The text may be in any language, and is as it came; the code is not."""
        super().__init__(text)
        self.code = code
        self.text = text


class Session:
    """One login and its queries."""

    def __init__(self, link: Link) -> None:
        """On a connection over which only TLS may have been agreed on."""
        self._link = link
        self._left = rows.BYTES_MAX
        self._messages = 0
        self.settings: dict[str, str] = {}

    async def login(self, user: str, password: str, database: str, *, proved: bool) -> None:
        """Until the server waits for a query. `proved`: it has shown that it is who it should be.

        Raises Failure and ServerError.
        """
        words = {"user": user, "database": database, "application_name": "ticketd", "client_encoding": "UTF8"}
        body = _INT.pack(VERSION) + b"".join(_text(one) for pair in words.items() for one in pair) + b"\0"
        await self._link.send(_INT.pack(len(body) + 4) + body)
        scram: Scram | None = None
        asked: set[int] = set()
        while True:
            kind, body = await self._message()
            if kind == b"Z":
                return
            if kind != b"R" or len(body) < _INT.size:
                raise Failure("answer", "the server says in the login what belongs elsewhere")
            what, rest = _INT.unpack_from(body)[0], body[_INT.size :]
            if what in {_CLEAR, _MD5, _SASL, _SASL_MORE} and what in asked:
                raise Failure("login", "the server asks for the same proof again and again")
            asked.add(what)
            if what == _SASL and _MECHANISM.encode() in rest.split(b"\0"):
                scram = Scram(password)
            await self._proved(what, rest, scram, (user, password), in_clear=proved)

    async def _proved(
        self, what: int, rest: bytes, scram: "Scram | None", own: tuple[str, str], *, in_clear: bool
    ) -> None:
        """The answer to one question of the login."""
        user, password = own
        if what in {_CLEAR, _MD5, _SASL} and not password:
            raise Failure("login", "the server asks for a password, and there is none")
        if what == _OK:
            if scram is not None and not scram.proved:
                raise scram.doubt
        elif what == _CLEAR and in_clear:
            await self._send(b"p", _text(password))
        elif what == _CLEAR:
            raise Failure("login", "the server asks for the password itself: that needs sslmode verify-full")
        elif what == _MD5:
            inner = md5((password + user).encode()).hexdigest()  # noqa: S324 - what old servers ask for
            outer = md5(inner.encode() + rest[:4]).hexdigest()  # noqa: S324 - the same
            await self._send(b"p", _text(f"md5{outer}"))
        elif what == _SASL and scram is not None:
            first = scram.first().encode()
            await self._send(b"p", _text(_MECHANISM) + _LENGTH.pack(len(first)) + first)
        elif what == _SASL_MORE and scram is not None:
            # Thousands of rounds take long; beside the loop, and once a login.
            proof = await asyncio.to_thread(scram.proof, rest.decode("ascii", "replace"))
            await self._send(b"p", proof.encode())
        elif what == _SASL_END and scram is not None:
            scram.check(rest.decode("ascii", "replace"))
        else:
            raise Failure("login", f"the server asks for a login of kind {what}, which is not known here")

    async def run(self, query: str) -> Answer:
        """Statements of our own, and what the last of them gave. Raises Failure and ServerError."""
        await self._send(b"Q", _text(query))
        return await self._answer()

    async def ask(self, query: str, rows_max: int) -> Answer:
        """One statement and no more, and so many of its rows. Raises Failure and ServerError."""
        none = _SHORT.pack(0)
        await self._link.send(
            _packed(b"P", b"\0" + _text(query) + none)
            + _packed(b"B", b"\0\0" + none * 3)
            + _packed(b"D", b"P\0")
            + _packed(b"E", b"\0" + _INT.pack(rows_max))
            + _packed(b"S", b"")
        )
        return await self._answer()

    async def end(self) -> None:
        """The farewell, which is not answered."""
        await self._send(b"X", b"")

    async def _answer(self) -> Answer:
        answer = Answer()
        error: ServerError | None = None
        while True:
            try:
                kind, body = await self._message()
            except ServerError as raised:
                if raised.code.startswith("57P"):  # it ends the session with that
                    raise
                error = raised
                continue
            match kind:
                case b"Z":
                    if error is not None:
                        raise error
                    return answer
                case b"T":
                    answer.columns, answer.rows = _columns(body), []
                case b"D":
                    answer.rows.append(_row(body, answer.columns))
                case b"s":
                    answer.more = True
                case b"1" | b"2" | b"n" | b"C" | b"I":
                    pass
                case b"G" | b"H" | b"W":
                    raise Failure("forbidden", "the query does something else than to give rows")
                case _:
                    raise Failure("answer", "the server says in its answer what belongs elsewhere")

    async def _message(self) -> tuple[bytes, bytes]:
        """The next that matters."""
        while True:
            kind, size = _HEAD.unpack(await self._link.exactly(_HEAD.size))
            if not kind.isalnum() or size < 4:  # noqa: PLR2004 - the length's own bytes
                raise Failure("answer", "this is no answer of a PostgreSQL server")
            self._messages += 1
            if self._messages % AT_ONCE_MAX == 0:
                await asyncio.sleep(0)  # what has come already is read without waiting, and others want their turn
            self._left -= size
            if self._left < 0:
                raise Failure("limit", f"the answer has more than {rows.BYTES_MAX >> 20} MiB")
            body = await self._link.exactly(size - 4)
            if kind == b"E":
                said = {one[:1]: one[1:].decode("utf-8", "replace") for one in body.split(b"\0") if one}
                raise ServerError(plain(said.get(b"C", "")), said.get(b"M", ""))
            if kind == b"S":
                name, _, value = body.partition(b"\0")
                self.settings[name.decode("utf-8", "replace")] = value.rstrip(b"\0").decode("utf-8", "replace")
            if kind not in _ASIDE:
                return kind, body

    async def _send(self, kind: bytes, body: bytes) -> None:
        await self._link.send(_packed(kind, body))


def _packed(kind: bytes, body: bytes) -> bytes:
    return _HEAD.pack(kind, len(body) + 4) + body


def _text(text: str) -> bytes:
    return text.encode() + b"\0"


def _columns(body: bytes) -> list[Column]:
    found, at = [], 2
    try:
        for _ in range(_SHORT.unpack_from(body)[0]):
            end = body.index(b"\0", at)
            kind = _COLUMN.unpack_from(body, end + 1)[2]
            found.append(Column(body[at:end].decode("utf-8", "replace"), kind))
            at = end + 1 + _COLUMN.size
    except _BROKEN:
        raise Failure("answer", "the columns of an answer cannot be read") from None
    return found


def _row(body: bytes, columns: list[Column]) -> list[object]:
    values: list[object] = []
    at = 2
    try:
        for column in columns:
            size = _LENGTH.unpack_from(body, at)[0]
            at += 4
            if size < 0:
                values.append(None)
                continue
            values.append(_value(body[at : at + size], column.type))
            at += size
    except _BROKEN:
        raise Failure("answer", "a row of an answer cannot be read") from None
    return values


def _value(raw: bytes, kind: int) -> object:
    if kind == BOOL:
        return _TRUTH[raw]
    return float(raw) if kind in NUMBERS else raw.decode("utf-8", "replace")


class Scram:
    """One login by SCRAM-SHA-256 (RFC 5802 and 7677): neither side sees what the other could log in with."""

    def __init__(self, password: str, nonce: str = "") -> None:
        """`nonce`: instead of one that is drawn."""
        self._password = prepared(password).encode()
        self._bare = f"n=,r={nonce or b64encode(ssl.RAND_bytes(18)).decode()}"  # the user was named before
        self._signature = b""
        self.proved = False  # that the server knows the password, too
        self.doubt = Failure("login", "the server does not prove that it knows our password")

    def first(self) -> str:
        """What is said first; no channel is bound."""
        return f"n,,{self._bare}"

    def proof(self, said: str) -> str:
        """What is said to the server's challenge. Raises Failure."""
        parts = _parts(said)
        try:
            nonce, salt, rounds = parts["r"], b64decode(parts["s"], validate=True), int(parts["i"])
        except (KeyError, ValueError, Base64Error):
            raise Failure("answer", "the server's challenge cannot be read") from None
        if not nonce.startswith(self._bare.partition("r=")[2]) or not 1 <= rounds <= ITERATIONS_MAX:
            raise Failure("answer", f"the server's challenge is not fresh, or asks for {rounds} rounds")
        salted = pbkdf2_hmac("sha256", self._password, salt, rounds)
        own = _mac(salted, b"Client Key")
        bare = f"c=biws,r={nonce}"
        whole = f"{self._bare},{said},{bare}".encode()
        mask = _mac(sha256(own).digest(), whole)
        self._signature = _mac(_mac(salted, b"Server Key"), whole)
        proof = bytes(one ^ other for one, other in zip(own, mask, strict=True))
        return f"{bare},p={b64encode(proof).decode()}"

    def check(self, said: str) -> None:
        """Raises Failure unless the server has shown that it knows us."""
        expected = b64encode(self._signature)
        if not self._signature or not hmac.compare_digest(_parts(said).get("v", "").encode(), expected):
            raise self.doubt
        self.proved = True


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _parts(said: str) -> Mapping[str, str]:
    return {one[:1]: one[2:] for one in said.split(",") if one[1:2] == "="}


def prepared(password: str) -> str:
    """A password as SASLprep (RFC 4013) has it; one that it forbids stays as it is, as the server takes it."""
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(one) else one for one in password if not stringprep.in_table_b1(one)
    )
    made = normalize("NFKC", mapped)
    forbidden = (
        stringprep.in_table_a1, stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3,
        stringprep.in_table_c4, stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7,
        stringprep.in_table_c8, stringprep.in_table_c9,
    )  # fmt: skip
    if not made or any(table(one) for one in made for table in forbidden):
        return password
    if any(map(stringprep.in_table_d1, made)):  # written from right to left: then wholly so
        ends = stringprep.in_table_d1(made[0]) and stringprep.in_table_d1(made[-1])
        if not ends or any(map(stringprep.in_table_d2, made)):
            return password
    return made
