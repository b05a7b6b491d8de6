"""A real SMTP server whose only purpose is to keep what it was sent: one `.eml` file a message.

Law: it listens on loopback only, and a message that it accepted is a complete file. The local part of a recipient
steers it: `reject…` is refused for good (550), `defer…` for now (451) each time, `flaky…` for now once, and `slow…`
is accepted after five seconds. Two header lines are put before the message: the envelope's sender and recipients.

    python smtp_sink.py PORT FOLDER [--auth USER:PASSWORD] [--tls CERTIFICATE KEY]
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

SLOW_S = 5.0


@dataclass
class Keeper:
    """The handler: answers recipients by their names and writes messages."""

    folder: Path
    kept: int = 0
    met: set[str] = field(default_factory=set)

    async def handle_RCPT(  # noqa: N802 - the library calls it so
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accepts, refuses or defers a recipient."""
        del server, session, options
        first_time = address not in self.met
        self.met.add(address)
        if address.startswith("reject"):
            return "550 5.1.1 nobody of that name here"
        if address.startswith("defer") or (address.startswith("flaky") and first_time):
            return "451 4.3.2 come back later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 recipient ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Writes the message, whole, under the next number."""
        del server, session
        if any(address.startswith("slow") for address in envelope.rcpt_tos):
            await asyncio.sleep(SLOW_S)
        self.kept += 1
        content = envelope.original_content or b""
        head = f"X-Sink-From: {envelope.mail_from}\r\nX-Sink-To: {', '.join(envelope.rcpt_tos)}\r\n"
        partial = self.folder / f"{self.kept:05d}.part"
        partial.write_bytes(head.encode() + content)
        partial.rename(partial.with_suffix(".eml"))
        return "250 2.0.0 kept"


async def serve(arguments: argparse.Namespace) -> None:
    """Listens until it is ended."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"hostname": "sink.example.test", "enable_SMTPUTF8": True}
    if arguments.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*arguments.tls)
        options |= {"tls_context": context, "require_starttls": True}
    if arguments.auth:

        def authenticate(
            server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
        ) -> AuthResult:
            del server, session, envelope, mechanism
            given = f"{data.login.decode()}:{data.password.decode()}"
            return AuthResult(success=given == arguments.auth, handled=False)

        options |= {
            "authenticator": authenticate,
            "auth_required": True,
            "auth_require_tls": bool(arguments.tls),
        }
    keeper = Keeper(arguments.folder)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(keeper, **options), "127.0.0.1", arguments.port
    )
    print("listening", flush=True)
    await server.serve_forever()


def main() -> None:
    """Reads the words of the command line and serves."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("port", type=int)
    words.add_argument("folder", type=Path)
    words.add_argument("--auth")
    words.add_argument("--tls", nargs=2)
    asyncio.run(serve(words.parse_args()))


if __name__ == "__main__":
    main()
