"""Certificates for tests, made when they are asked for: authorities, what they vouch for, and every way to be wrong.

Law: no clock is read and no key is kept: what is valid is valid from 2020 until 2120, what has expired did so in 2021.
Keys are elliptic, since those are made at once.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FROM, UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)
EXPIRED_ON = datetime(2021, 1, 1, tzinfo=UTC)
NOT_BEFORE_LATER = datetime(2119, 1, 1, tzinfo=UTC)
HERE = ("localhost", "127.0.0.1", "::1")  # the names of a server under test
_PEM = serialization.Encoding.PEM


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class Leaf:
    """A server's certificate with its key; `chain`: what the server sends after it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def certificates_pem(self) -> bytes:
        """The certificate and its chain."""
        return b"".join(one.public_bytes(_PEM) for one in (self.certificate, *self.chain))

    @property
    def key_pem(self) -> bytes:
        """The key."""
        plain = serialization.NoEncryption()
        return self.key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, plain)

    def write(self, path: Path) -> Path:
        """One file with certificate, chain and key, and beside it the key alone, as PATH.key. Gives the first."""
        path.write_bytes(self.certificates_pem + self.key_pem)
        path.with_name(f"{path.name}.key").write_bytes(self.key_pem)
        return path

    def server(self, folder: Path, *, min_version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A server's context; the files that it is loaded from lie in the folder."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.write(folder / f"{self.certificate.serial_number:x}.pem"))
        if min_version is not None:
            context.minimum_version = min_version
        return context


@dataclass(slots=True)
class Authority:
    """Who vouches: a root, or with `parent` one between. `Authority()` is all that a test needs."""

    name: str = "Test Root"
    parent: "Authority | None" = None
    until: datetime = UNTIL
    key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        signer = self.parent or self
        issuer = self.parent.certificate.subject if self.parent else _name(self.name)
        made = _builder(_name(self.name), issuer, self.key, signer.key, FROM, self.until)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        self.certificate = made.add_extension(usage, critical=True).sign(signer.key, hashes.SHA256())

    def write(self, path: Path) -> Path:
        """Its certificate as a file: what a `ca_bundle` names."""
        path.write_bytes(self.certificate.public_bytes(_PEM))
        return path

    def leaf(
        self,
        *names: str,
        since: datetime = FROM,
        until: datetime = UNTIL,
        chain: Sequence[x509.Certificate] | None = None,
    ) -> Leaf:
        """A server's certificate for these names, by default those of this machine.

        `chain`: what the server sends after it; by default every authority up to the root, without the root.
        """
        names = names or HERE
        key = _key()
        made = _builder(_name(names[0]), self.certificate.subject, key, self.key, since, until)
        made = made.add_extension(x509.SubjectAlternativeName([_alternative(one) for one in names]), critical=False)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return Leaf(made.sign(self.key, hashes.SHA256()), key, self._between() if chain is None else tuple(chain))

    def _between(self) -> tuple[x509.Certificate, ...]:
        return () if self.parent is None else (self.certificate, *self.parent._between())

    def expired(self) -> Leaf:
        """One that expired on EXPIRED_ON."""
        return self.leaf(until=EXPIRED_ON)

    def not_yet(self) -> Leaf:
        """One that is valid from NOT_BEFORE_LATER on."""
        return self.leaf(since=NOT_BEFORE_LATER)

    def wrong_name(self) -> Leaf:
        """One for another host."""
        return self.leaf("other.example.test", "www.other.example.test")


def self_signed(*names: str) -> Leaf:
    """One that nobody vouches for but itself."""
    names = names or HERE
    key = _key()
    made = _builder(_name(names[0]), _name(names[0]), key, key, FROM, UNTIL)
    made = made.add_extension(x509.SubjectAlternativeName([_alternative(one) for one in names]), critical=False)
    return Leaf(made.sign(key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    since: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
