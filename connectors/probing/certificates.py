"""What a server shows of itself in a TLS handshake, read for people: until when, for whom, by whom.

The one law: nothing here trusts anything. Whether a certificate is to be trusted, OpenSSL decides in the handshake;
what is read here says why it was not, in words that need no second look.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property, lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from connectors.net import plain
from connectors.network.trial import Credential, Failure
from rules.instants import DAY, EPOCH, HOUR, MINUTE, SECOND, Instant, Span, format_instant

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

_File = tuple[str, int]  # path, and when it was written, ns
CHAIN_MAX: Final = 20  # certificates of a chain that are read
NAMES_SHOWN: Final = 6
_PROTOCOLS: Final = {"TLSv1": 1.0, "TLSv1.1": 1.1, "TLSv1.2": 1.2, "TLSv1.3": 1.3}
# OpenSSL's verdicts (X509_V_ERR_…).
NOT_YET, EXPIRED, SELF_SIGNED, ROOT_UNKNOWN, ISSUER_UNKNOWN, UNPROVEN, NAME, ADDRESS = 9, 10, 18, 19, 20, 21, 62, 64
_OF_THE_ISSUER: Final = frozenset({SELF_SIGNED, ROOT_UNKNOWN, ISSUER_UNKNOWN, UNPROVEN})
_OF_THE_NAME: Final = frozenset({NAME, ADDRESS})
_OF_THE_TIME: Final = frozenset({NOT_YET, EXPIRED})


def lenient(credential: Credential | None, *, verify: bool = False) -> ssl.SSLContext:
    """A context that takes the oldest protocols and ciphers, to read what a server has; a replaced file is read again.

    Raises Failure `failed` where a credential's file cannot be used.
    """
    if credential is None:
        return _lenient(verify)
    try:
        named = (credential.ca, credential.certificate, credential.key)
        return _lenient(verify, *[None if one is None else (str(one), one.stat().st_mtime_ns) for one in named])
    except OSError as error:
        said = f"the files of the credentials {credential.name} cannot be used: {plain(error)}"
        raise Failure("failed", said) from None


@lru_cache(maxsize=16)
def _lenient(
    verify: bool,  # noqa: FBT001 - the key of a cache
    ca: _File | None = None,
    certificate: _File | None = None,
    key: _File | None = None,
) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if ca is None else ca[0])
        if certificate is not None:
            context.load_cert_chain(certificate[0], None if key is None else key[0])
    except (OSError, ValueError) as error:
        raise Failure("failed", f"the files of these credentials cannot be used: {plain(error)}") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:!aNULL:!eNULL:@SECLEVEL=0")
    return context


def verdict(failed: Failure) -> int:
    """Which of OpenSSL's verdicts a failed handshake came to; 0: another."""
    cause = failed.__context__
    return cause.verify_code if isinstance(cause, ssl.SSLCertVerificationError) else 0


def protocol(session: ssl.SSLObject | ssl.SSLSocket) -> float:
    """1.2 for TLS 1.2; 0 for what has no number."""
    return _PROTOCOLS.get(session.version() or "", 0.0)


def chain_of(session: ssl.SSLObject | ssl.SSLSocket) -> Chain:
    """The certificates that the server sent, its own first. Raises Failure `certificate` when they cannot be read."""
    from cryptography import x509  # noqa: PLC0415 - heavy, and only where TLS is looked at

    public: Any = getattr(session, "get_unverified_chain", None)  # from Python 3.13 on
    if public is not None:
        found = public() or ()
    else:
        inner: Any = getattr(session, "_sslobj")  # noqa: B009 - before 3.13 only there, and in no type
        found = [one.public_bytes(_der()) for one in inner.get_unverified_chain() or ()]
    try:
        return Chain(tuple(x509.load_der_x509_certificate(bytes(one)) for one in found[:CHAIN_MAX]))
    except (ValueError, x509.InvalidVersion) as error:
        raise Failure("certificate", f"the certificate cannot be read: {plain(error)}") from None


def _der() -> int:
    import _ssl  # noqa: PLC0415 - CPython's own, and only before 3.13

    return int(_ssl.ENCODING_DER)


def _instant(moment: datetime) -> Instant:
    return int((moment.astimezone(UTC) - EPOCH).total_seconds()) * SECOND


def _long(span: Span) -> str:
    if span >= 2 * DAY:
        return f"{span // DAY} days"
    if span >= DAY:
        return "1 day"
    return f"{span // HOUR} hours" if span >= HOUR else f"{span // MINUTE} minutes"


def _common(name: x509.Name) -> str:
    """What people call a subject or an issuer."""
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - heavy, and only where TLS is looked at

    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME):
        if found := name.get_attributes_for_oid(oid):
            value = found[0].value
            return plain(value if isinstance(value, str) else value.decode("utf-8", "replace"))
    return "(no name)"


@dataclass(frozen=True)
class Chain:
    """The certificates of a server, its own first."""

    certificates: tuple[x509.Certificate, ...]

    def __len__(self) -> int:
        return len(self.certificates)

    @property
    def leaf(self) -> x509.Certificate:
        """The server's own. There is one: no handshake that we take comes about without."""
        if not self.certificates:
            raise Failure("certificate", "the server shows no certificate")
        return self.certificates[0]

    @cached_property
    def earliest(self) -> x509.Certificate:
        """The one that ends first."""
        return min((self.leaf, *self.certificates[1:]), key=lambda one: one.not_valid_after_utc)

    def days_left(self, now: Instant) -> float:
        """Until the first of them ends; negative after that."""
        return (_instant(self.earliest.not_valid_after_utc) - now) / DAY

    @cached_property
    def key_bits(self) -> int | None:
        """Of the server's key; None for a kind of key that is not known here."""
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - heavy, and only where TLS is looked at

        try:
            key: Any = self.leaf.public_key()
        except (UnsupportedAlgorithm, ValueError):
            return None
        size = getattr(key, "key_size", None)
        return int(size) if size is not None else len(key.public_bytes_raw()) * 8  # Ed25519 and Ed448

    @cached_property
    def names(self) -> tuple[str, ...]:
        """For whom the server's certificate is: its alternative names, or else its common name."""
        from cryptography import x509  # noqa: PLC0415 - heavy, and only where TLS is looked at

        try:
            found = self.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):  # broken ones name nobody
            return (_common(self.leaf.subject),)
        dns = found.get_values_for_type(x509.DNSName)
        return tuple(plain(one) for one in (*dns, *map(str, found.get_values_for_type(x509.IPAddress))))

    @property
    def issuer(self) -> str:
        """Who vouches for the server's certificate, as it says itself."""
        return _common(self.leaf.issuer)

    @property
    def self_signed(self) -> bool:
        """Whether the server's certificate names itself as its issuer."""
        return self.leaf.issuer == self.leaf.subject

    # -- verdicts ---------------------------------------------------------------------------------------------------
    def expiry(self, now: Instant, wanted: Span = 0) -> tuple[bool, str]:
        """Whether all are valid now and for so long from now; and a sentence."""
        for one in self.certificates:
            if (since := _instant(one.not_valid_before_utc)) > now:
                return False, f"{self._which(one)} is not valid before {_day(since)}"
        one = self.earliest
        until = _instant(one.not_valid_after_utc)
        left = until - now
        if left <= 0:
            return False, f"{self._which(one)} expired {_long(-left)} ago, on {_day(until)}"
        said = f"{self._which(one)} expires in {_long(left)}, on {_day(until)}"
        return left >= wanted, said if left >= wanted else f"{said}; at least {_long(wanted)} are wanted"

    def _which(self, one: x509.Certificate) -> str:
        between = one is not self.leaf
        return f"the certificate of '{_common(one.subject)}' in the chain" if between else "the certificate"

    def name(self, wanted: str, code: int = 0, *, trusted: bool = False) -> tuple[bool, str]:
        """Whether it is for this host, and a sentence. `code`: OpenSSL's verdict; `trusted`: it had nothing to say."""
        held = trusted or code in _OF_THE_TIME or (code not in _OF_THE_NAME and _is_for(self.names, wanted))
        shown = ", ".join(self.names[:NAMES_SHOWN]) or "nobody"
        more = f" and {len(self.names) - NAMES_SHOWN} more" if len(self.names) > NAMES_SHOWN else ""
        return held, f"the certificate is for {shown}{more}" + ("" if held else f", not for {plain(wanted)}")

    def trust(self, code: int, said: str) -> tuple[bool, str]:
        """Whether somebody trusted vouches for it, by OpenSSL's verdict and words, and a sentence."""
        if code in _OF_THE_TIME or code in _OF_THE_NAME or not said:
            return True, f"issued by '{self.issuer}'"
        if code == SELF_SIGNED or (code in _OF_THE_ISSUER and self.self_signed):
            return False, f"the certificate is self-signed by '{self.issuer}': nobody vouches for it"
        if code == ROOT_UNKNOWN:
            return False, f"the chain ends at '{_common(self.certificates[-1].issuer)}', which is not trusted here"
        if code in _OF_THE_ISSUER:
            last = _common(self.certificates[-1].issuer)
            alone = "; the server sends its own certificate alone, so one between may be missing"
            return False, f"the issuer '{last}' is not known here{alone if len(self) == 1 else ''}"
        return False, f"the certificate is not to be trusted: {said}"


def _day(instant: Instant) -> str:
    return format_instant(instant)[:10]


def _is_for(names: tuple[str, ...], wanted: str) -> bool:
    try:
        address = ip_address(wanted)
    except ValueError:
        plain_name = _ascii(wanted)
        _, _, rest = plain_name.partition(".")
        return any(one.lower() == plain_name or (rest and one.lower() == f"*.{rest}") for one in names)
    return str(address) in names


def _ascii(name: str) -> str:
    try:
        return name.encode("idna").decode().lower()
    except UnicodeError:
        return name.lower()
