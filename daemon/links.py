"""One-click links: a signed token over ticket, contact, action, generation and expiry.

The one law: time is a value; whoever reads a token says what time it is. Nothing is remembered: what a token may do is
judged by `decide` at the moment of acting, so the same link twice is harmless.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from itsdangerous import BadSignature, URLSafeSerializer
from itsdangerous.exc import BadPayload

from daemon.keys import Keyring, key_id
from rules.instants import SECOND, Instant

TOKEN_CHARS_MAX: Final = 1_024
_TOKEN: Final = re.compile(r"([0-9a-f]{8})\.([A-Za-z0-9_.-]{8,})", re.ASCII)
_SALT: Final = "ticketd.links.1"

MALFORMED: Final = "malformed"
BAD_SIGNATURE: Final = "bad signature"
UNKNOWN_KEY: Final = "unknown key"
EXPIRED: Final = "expired"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token says: this contact may try this action on this ticket as of this generation, until `expires`."""

    ticket: int
    contact: str
    action: str
    generation: int
    expires: Instant


class BadLinkError(Exception):
    """A token that proves nothing. `claim` is set where it was ours, and only too old."""

    def __init__(self, reason: str, claim: Claim | None = None) -> None:
        """`reason` is one of this module's words."""
        super().__init__(f"the link is not valid: {reason}")
        self.reason = reason
        self.claim = claim


class Links:
    """Signs and reads. The first key signs, all of them verify, so a key is rotated by putting a new one in front."""

    def __init__(self, keys: Keyring | Sequence[str], external_url: str) -> None:
        """`keys`: secrets of at least 32 bytes. Raises KeysError (a ValueError) for none or a short one."""
        self._ring = Keyring.of(keys)
        self._made: tuple[tuple[str, ...], Mapping[str, URLSafeSerializer]] = ((), {})
        self._base = external_url.rstrip("/")

    def sign(self, ticket: int, contact: str, action: str, generation: int, expires: Instant) -> str:
        """The URL to put into a message. Expiry is kept in whole seconds, rounded down."""
        return f"{self._base}/respond/{self.token(Claim(ticket, contact, action, generation, expires))}"

    def token(self, claim: Claim) -> str:
        """The token alone."""
        said = [claim.ticket, claim.contact, claim.action, claim.generation, claim.expires // SECOND]
        signing = key_id(self._ring.current[0])
        return f"{signing}.{self._serializers()[signing].dumps(said)}"

    def read(self, token: str, now: Instant) -> Claim:
        """What the token says. Raises BadLinkError for one that is malformed, forged, expired or of an unknown key."""
        found = _TOKEN.fullmatch(token) if len(token) <= TOKEN_CHARS_MAX else None
        if found is None:
            raise BadLinkError(MALFORMED)
        serializer = self._serializers().get(found[1])
        if serializer is None:
            raise BadLinkError(UNKNOWN_KEY)
        try:
            said = serializer.loads(found[2])
        except BadPayload:
            raise BadLinkError(MALFORMED) from None
        except BadSignature:
            raise BadLinkError(BAD_SIGNATURE) from None
        claim = _claim(said)
        if claim.expires <= now:
            raise BadLinkError(EXPIRED, claim)
        return claim

    def _serializers(self) -> Mapping[str, URLSafeSerializer]:
        """By key id, of the keys in force: made anew where those have changed."""
        keys = self._ring.current
        if self._made[0] is not keys:
            self._made = (keys, {key_id(key): _serializer(key) for key in keys})
        return self._made[1]


def _serializer(key: str) -> URLSafeSerializer:
    return URLSafeSerializer(key, salt=_SALT, signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256})


def _claim(said: Any) -> Claim:
    match said:
        case [int(ticket), str(contact), str(action), int(generation), int(expires)]:
            return Claim(ticket, contact, action, generation, expires * SECOND)
        case _:
            raise BadLinkError(MALFORMED)
