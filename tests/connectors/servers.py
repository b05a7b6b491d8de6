"""Real peers of the notifiers, in this process, on free ports of 127.0.0.1: an SMTP server and a webhook receiver.

Law: a peer keeps all that it was sent, and misbehaves only as it was told. `Peer.said` waits, it never sleeps.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

HOST = "127.0.0.1"
CERTIFICATE = Path(__file__).parent.parent / "fixtures" / "tls" / "localhost.pem"  # and its key; they guard nothing


def server_tls() -> ssl.SSLContext:
    """A certificate for localhost and 127.0.0.1 that nobody vouches for, valid until 2126."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


@contextlib.asynccontextmanager
async def listening(
    factory: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[int]:
    """A server for as long as the block lasts; its port, by default a free one."""
    server = await asyncio.get_running_loop().create_server(factory, HOST, port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


_LOW = itertools.count(10_000 + os.getpid() * 7 % 20_000)


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port on which nobody listens, below those that the system gives away: no other process takes it meanwhile."""
    for port in itertools.islice(_LOW, 1_000):
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise AssertionError("a thousand ports are taken")


async def nobody() -> int:
    """The same, for who awaits it."""
    return free_port()


@dataclass(slots=True)
class Mailbox:
    """An SMTP server's memory and its orders: an answer instead of the usual one, or no answer but an end."""

    rcpt: str = ""
    mail: str = ""
    data: str = ""
    kept: list[Envelope] = field(default_factory=list)
    sessions: int = 0
    secured: list[bool] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    before_answer: Callable[[], Awaitable[None]] | None = None

    async def handle_EHLO(  # noqa: N802 - the library calls it so
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.sessions += 1
        session.host_name = hostname
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.mail or "250 2.1.0 ok"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt:
            return self.rcpt
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.kept.append(envelope)
        self.secured.append(session.ssl is not None)
        if self.before_answer is not None:
            await self.before_answer()
        return self.data or "250 2.0.0 queued as ABC123"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"correct horse", handled=False)

    def serve(
        self, *, implicit: bool = False, port: int = 0, **options: Any
    ) -> contextlib.AbstractAsyncContextManager[int]:
        """The server; options are aiosmtpd's."""
        tls = server_tls() if implicit else None
        return listening(lambda: SMTP(self, hostname="peer.example.test", enable_SMTPUTF8=True, **options), tls, port)


class ScriptedSmtp(asyncio.Protocol):
    """An SMTP server that says one line for each it hears; `None` ends the connection, `...` says nothing at all."""

    def __init__(self, script: dict[str, Any], ended: asyncio.Event) -> None:
        self.script = {
            "": "220 hello",
            "EHLO": "250 hello",
            "MAIL": "250 ok",
            "RCPT": "250 ok",
            "DATA": "354 go",
        } | script
        self.ended = ended
        self.buffer = b""
        self.content = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.say("")

    def say(self, word: str) -> None:
        line = self.script.get(word, "250 ok")
        if line is None:
            self.transport.abort()
        elif line is not ...:
            self.transport.write(f"{line}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = b"\r\n.\r\n" if self.content else b"\r\n"
            line, found, rest = self.buffer.partition(end)
            if not found:
                return
            self.buffer = rest
            word = "." if self.content else line[:4].decode().upper()
            self.content = word == "DATA" and self.script["DATA"] == "354 go"
            self.say(word)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


@dataclass(slots=True)
class Hook:
    """A webhook receiver's memory and its orders."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    before_answer: Callable[[web.Request], Awaitable[None]] | None = None
    kept: list[tuple[web.Request, bytes]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.BaseRequest)
        self.kept.append((request, await request.read()))  # type: ignore[arg-type]
        if self.before_answer is not None:
            await self.before_answer(request)  # type: ignore[arg-type]
        return web.Response(status=self.status, headers=self.headers, body=self.body)

    @contextlib.asynccontextmanager
    async def serve(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        """The server."""
        server = web.Server(self.handle)
        try:
            async with listening(server, tls) as port:
                yield port
        finally:
            await server.shutdown(0)
