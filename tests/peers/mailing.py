"""Real mail servers for a test: Postfix through `postfix.sh`, Dovecot through `dovecot.sh`, and who writes to them.

Law: everything lies in a folder of its own, listens on loopback, and is ended with the tests that asked for it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import smtplib
import socketserver
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers import policies
from tests.peers.bodies import firing
from tests.peers.harness import HOST, Daemon, free_port
from tests.peers.sinks import self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator

REPLY_TO = "ticketd@tickets.test"
LONG_AGO = "2026-01-01T00:00:00Z"


def people(*reach: str, wait: str = "1h") -> str:
    """One step that tells a contact p0, p1 … for each of these `reach` lists; every alert is grave."""
    contacts = "".join(
        f"  - {{id: p{n}, may: [acknowledge, resolve, comment], reach: {one}}}\n" for n, one in enumerate(reach)
    )
    names = ", ".join(f"contact:p{n}" for n in range(len(reach)))
    return (
        policies.MATRIX
        + "contacts:\n"
        + contacts
        + f"escalations:\n  - {{id: one, steps: [{{notify: [{names}], wait: {wait}}}], last_resort: [contact:p0]}}\n"
        + "default_escalation: one\n"
        + "rules:\n  - {id: grave, match: ['alertname=\"Grave\"'], dedup: [service], impact: site, urgency: high}\n"
    )


def open_grave(daemon: Daemon, service: str = "core") -> str:
    """Posts the alert and gives the ticket's id."""
    answer = daemon.webhook(firing(LONG_AGO, alertname="Grave", service=service))
    assert answer.status == 200, answer
    return str(answer.json()["tickets"][0])


def reasons(daemon: Daemon, ticket: str, what: str) -> list[str]:
    """Why each entry of this kind stands on a ticket's timeline."""
    return [str(entry["why"]) for entry in daemon.timeline(ticket) if entry["what"] == what]


def reply(page: EmailMessage, text: str, sender: str, **headers: str) -> EmailMessage:
    """What a mail program makes of a reply to the page: the page quoted, its thread continued."""
    made = EmailMessage()
    made["From"] = f"Somebody <{sender}>"
    made["To"] = str(page["Reply-To"])
    made["Subject"] = f"Re: {page['Subject']}"
    made["In-Reply-To"] = str(page["Message-ID"])
    made["References"] = f"{page['References']} {page['Message-ID']}"
    for name, value in headers.items():
        del made[name.replace("_", "-")]
        made[name.replace("_", "-")] = value
    quoted = "".join(f"> {line}\n" for line in str(page.get_content()).splitlines())
    made.set_content(f"{text}\n\nOn Sun, 22 Nov 2026 at 10:00, ticketd <{REPLY_TO}> wrote:\n{quoted}")
    return made


@contextlib.contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that a server which is not root can reach, too; the tests' own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="ticketd-mail-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Script:
    """A server that a shell script starts and ends."""

    folder: Path
    name: str
    environment: dict[str, str]

    def run(self, verb: str) -> str:
        """One verb of the script, and what it printed; fails with that."""
        script = Path(__file__).with_name(self.name)
        with tempfile.TemporaryFile() as said:  # a pipe would stay open in the server that the script leaves running
            done = subprocess.run(
                ["/bin/sh", str(script), verb],
                env={**os.environ, **self.environment, "PEER_DIR": str(self.folder / "server")},
                stdout=said, stderr=said, timeout=60, check=False,
            )  # fmt: skip
            said.seek(0)
            text = said.read().decode("utf-8", "replace")
        assert done.returncode == 0, f"{self.name} {verb}: {text}"
        return text


class Dovecot(Script):
    """An IMAP server with one mailbox."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.certificate, key = self_signed(folder / "tls")
        environment = {"IMAPS_PORT": str(self.port), "CERTIFICATE": str(self.certificate), "KEY": str(key)}
        super().__init__(folder, "dovecot.sh", environment)
        self.delivered = 0

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration's `[mail.imap]`."""
        password = self.folder / "password"
        password.write_text("ticketd")
        return {
            "host": HOST, "port": self.port, "username": "ticketd", "password_file": str(password),
            "ca_bundle": str(self.certificate), "every": "1s",
        }  # fmt: skip

    def deliver(self, message: EmailMessage | bytes) -> None:
        """Puts a mail into the mailbox as a delivery agent does: written beside it, then renamed."""
        self.delivered += 1
        box = self.folder / "server" / "mail"
        partial = box / "tmp" / f"{self.delivered:05d}.peer"
        partial.write_bytes(message if isinstance(message, bytes) else message.as_bytes())
        partial.chmod(0o666)
        partial.rename(box / "new" / partial.name)

    def flags(self) -> dict[int, str]:
        """The flags of each mail that was delivered, by its number; "" for one that nobody has seen."""
        box = self.folder / "server" / "mail"
        return {int(one.name[:5]): one.name.rpartition("2,")[2] if "2," in one.name else ""
                for one in [*box.glob("new/*.peer*"), *box.glob("cur/*.peer*")]}  # fmt: skip

    def seen(self) -> bool:
        """Whether every mail has been read."""
        return all("S" in flags for flags in self.flags().values())

    def empty(self) -> None:
        """Throws every mail away."""
        for one in (self.folder / "server" / "mail").glob("*/*.peer*"):
            one.unlink()


class GreyHandler(socketserver.StreamRequestHandler):
    """One connection of Postfix's to its policy service."""

    def handle(self) -> None:
        """Attributes, a blank line; then an action and a blank line."""
        asked: dict[str, str] = {}
        for line in self.rfile:
            name, _, value = line.decode("utf-8", "replace").strip().partition("=")
            if name:
                asked[name] = value
                continue
            assert isinstance(self.server, GreyPolicy)
            self.wfile.write(f"action={self.server.judge(asked)}\n\n".encode())
            asked = {}


class GreyPolicy(socketserver.ThreadingTCPServer):
    """Greylisting, as a policy service of Postfix: whoever is met for the first time is asked to come again."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), GreyHandler)
        self.met: list[tuple[str, str]] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def judge(self, asked: dict[str, str]) -> str:
        """451 the first time."""
        whom = asked.get("sender", ""), asked.get("recipient", "")
        first = whom not in self.met
        self.met.append(whom)
        return "451 4.7.1 greylisted, come again" if first else "DUNNO"


@dataclass
class Ports:
    """Where Postfix hands mail on to: a sink, and ticketd's receiver."""

    next: int = field(default_factory=free_port)
    replies: int = field(default_factory=free_port)


class Postfix(Script):
    """A mail server between ticketd and the world."""

    def __init__(self, folder: Path, grey: GreyPolicy) -> None:
        self.port, self.ports = free_port(), Ports()
        self.certificate, key = self_signed(folder / "tls")
        environment = {
            "SMTP_PORT": str(self.port), "NEXT_PORT": str(self.ports.next), "REPLIES_PORT": str(self.ports.replies),
            "POLICY_PORT": str(grey.server_address[1]), "CERTIFICATE": str(self.certificate), "KEY": str(key),
            "PEOPLE": "amina@office.test omar@office.test",
        }  # fmt: skip
        super().__init__(folder, "postfix.sh", environment)

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration's `[smtp]` and `[mail]`: sends through Postfix, and is handed the replies by it."""
        smtp = {"host": HOST, "port": self.port, "from": "ticketd@office.test", "reply_to": REPLY_TO}
        return {
            "smtp": {**smtp, "starttls": True, "ca_bundle": str(self.certificate)},
            "mail": {"receiver": f"{HOST}:{self.ports.replies}"},
        }

    def take(self, message: EmailMessage, sender: str) -> None:
        """Hands it a mail as a person's mail program does."""
        with smtplib.SMTP(HOST, self.port, timeout=20) as link:
            link.sendmail(sender, [str(message["To"]).strip("<>")], message.as_bytes())

    def log(self) -> str:
        """What it says of itself."""
        file = self.folder / "server" / "maillog"
        return file.read_text("utf-8", "replace") if file.exists() else ""


def require(program: str, script: str) -> None:
    """Skips the tests by the program's name where this machine lacks it."""
    if not Path(program).exists():
        pytest.skip(f"{program} is not installed: sh tests/peers/{script} install")
