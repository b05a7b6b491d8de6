"""The tables of config.toml about probing: what may be reached, how much at a time, with which credentials, from where.

The one law: whatever lets a probe do more than look at a public address is said here, by whoever runs the daemon, and
never in a policy file.
"""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from connectors.net import place
from connectors.network.guard import FORBIDDEN, RANGES, Guard, Network, parse_range
from connectors.network.trial import Credential
from daemon.config_tables import Duration, Size, Table, is_loopback, many
from rules.instants import DAY, MINUTE, SECOND
from rules.words import shown

HERE: Final = "main"  # where the daemon stands that keeps the tickets
_LOCATION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_BROKEN: Final = re.compile(r"[\x00\r\n]")
_UNSENT: Final = re.compile(r"[^\x21-\x7e]")
_WEB: Final = 80


def _range(value: str) -> str:
    parse_range(value)
    return value


def _location(value: str) -> str:
    if _LOCATION.fullmatch(value) is None:
        raise ValueError(f'{shown(value)} is no name: letters, digits, "_", "." and "-", at most 64')
    return value


def _url(value: str) -> str:
    place(value)
    parts = urlsplit(value)
    if "@" in parts.netloc:
        raise ValueError("must not hold a password: give token_file")
    if parts.query or parts.fragment:
        raise ValueError("must be the address that the other daemon is reached at, without ? and #")
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError("the token would travel readable to another machine: use https")
    return value.rstrip("/")


Range = Annotated[str, AfterValidator(_range)]
Ranges = Annotated[tuple[Range, ...], BeforeValidator(many), Field(max_length=1_000)]


class ProbingSettings(Table):
    """`[probing]`: how ticketd looks for itself."""

    location: Annotated[str, AfterValidator(_location)] = HERE  # the label of what is seen here
    allow: Ranges = ()  # of what is forbidden otherwise
    forbid: Ranges = ()  # beside what always is
    runs: int = Field(default=4_000, ge=1, le=100_000)  # looks at a time
    runs_to_one: int = Field(default=20, ge=1, le=10_000)  # looks at one host at a time
    commands: bool = False  # whether probes may run programs on this machine
    metrics: Annotated[tuple[str, ...], BeforeValidator(many), Field(max_length=10_000)] = ()  # probes with own series


class CredentialSettings(Table):
    """`[credentials.NAME]`: what a probe proves itself with."""

    username: str = Field(default="", max_length=500)
    password: SecretStr | None = None
    token: SecretStr | None = None  # as `Authorization: Bearer`, or what a kind calls so
    certificate: Path | None = None  # of ours, PEM, with those between
    key: Path | None = None  # of that certificate
    ca_bundle: Path | None = None  # whom to trust instead of the system's, PEM

    @model_validator(mode="after")
    def _whole(self) -> "CredentialSettings":
        if not self.model_fields_set:
            raise ValueError("holds nothing: give username and password_file, token_file, certificate or ca_bundle")
        if self.key is not None and self.certificate is None:
            raise ValueError("key is of no use without certificate")
        if self.token is not None and (self.username or self.password is not None):
            raise ValueError("give username and password, or a token, not both")
        if _BROKEN.search(self.username + (self.password.get_secret_value() if self.password else "")):
            raise ValueError("username and password are one line each")
        if self.token is not None and _UNSENT.search(self.token.get_secret_value()):
            raise ValueError("the token holds a blank, or a character that is not ASCII: no header can carry it")
        return self

    def credential(self, name: str) -> Credential:
        """As kinds take it."""
        password, token = ("" if one is None else one.get_secret_value() for one in (self.password, self.token))
        return Credential(name, self.username, password, token, self.certificate, self.key, self.ca_bundle)


class ReportSettings(Table):
    """`[report_to]`: the daemon that a location reports to; for `ticketd run --only probes`."""

    url: Annotated[str, AfterValidator(_url)]
    token: SecretStr  # of a sender of kind probe there
    keep: Annotated[Duration, Field(ge=MINUTE, le=30 * DAY)] = DAY  # how long what cannot be reported is kept
    max_bytes: Annotated[Size, Field(ge=1 << 20)] = 256 << 20  # and how much of it
    timeout: Annotated[Duration, Field(ge=SECOND, le=MINUTE)] = 10 * SECOND
    ca_bundle: Path | None = None  # certificates to trust instead of the system's (PEM)

    @model_validator(mode="after")
    def _whole(self) -> "ReportSettings":
        if not (token := self.token.get_secret_value()) or _UNSENT.search(token):
            raise ValueError("the token is empty, or holds a blank or what is not ASCII: no header can carry it")
        return self


def unread(
    credentials: Mapping[str, CredentialSettings], report: ReportSettings | None
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Where a file is named that cannot be read, and why."""
    named = [
        (("credentials", name, key), getattr(one, key))
        for name, one in credentials.items()
        for key in ("certificate", "key", "ca_bundle")
    ]
    for path, file in [*named, (("report_to", "ca_bundle"), report.ca_bundle if report else None)]:
        if file is not None:
            try:
                with file.open("rb") as opened:
                    opened.read(1)
            except OSError as error:
                yield path, f"{'.'.join(path)}: the file {file} cannot be read: {error.strerror or error}"


def doubts(probing: ProbingSettings, report: ReportSettings | None) -> Iterator[str]:
    """What is allowed, and yet is hardly meant."""
    guard = Guard(probing.allow, probing.forbid)
    for network in RANGES["metadata"]:
        address = network.partition("/")[0]
        if guard.refusal(address, _WEB) is None:
            yield (
                f"probing.allow lets probes reach {address}, where clouds hand out the credentials of this machine: "
                f'whoever writes a rule file can read them; probing.forbid = ["metadata"] takes that back'
            )
            break
    usual = [network for word in FORBIDDEN for network in _networks(word)]
    named = [network for word in probing.forbid for network in _networks(word)]
    for one in probing.allow:
        networks = _networks(one)
        if one in probing.forbid or all(any(_within(inner, other) for other in named) for inner in networks):
            yield f"probing.allow names {one}, and so does probing.forbid, which wins: it may not be reached"
        elif not any(_overlap(network, other) for network in networks for other in (*usual, *named)):
            yield (
                f"probing.allow names {one}, which nothing forbids: that does not forbid all others; what may not be "
                "reached is for probing.forbid"
            )
    if report is not None and probing.location == HERE:
        yield f'[report_to] is for a location of its own, and probing.location is "{HERE}": give it another name'


def _networks(text: str) -> list[Network]:
    return [ip_network(one) for one in parse_range(text).networks]


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _within(one: Network, other: Network) -> bool:
    """Whether all of one is in the other."""
    return _overlap(one, other) and one.prefixlen >= other.prefixlen
