"""An e-mail as bytes: plain text, safe headers, an identity that a repeat shares.

The one law: whatever the texts are, each header is one header, every line is short enough, and all but an address that
is not ASCII itself is ASCII. Written by hand because the standard library's EmailMessage takes 14 ms for an ordinary
one, and seconds for long headers outside ASCII, on the event loop that everything else waits for.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime, parseaddr
from typing import Final, NamedTuple

from rules.instants import EPOCH
from rules.model import Message

HEADER_CHARS_MAX: Final = 250
WORD_BYTES_MAX: Final = 45  # before base64: RFC 2047 allows an encoded word 75 characters in all
LINE_CHARS_MAX: Final = 900  # RFC 5321 allows 998 bytes
ADDRESS_CHARS_MAX: Final = 254
REPLY_LOCAL_CHARS_MAX: Final = 20  # RFC 5321 allows 64; a token has 32 and the digits of its ticket's number
DOMAIN_CHARS_MAX: Final = 40  # of a Message-ID, so that its line stays short

DOMAIN: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
_LOCAL: Final = re.compile(r"[^\s\x00-\x20\x7f-\x9f\ud800-\udfff@<>()\[\]\\,;:\"]{1,64}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NOT_TEXT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Mailbox(NamedTuple):
    """A name, perhaps empty, and an address whose domain is in ASCII."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Letter:
    """What goes to the server. `utf8`: an address is not ASCII, so the server must speak SMTPUTF8."""

    sender: str  # of the envelope: where it comes back to when it cannot be delivered
    recipient: str
    message_id: str
    content: bytes  # headers and body, every line ended by CR LF
    utf8: bool


def address(text: str) -> str:
    """The address with its domain in ASCII. Raises ValueError with what is wrong."""
    local, at, domain = text.rpartition("@")
    if not at or not _LOCAL.fullmatch(local):
        raise ValueError("must be an e-mail address such as amina@example.test")
    try:
        ascii_domain = domain if domain.isascii() else domain.encode("idna").decode()
    except UnicodeError:
        ascii_domain = ""
    if not DOMAIN.fullmatch(ascii_domain) or len(local.encode()) + 1 + len(ascii_domain) > ADDRESS_CHARS_MAX:
        raise ValueError("must be an e-mail address with a domain that can be, such as amina@example.test")
    return f"{local}@{ascii_domain}"


def mailbox(text: str) -> Mailbox:
    """`ADDRESS` or `NAME <ADDRESS>`. Raises ValueError with what is wrong."""
    if _CONTROL.search(text):
        raise ValueError("must not hold control characters")
    name, found = parseaddr(text)
    return Mailbox(name, address(found))


def reply_address(text: str) -> str:
    """An address to which replies can come, as `local+TOKEN@domain` later. Raises ValueError with what is wrong."""
    taken = address(text)
    local = taken.rpartition("@")[0]
    if not taken.isascii() or "+" in local or len(local) > REPLY_LOCAL_CHARS_MAX:
        raise ValueError(
            f"must have at most {REPLY_LOCAL_CHARS_MAX} ASCII characters and no + before its @:"
            " each message puts + and a token there"
        )
    return taken


def _identity(text: str, sender: str) -> str:
    return _at(hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:32], sender)


def _at(left: str, sender: str) -> str:
    domain = sender.rpartition("@")[2]
    return f"<{left}@{domain if len(domain) <= DOMAIN_CHARS_MAX else 'ticketd.invalid'}>"


def letter(message: Message, sender: Mailbox, reply_to: str = "") -> Letter:
    """The message as one letter. Raises ValueError for an address that is none.

    Its Message-ID is equal for each repeat of a delivery, and no other's: keys begin anew with a new store, opening
    times do not. All letters on one ticket refer to one that was never sent, so that mail programs show them together.

    With `reply_to` (as `reply_address` takes it) and a message that can be answered, answers and bounces go to
    `local+TOKEN@domain`. The token stands among the references too: mail programs hand those on even where somebody's
    server drops what follows the +.
    """
    recipient = address(message.address)
    ticket = message.ticket
    opened_at = ticket.get("opened_at")
    identity = _identity(f"{message.key}\n{opened_at}", sender.address)
    thread = _identity(f"{ticket['id']}\n{opened_at}", sender.address) if ticket.get("id") else ""
    answers, references = None, thread
    if reply_to and message.token:
        local, _, domain = reply_to.rpartition("@")
        answers = f"{local}+{message.token}@{domain}"
        references = f"{thread} {_at(message.token, sender.address)}".strip()
    coding, body = _body(message.text)
    headers: dict[str, str | None] = {
        "From": _mailbox(sender.name, sender.address),
        "Reply-To": f"<{answers}>" if answers else None,
        "To": _mailbox(message.contact_name, recipient),
        "Subject": _header(message.subject),
        "Date": format_datetime(EPOCH + timedelta(microseconds=message.at)),
        "Message-ID": identity,
        "In-Reply-To": thread or None,
        "References": references or None,
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "X-Ticketd-Ticket": _header(str(ticket["id"])) if ticket.get("id") else None,
        "X-Ticketd-Delivery": _header(message.key),
        "X-Ticketd-Possible-Repeat": "yes" if message.possible_repeat else "no",
        "MIME-Version": "1.0",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": coding,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
    utf8 = not (sender.address.isascii() and recipient.isascii())
    return Letter(answers or sender.address, recipient, identity, head.encode() + b"\r\n" + body, utf8)


def _clean(text: str) -> str:
    """Text that can stand on one line: no line ends, no other control characters, no lone surrogates, not too long."""
    text = _CONTROL.sub(" ", text[: 2 * HEADER_CHARS_MAX]).encode(errors="replace").decode().strip()
    return text if len(text) <= HEADER_CHARS_MAX else text[: HEADER_CHARS_MAX - 1] + "…"


def _header(text: str) -> str:
    """A header's value: ASCII as it is, everything else in the encoded words of RFC 2047."""
    text = _clean(text)
    if text.isascii() and "=?" not in text:
        return text
    words, word = [], b""
    for character in text:
        piece = character.encode()
        if len(word) + len(piece) > WORD_BYTES_MAX:
            words.append(word)
            word = b""
        word += piece
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in [*words, word])


def _mailbox(name: str, address: str) -> str:
    """An address with the person's name before it, quoted or encoded so that no character of it ends it."""
    name = _clean(name)
    if not name:
        return f"<{address}>"
    if not name.isascii() or "=?" in name:
        return f"{_header(name)} <{address}>"
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address}>'


def _body(text: str) -> tuple[str, bytes]:
    """The transfer encoding and the bytes: as they stand where that is readable, and never a line that is too long."""
    text = _NOT_TEXT.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).rstrip("\n") + "\n"
    data = text.encode(errors="replace")
    if text.isascii() and max(map(len, data.split(b"\n"))) <= LINE_CHARS_MAX:
        return "7bit", data.replace(b"\n", b"\r\n")
    if sum(byte > 126 for byte in data) * 6 > len(data):  # noqa: PLR2004 - where base64 becomes the shorter one
        return "base64", base64.encodebytes(data.replace(b"\n", b"\r\n")).replace(b"\n", b"\r\n")
    return "quoted-printable", binascii.b2a_qp(data, istext=True).replace(b"\n", b"\r\n")
