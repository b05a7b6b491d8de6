"""Real servers with TLS, one for each way in which a certificate can be wrong, and one for each protocol with STARTTLS.

Law: certificates are made for the test and lie in its folder; every server listens on loopback and is ended with the
test that asked for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connectors.network.trial import Credential
from tests.connectors.certs import Authority, Leaf, self_signed
from tests.peers.harness import HOST, Process, free_port, launch, wait_until
from tests.peers.mailing import Script

if TYPE_CHECKING:
    from pathlib import Path

NGINX = "/usr/sbin/nginx"
READY_S_MAX = 10.0


@dataclass
class Certificates:
    """One root that is trusted, and what it and others vouch for."""

    folder: Path
    root: Authority = field(default_factory=lambda: Authority("Peer Root"))
    between: Authority = field(init=False)
    leaves: dict[str, Leaf] = field(init=False)

    def __post_init__(self) -> None:
        self.between = Authority("Peer Between", self.root)
        self.leaves = {
            "good": self.between.leaf(),
            "expired": self.root.expired(),
            "later": self.root.not_yet(),
            "name": self.root.wrong_name(),
            "self": self_signed(),
            "incomplete": self.between.leaf(chain=()),
            "unknown": Authority("Nobody's Root").leaf(),
        }

    @property
    def trusting(self) -> Credential:
        """Who trusts the root."""
        return Credential("peers", ca=self.root.write(self.folder / "ca.pem"))

    def files(self, name: str) -> tuple[Path, Path]:
        """A certificate with its chain, and its key, as servers read them."""
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(self.leaves[name].certificates_pem)
        key.write_bytes(self.leaves[name].key_pem)
        return certificate, key


class TlsWeb:
    """nginx with a port for each certificate, and one, `old`, that speaks TLS 1.0 and 1.1 alone."""

    def __init__(self, certificates: Certificates) -> None:
        self.folder = certificates.folder / "nginx"
        self.folder.mkdir()
        self.ports = {name: free_port() for name in (*certificates.leaves, "old", "modern")}
        self._certificates = certificates
        self._process: Process | None = None

    def __getitem__(self, name: str) -> str:
        return f"{HOST}:{self.ports[name]}"

    def _server(self, name: str, more: str = "") -> str:
        certificate, key = self._certificates.files(name if name in self._certificates.leaves else "good")
        return (
            f"server {{ listen {self[name]} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; {more}"
            ' location / { return 200 "ok"; } }'
        )

    def start(self) -> TlsWeb:
        """Starts it and waits until it answers."""
        old = "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;"
        more = {"old": old, "modern": "ssl_protocols TLSv1.3;"}
        servers = "\n".join(self._server(name, more.get(name, "ssl_protocols TLSv1.2 TLSv1.3;")) for name in self.ports)
        conf = self.folder / "nginx.conf"
        conf.write_text(
            f"daemon off; worker_processes 1; pid {self.folder}/pid; error_log {self.folder}/error.log;\n"
            f"events {{ worker_connections 256; }}\nhttp {{ access_log off;\n{servers}\n}}\n"
        )
        self._process = launch([NGINX, "-p", self.folder, "-c", conf], self.folder / "output")
        wait_until((self.folder / "pid").exists, READY_S_MAX, "nginx is there")
        return self

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.end()
            self._process.kill9()


def speaker(protocol: str, certificates: Certificates, name: str = "good") -> tuple[Script, str]:
    """A server of a protocol with STARTTLS, not yet started, and its HOST:PORT."""
    certificate, key = certificates.files(name)
    port = free_port()
    common = {"CERTIFICATE": str(certificate), "KEY": str(key)}
    ports = {
        "smtp": ("postfix.sh", ("SMTP_PORT",), ("NEXT_PORT", "REPLIES_PORT", "POLICY_PORT")),
        "imap": ("dovecot.sh", ("IMAP_PORT",), ("IMAPS_PORT",)),
        "ldap": ("slapd.sh", ("LDAP_PORT",), ()),
        "postgres": ("postgresql.sh", ("POSTGRESQL_PORT",), ()),
    }
    script, own, others = ports[protocol]
    environment = common | dict.fromkeys(own, str(port)) | {other: str(free_port()) for other in others}
    folder = certificates.folder / f"{protocol}-{name}"
    folder.mkdir(mode=0o755)
    return Script(folder, script, environment), f"{HOST}:{port}"
