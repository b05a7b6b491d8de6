"""What a mail that came back means: somebody's answer, a bounce, or nothing and why.

The one law: bytes in, a value out, whatever the bytes are. The token of the message that is answered comes from the
addresses that the mail was sent to, or from what it refers to; a From address is only told on, it proves nothing. A
machine's reply is marked as one, so that it answers nothing. Nothing is fetched, and no text is believed but the
writer's own.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from connectors import letters, mime, replytext
from connectors.base import Heard, Told
from connectors.net import plain

REASON_CHARS_MAX: Final = 300
ADDRESSES_MAX: Final = 200  # of one mail that are looked at
REPORT_BYTES_MAX: Final = 64 << 10

TOKEN: Final = re.compile(r"(?:^|[^0-9a-z])([0-9]{1,19}-[0-9a-f]{4}[a-z2-7]{26})", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"[^\s<>,;:\"()]{1,128}@[^\s<>,;:\"()]{1,255}")
_REFERENCE: Final = re.compile(r"<([^\s<>]{1,250})>")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMMENT: Final = re.compile(r"\([^()]*\)")
_ANGLES: Final = re.compile(r"<([^<>]*)>")
_STATUS: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")

# Of whom the envelope's recipient was, as servers note it; then of what the writer typed.
_DELIVERED_TO: Final = ("delivered-to", "x-original-to", "envelope-to", "x-delivered-to", "x-envelope-to")
_SENT_TO: Final = ("to", "cc", "resent-to", "resent-cc")
_REFERS_TO: Final = ("references", "in-reply-to")
_BULK: Final = frozenset({"bulk", "junk", "list", "auto_reply", "auto-reply"})
_MACHINE: Final = ("x-autoreply", "x-autorespond", "x-autoresponder", "x-autoreply-from", "x-auto-response-suppress")
_DENIALS: Final = frozenset({"", "no", "none", "false", "0"})
_DAEMON: Final = "mailer-daemon"


class Nothing(NamedTuple):
    """A mail that concerns nobody. `word` is of a closed list, for counting; `reason` is one sentence."""

    word: str  # "unreadable", "own", "no_token", "several_tokens", "report", "empty"
    reason: str


def token_of(address: str) -> str:
    """The token that the local part of an address of ours ends with, in lower case; "" where there is none."""
    local = address.rpartition("@")[0][-64:]
    found = TOKEN.search(local)
    return found[1].lower() if found is not None and found.end() == len(local) else ""


def read(
    content: bytes, *, ours: Collection[str] = (), recipient: str | None = None, sender: str | None = None
) -> Heard | Told | Nothing:
    """What the mail says. Never raises.

    `ours`: the addresses that ticketd writes from. `recipient` and `sender` are the envelope's, where it is known; ""
    as the sender is that of a bounce, None: the mail's own headers tell.
    """
    try:
        mail = mime.parse(content)
    except mime.UnreadableMailError as error:
        return Nothing("unreadable", error.reason)
    if mail.first("x-ticketd-delivery"):
        return Nothing("own", "it is one of our own messages, come back as it was")
    token = _token(mail, recipient)
    if isinstance(token, Nothing):
        return token
    if mail.kind == "multipart/report" or mail.first("x-failed-recipients"):
        return _report(mail, token)
    address = _from(mail)
    if _is_ours(address, ours):
        return Nothing("own", "it comes from our own address")
    bounced = sender == "" or (sender is None and mail.first("return-path").replace(" ", "") == "<>")
    text = replytext.said(mime.text_of(mail))
    if bounced or _is_automatic(mail) or address.partition("@")[0].lower() == _DAEMON:
        return Heard(token, "comment", text.note if text else "", address, automatic=True)
    if text is None:
        return Nothing("empty", "it holds no words of its writer's own: only what it quotes, or nothing")
    return Heard(token, text.action, text.note, address)


# ---------------------------------------------------------------- whose message it answers
def _token(mail: mime.Part, recipient: str | None) -> str | Nothing:
    tokens = _tokens(mail, recipient)
    if not tokens:
        return Nothing("no_token", "it names none of our messages: no address and no reference of it holds a token")
    if len(tokens) > 1:
        return Nothing("several_tokens", "it is addressed to several of our messages, so which it answers is not clear")
    return tokens[0]


def _tokens(mail: mime.Part, recipient: str | None) -> list[str]:
    """The tokens of the most reliable place that has any."""
    if recipient is not None and (token := token_of(recipient)):
        return [token]
    for names in (_DELIVERED_TO, _SENT_TO):
        addresses = (one for name in names for value in mail.all(name) for one in _ADDRESS.findall(value))
        if tokens := _distinct(map(token_of, _some(addresses))):
            return tokens
    references = (one for name in _REFERS_TO for value in mail.all(name) for one in _REFERENCE.findall(value))
    return _distinct(map(token_of, _some(references)))[-1:]  # the last: a thread may hold several, oldest first


def _some(found: Iterable[str]) -> Iterator[str]:
    return (one for one, _ in zip(found, range(ADDRESSES_MAX), strict=False))


def _distinct(tokens: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(one for one in tokens if one))


# ---------------------------------------------------------------- who writes
def _from(mail: mime.Part) -> str:
    """The one address that the mail comes from, its domain in lower case. What is none is told as it stands.

    It is never "", which would stand for whoever the message went to: what is not clear can match no address.
    """
    values = mail.all("from")
    if not values:
        return "(no From)"
    if len(values) > 1:
        return f"(several From) {plain(', '.join(values))}"
    bare = _QUOTED.sub(" ", values[0])
    for _ in range(3):  # comments may nest, a little
        bare = _COMMENT.sub(" ", bare)
    angles = _ANGLES.findall(bare)
    pieces = [piece for piece in bare.split(",") if "@" in piece]
    if len(pieces) != 1 or len(angles) > 1:
        return f"(not one From) {plain(values[0])}"
    try:
        return _lowered(letters.address((angles[0] if angles else pieces[0]).strip()))
    except ValueError:
        return f"(no address) {plain(values[0])}"


def _lowered(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.lower()}"


def _is_ours(address: str, ours: Collection[str]) -> bool:
    local, _, domain = address.rpartition("@")
    return f"{local.partition('+')[0]}@{domain}".lower() in {one.lower() for one in ours}


def _is_automatic(mail: mime.Part) -> bool:
    """Whether the mail says that no person wrote it to us (RFC 3834, and what was used before and beside it)."""
    submitted = (re.split(r"[;\s(]", value.lower(), maxsplit=1)[0] for value in mail.all("auto-submitted"))
    return (
        any(value != "no" for value in submitted)
        or any(value.lower() in _BULK for value in mail.all("precedence"))
        or any(value.lower() not in _DENIALS for name in _MACHINE for value in mail.all(name))
        or bool(mail.all("list-id"))
    )


# ---------------------------------------------------------------- bounces
def _report(mail: mime.Part, token: str) -> Told | Nothing:
    """What a server says of our message (RFC 3464): that it failed, or that it arrived."""
    outcomes: dict[str, str] = {}
    for part in mail.leaves():
        if part.kind in {"message/delivery-status", "message/global-delivery-status"}:
            for action, why in _recipients(part):
                outcomes.setdefault(action, why)
    if not outcomes and mail.first("x-failed-recipients"):  # a server that writes no report
        outcomes["failed"] = ""
    if "failed" in outcomes:
        why = outcomes["failed"]
        return Told(token, "failed", f"it came back: {why}" if why else "it came back, and nobody said why")
    if "delivered" in outcomes:
        return Told(token, "delivered", outcomes["delivered"])
    if "delayed" in outcomes:
        return Nothing("report", f"a mail server still tries to deliver our message: {outcomes['delayed']}")
    return Nothing("report", "it is a report that speaks neither of failure nor of arrival")


def _recipients(part: mime.Part) -> Iterator[tuple[str, str]]:
    """For each recipient of the report what became of the message, and the server's own words about it."""
    for block in re.split(rb"\n[ \t]*\n", mime.decoded(part)[:REPORT_BYTES_MAX].encode("utf-8", "replace"))[:20]:
        try:
            said = dict(reversed(mime.fields(block)))
        except mime.UnreadableMailError:
            continue
        action = said.get("action", "").lower().partition(" ")[0]
        if not action:
            continue
        status = _STATUS.search(said.get("status", ""))
        diagnostic = said.get("diagnostic-code", "")
        kind, mark, rest = diagnostic.partition(";")
        words = plain(rest if mark and kind.strip().isalnum() else diagnostic)
        yield action, f"{status[0] if status else ''} {words}".strip()[:REASON_CHARS_MAX]


def ours_of(addresses: Sequence[str]) -> frozenset[str]:
    """Addresses of ours as `read` wants them."""
    return frozenset(_lowered(one) for one in addresses)
