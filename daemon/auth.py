"""Who asks, and what that one may do.

The one law: a secret is known here only as its SHA-256 and compared in constant time; nothing learns from a refusal
which part was wrong. Without any authentication configured (which `config` allows on loopback only) everybody is the
operator "anonymous", and the `by` of a request is believed.
"""

import binascii
import hashlib
import hmac
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from daemon.config import Settings

VERIFIED_MAX: Final = 1_024  # headers remembered as right; only right ones are, so their number is the tokens'
HEADER_CHARS_MAX: Final = 4_096
OPEN_PATHS: Final = frozenset({"/-/healthy", "/-/ready"})


class Role(StrEnum):
    """What a token is for."""

    SENDER = "sender"
    READER = "reader"
    RESPONDER = "responder"
    OPERATOR = "operator"


class Need(StrEnum):
    """What a path asks of the one who calls it."""

    SIGNAL = "send alerts"
    READ = "read"
    RESPOND = "answer"
    OPERATE = "operate the daemon"


MAY: Final[Mapping[Role, frozenset[Need]]] = {
    Role.SENDER: frozenset({Need.SIGNAL}),
    Role.READER: frozenset({Need.READ}),
    Role.RESPONDER: frozenset({Need.READ, Need.RESPOND}),
    Role.OPERATOR: frozenset(Need),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who was recognised. `contact`: whom a responder answers as; `kind`: the only source a sender may speak as."""

    name: str
    role: Role
    contact: str | None = None
    kind: str | None = None
    anonymous: bool = False

    def may(self, need: Need) -> bool:
        """Whether the role holds for this."""
        return need in MAY[self.role]


ANONYMOUS: Final = Principal("anonymous", Role.OPERATOR, anonymous=True)


@dataclass(frozen=True, slots=True)
class _Basic:
    username: str
    hashes: tuple[str, ...]
    principal: Principal


class Auth:
    """The tokens and senders of the settings."""

    def __init__(self, settings: Settings) -> None:
        """Reads hashes only."""
        self.required = settings.authenticates
        self._bearers: list[tuple[str, Principal]] = []
        self._basics: list[_Basic] = []
        for name, sender in settings.senders.items():
            principal = Principal(name, Role.SENDER, kind=sender.kind)
            self._bearers += [(one, principal) for one in sender.bearer_hash]
            if sender.username is not None:
                self._basics.append(_Basic(sender.username, sender.password_hash, principal))
        for name, token in settings.tokens.items():
            principal = Principal(name, Role(token.role), contact=token.contact)
            self._bearers += [(one, principal) for one in token.hash]
        self._verified: dict[str, Principal] = {}

    def principal(self, headers: Mapping[str, str], remote: str | None = None, path: str = "") -> Principal | None:  # noqa: ARG002 - one day networks count
        """Who sends these headers; None: nobody that is known."""
        if not self.required:
            return ANONYMOUS
        header = headers.get("Authorization")
        if header is None:
            return None
        return self._verified.get(header) or self._verify(header)

    def _verify(self, header: str) -> Principal | None:
        if len(header) > HEADER_CHARS_MAX:
            return None
        scheme, _, given = header.partition(" ")
        match scheme.lower():
            case "bearer":
                found = self.bearer(given.strip())
            case "basic":
                found = self._basic(given.strip())
            case _:
                found = None
        if found is not None:
            if len(self._verified) >= VERIFIED_MAX:
                self._verified.pop(next(iter(self._verified)))
            self._verified[header] = found
        return found

    def bearer(self, token: str) -> Principal | None:
        """Whose token this is; None: nobody's that is known."""
        digest = _digest(token)
        found: Principal | None = None
        for known, principal in self._bearers:  # all of them, so that time tells nothing
            if hmac.compare_digest(known, digest):
                found = principal
        return found

    def _basic(self, given: str) -> Principal | None:
        try:
            username, colon, password = b64decode(given, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return None
        digest = _digest(password)
        found: Principal | None = None
        for one in self._basics:
            named = hmac.compare_digest(one.username.encode(), username.encode())
            proven = any([hmac.compare_digest(known, digest) for known in one.hashes])  # noqa: C419 - all, see above
            if colon and named and proven:
                found = one.principal
        return found


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
