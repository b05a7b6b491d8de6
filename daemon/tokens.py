"""The token of a message: what an answer must bring, so that it is known which very message it answers.

The one law: a token proves that its bearer saw the message, never who the bearer is. It is made of the delivery's key,
so nothing is stored for it, and the same delivery has the same token in every repeat.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Final

from daemon.keys import Keyring, key_id
from rules.instants import DAY, Span
from rules.model import Delivery

ANSWER_WITHIN: Final[Span] = 7 * DAY  # counted from the delivery's creation; later it answers nothing
PROOF_CHARS: Final = 26  # of base32: 130 bits
BEGINNING_CHARS_MIN: Final = 6  # of them, where people type a token by hand: 30 bits
KEY_CHARS: Final = 4  # of the key's id
TOKEN_CHARS_MAX: Final = 19 + 1 + KEY_CHARS + PROOF_CHARS
TICKET_MAX: Final = (1 << 63) - 1

_TOKEN: Final = re.compile(rf"([1-9][0-9]{{0,18}})-([0-9a-f]{{{KEY_CHARS}}})([a-z2-7]{{6,{PROOF_CHARS}}})", re.ASCII)
_PURPOSE: Final = b"ticketd.tokens.1\0"  # keeps these apart from whatever else the same key signs


class Tokens:
    """Makes and checks. The first key signs, all of them verify."""

    def __init__(self, keys: Keyring | Sequence[str]) -> None:
        """`keys`: secrets of at least 32 bytes. Raises KeysError (a ValueError) for none or a short one."""
        self._ring = Keyring.of(keys)

    def of(self, delivery: Delivery) -> str:
        """`<ticket>-<key id><proof>`, at most 50 characters, lower case; "" where it is about no ticket."""
        if not delivery.ticket:
            return ""
        key = self._ring.current[0]
        return f"{delivery.ticket}-{_short(key)}{_proof(key, delivery.key)}"

    def ticket_of(self, token: str) -> int | None:
        """The ticket that a token, or the beginning of one, speaks of; None for what is neither."""
        found = _parts(token)
        return None if found is None else found[0]

    def is_whole(self, token: str) -> bool:
        """Whether nothing of it is missing."""
        found = _parts(token)
        return found is not None and len(found[2]) == PROOF_CHARS

    def known(self, token: str) -> bool:
        """Whether it was signed, as it says itself, with a key that is still listed."""
        found = _parts(token)
        return found is not None and any(_short(key) == found[1] for key in self._ring.current)

    def matches(self, token: str, delivery: Delivery) -> bool:
        """Whether it is this delivery's: whole, or so far as it goes."""
        found = _parts(token)
        if found is None or found[0] != delivery.ticket:
            return False
        _, name, proof = found
        return any(
            hmac.compare_digest(_proof(key, delivery.key)[: len(proof)], proof)
            for key in self._ring.current
            if _short(key) == name
        )

    def find(self, token: str, deliveries: Iterable[Delivery]) -> Delivery | None:
        """The delivery whose token it is. None: no one's, or the beginning of several ones'."""
        found = [one for one in deliveries if self.matches(token, one)]
        return found[0] if len(found) == 1 else None


def _parts(token: str) -> tuple[int, str, str] | None:
    """Ticket, key id and proof. Case and blanks around it mean nothing: people type, and mail servers shout."""
    text = token.strip().lower() if len(token) <= 2 * TOKEN_CHARS_MAX else ""
    found = _TOKEN.fullmatch(text)
    if found is None or int(found[1]) > TICKET_MAX:
        return None
    return int(found[1]), found[2], found[3]


def _short(key: str) -> str:
    return key_id(key)[:KEY_CHARS]


def _proof(key: str, name: str) -> str:
    digest = hmac.digest(key.encode(), _PURPOSE + name.encode(errors="surrogatepass"), hashlib.sha256)
    return base64.b32encode(digest).decode().lower()[:PROOF_CHARS]
