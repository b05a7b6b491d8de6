"""How a connection that begins in plain text is asked to go on in TLS, by protocol.

The one law: what came before the session was agreed on is never read as if it came within: more than the answer is
a failure. No more than BYTES_MAX are read, and nothing is asked for but TLS.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from connectors.network.trial import Failure
from connectors.probing.patterns import excerpt

BYTES_MAX: Final = 16 << 10  # of all answers together
LINES_MAX: Final = 100  # of one answer
NAME: Final = "ticketd.invalid"  # whom a mail server is told that it speaks with
_LDAP_REQUEST: Final = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + b"1.3.6.1.4.1.1466.20037"  # RFC 4511, 4.14
_POSTGRES_REQUEST: Final = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # SSLRequest
_LONG: Final = 0x80  # a BER length of more than one byte
_CODE_BYTES_MAX: Final = 4
_SEQUENCE, _INTEGER, _ENUMERATED, _EXTENDED_RESPONSE = 0x30, 0x02, 0x0A, 0x78


class Line(Protocol):
    """What a connection must be able to do here: `Wire` and `Link` of `connectors.network` can."""

    async def send(self, data: bytes) -> None:
        """All of it."""
        ...

    async def read(self, size: int) -> bytes:
        """What comes next; b"": the other side has ended."""
        ...


async def begin(link: Line, protocol: str) -> None:
    """Everything up to the moment where the TLS handshake begins. `protocol`: of PROTOCOLS.

    Raises Failure: `status` where the server says that it will not, `answer` for what is not that protocol.
    """
    await PROTOCOLS[protocol](_Talk(link))


class _Talk:
    """What is said before TLS, with its own buffer, so that nothing is left behind in another."""

    def __init__(self, link: Line) -> None:
        self._link = link
        self._rest = b""
        self._read = 0

    async def send(self, data: bytes) -> None:
        await self._link.send(data)

    async def _more(self) -> None:
        data = await self._link.read(4_096)
        if not data:
            said = f" after {excerpt(self._rest)}" if self._rest else ""
            raise Failure("answer" if self._read else "reset", f"before TLS: the connection ended{said}")
        self._read += len(data)
        if self._read > BYTES_MAX:
            raise Failure("limit", f"before TLS: more than {BYTES_MAX} bytes")
        self._rest += data

    async def line(self) -> bytes:
        while b"\n" not in self._rest:
            await self._more()
        line, _, self._rest = self._rest.partition(b"\n")
        return line.rstrip(b"\r")

    async def exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            await self._more()
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    async def replies(self) -> tuple[bytes, ...]:
        """The lines of one answer as SMTP and FTP give it: all but the last have a dash after the code."""
        lines: list[bytes] = []
        while len(lines) < LINES_MAX:
            line = await self.line()
            if len(line) < 3 or not line[:3].isdigit():  # noqa: PLR2004 - the digits of a code
                if lines:  # the middle of FTP's answers is free text
                    lines.append(line)
                    continue
                raise Failure("answer", f"before TLS: expected a code of three digits, not {excerpt(line)}")
            lines.append(line)
            if line[3:4] != b"-":
                return tuple(lines)
        raise Failure("limit", f"before TLS: an answer of more than {LINES_MAX} lines")

    async def reply(self, code: bytes, what: str) -> tuple[bytes, ...]:
        lines = await self.replies()
        if not lines[-1].startswith(code):
            raise Failure("status", f"{what} was answered by {excerpt(lines[-1])}")
        return lines

    def done(self) -> None:
        if self._rest:
            raise Failure("answer", "before TLS: the server says more than its answer, which somebody may have put in")


async def _smtp(talk: _Talk) -> None:
    await talk.reply(b"220", "the connection")
    await talk.send(b"EHLO " + NAME.encode() + b"\r\n")
    offered = await talk.reply(b"250", "EHLO")
    if not any(line[4:].strip().upper() == b"STARTTLS" for line in offered):
        raise Failure("status", "the server does not offer STARTTLS")
    await talk.send(b"STARTTLS\r\n")
    await talk.reply(b"220", "STARTTLS")
    talk.done()


async def _ftp(talk: _Talk) -> None:
    await talk.reply(b"220", "the connection")
    await talk.send(b"AUTH TLS\r\n")
    await talk.reply(b"234", "AUTH TLS")
    talk.done()


async def _imap(talk: _Talk) -> None:
    greeting = await talk.line()
    if not greeting.upper().startswith((b"* OK", b"* PREAUTH")):
        word = "status" if greeting.startswith(b"* ") else "answer"
        raise Failure(word, f"before TLS: the server greets with {excerpt(greeting)}")
    await talk.send(b"a1 STARTTLS\r\n")
    for _ in range(LINES_MAX):
        line = await talk.line()
        if line.startswith(b"* "):
            continue
        if not line.upper().startswith(b"A1 OK"):
            word = "status" if line.startswith(b"a1 ") else "answer"
            raise Failure(word, f"STARTTLS was answered by {excerpt(line)}")
        talk.done()
        return
    raise Failure("limit", f"before TLS: an answer of more than {LINES_MAX} lines")


async def _pop3(talk: _Talk) -> None:
    for say, what in ((b"", "the connection"), (b"STLS\r\n", "STLS")):
        if say:
            await talk.send(say)
        line = await talk.line()
        if not line.startswith(b"+OK"):
            raise Failure("status" if line.startswith(b"-ERR") else "answer", f"{what} was answered by {excerpt(line)}")
    talk.done()


async def _ldap(talk: _Talk) -> None:
    await talk.send(_LDAP_REQUEST)
    tag, length = await talk.exactly(2)
    size = length
    if length >= _LONG:
        digits = await talk.exactly(length - _LONG) if length - _LONG in {1, 2} else b"\xff\xff"
        size = int.from_bytes(digits)
    if tag != _SEQUENCE or not 0 < size <= BYTES_MAX:
        raise Failure("answer", "before TLS: what answers is no LDAP server")
    code, said = _ldap_result(await talk.exactly(size))
    if code:
        raise Failure("status", f"the server refuses StartTLS with LDAP result {code}{': ' if said else ''}{said}")
    talk.done()


def _ldap_result(message: bytes) -> tuple[int, str]:
    """The result code of an ExtendedResponse, and the server's words."""
    id_tag, _, rest = _element(message)
    tag, body, _ = _element(rest)
    code_tag, code, rest = _element(body)
    if (id_tag, tag, code_tag) != (_INTEGER, _EXTENDED_RESPONSE, _ENUMERATED) or not 0 < len(code) <= _CODE_BYTES_MAX:
        raise Failure("answer", "before TLS: the LDAP server answers something else")
    _, _, rest = _element(rest)  # the name that it matched
    said = _element(rest)[1]
    return int.from_bytes(code), excerpt(said) if said else ""


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """The tag and the content of the first BER element, and what follows it. (0, b"", b"") where there is none."""
    if len(data) < 2:  # noqa: PLR2004 - tag and length
        return 0, b"", b""
    size, start = data[1], 2
    if size >= _LONG:
        start += size - _LONG
        size = int.from_bytes(data[2:start])
    return data[0], data[start : start + size], data[start + size :]


async def _postgres(talk: _Talk) -> None:
    await talk.send(_POSTGRES_REQUEST)
    answer = await talk.exactly(1)
    if answer == b"N":
        raise Failure("status", "the server has TLS switched off")
    if answer != b"S":
        raise Failure("answer", f"before TLS: no PostgreSQL server answers {excerpt(answer)}")
    talk.done()


PROTOCOLS: Final[Mapping[str, Callable[[_Talk], Awaitable[None]]]] = MappingProxyType(
    {"smtp": _smtp, "imap": _imap, "ldap": _ldap, "postgres": _postgres, "pop3": _pop3, "ftp": _ftp}
)
