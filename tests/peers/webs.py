"""Real web servers for a test: nginx through `nginx.sh`, blackbox_exporter and Prometheus through `blackbox.sh`.

Law: everything lies in a folder of its own, listens on loopback, and is ended with the tests that asked for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.connectors.certs import Authority, self_signed
from tests.peers.harness import HOST, free_port

FOLDER = Path(__file__).parent
NGINX_PORTS = ("PLAIN", "GOOD", "EXPIRED", "NAME", "SELF", "OLD", "OLDER", "TWO", "PRIOR", "MUTUAL")


def require(script: str, *programs: str) -> None:
    """Skips the test by the name of the first program that this machine lacks."""
    for one in programs:
        if shutil.which(one) is None and not Path(one).exists():
            pytest.skip(f"{one} is not installed: sh tests/peers/{script} install")


@dataclass(slots=True)
class Servers:
    """The processes of one script, and the ports it was given."""

    script: str
    folder: Path
    names: tuple[str, ...]
    ports: dict[str, int] = field(default_factory=dict)

    def run(self, verb: str) -> None:
        """One verb of the script; fails with what it said."""
        for name in self.names:
            self.ports.setdefault(name, free_port())
        env = {
            **os.environ,
            "PEER_DIR": str(self.folder),
            **{f"{name}_PORT": str(port) for name, port in self.ports.items()},
        }
        said = self.folder.with_suffix(".said")
        with said.open("wb") as output:  # a pipe would stay open in the processes that the script leaves running
            done = subprocess.run(
                ["/bin/sh", str(FOLDER / self.script), verb],
                env=env, stdout=output, stderr=output, timeout=60, check=False,
            )  # fmt: skip
        assert done.returncode == 0, f"{self.script} {verb}: {said.read_text()}"

    def url(self, name: str, path: str = "/", scheme: str = "http", host: str = HOST) -> str:
        """Where one of them listens."""
        return f"{scheme}://{host}:{self.ports[name]}{path}"


def nginx(folder: Path) -> Servers:
    """A started nginx with certificates made for it: FOLDER/ca.pem vouches for all but self.pem."""
    require("nginx.sh", "/usr/sbin/nginx")
    folder.mkdir()
    authority = Authority()
    authority.write(folder / "ca.pem")
    leaves = {
        "good": authority.leaf(),
        "expired": authority.expired(),
        "name": authority.wrong_name(),
        "self": self_signed(),
    }
    for name, leaf in leaves.items():
        (folder / f"{name}.pem").write_bytes(leaf.certificates_pem)
        (folder / f"{name}.key").write_bytes(leaf.key_pem)
    ours = self_signed("probe.example.test")  # vouches for itself, and nginx is told to believe it
    ours.write(folder / "ours.pem")
    (folder / "clients.pem").write_bytes(ours.certificates_pem)
    made = Servers("nginx.sh", folder, NGINX_PORTS)
    made.run("start")
    return made


def monitoring(folder: Path) -> Servers:
    """A started blackbox_exporter and a Prometheus that scrapes it."""
    require("blackbox.sh", "prometheus", "prometheus-blackbox-exporter", "curl")
    folder.mkdir()
    made = Servers("blackbox.sh", folder, ("EXPORTER", "PROMETHEUS"))
    made.run("start")
    return made
