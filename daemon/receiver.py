"""An SMTP server of our own on this machine, for a mail server that hands replies over.

The one law: 250 is said after what the mail says was committed, or refused for good. 451 asks for patience while the
store is away, 550 refuses whom we do not know, 552 what is too large. What was not taken with 250 stays the server's.
"""

import asyncio
import logging
from typing import Any, Final

import structlog

from connectors.mime import BYTES_MAX
from connectors.net import plain
from connectors.replies import token_of
from daemon.clock import Clock
from daemon.desk import Desk, LaterError, SetAside, Trouble, backing_off

CONNECTIONS_MAX: Final = 20
RECIPIENTS_MAX: Final = 10
IDLE_S_MAX: Final = 60.0

_log = structlog.get_logger("daemon.receiver")


class Receiver:
    """Listens, and passes on what is handed over."""

    def __init__(self, host: str, port: int, desk: Desk, clock: Clock, trouble: Trouble, aside: SetAside) -> None:
        """`host` must be of this machine: the settings see to that."""
        self._host = host
        self._port = port
        self._desk = desk
        self._clock = clock
        self._trouble = trouble
        self._aside = aside
        self.draining = False
        self.address: tuple[str, int] | None = None  # where it listens, while it does
        self._open: set[asyncio.Protocol] = set()

    async def run(self) -> None:
        """The loop: listens until it is cancelled, again after a while where it cannot."""
        tries = 0
        while True:
            try:
                server = await asyncio.get_running_loop().create_server(self._door(), self._host, self._port)
            except OSError as error:
                where = f"{self._host}:{self._port}"
                self._trouble.met(f"cannot listen on {where}: {plain(error.strerror or error)}")
                await backing_off(self._clock, self._trouble, tries)
                tries += 1
                continue
            try:
                self.address = server.sockets[0].getsockname()[:2]
                self._trouble.over()
                await asyncio.Event().wait()  # until it is cancelled; it serves meanwhile
            finally:
                self.address = None
                server.close()
                for one in list(self._open):
                    transport: Any = getattr(one, "transport", None)
                    if transport is not None:
                        transport.abort()

    def _door(self) -> Any:
        """What makes a protocol for each connection. The library is loaded only where it is used."""
        from aiosmtpd.smtp import SMTP  # noqa: PLC0415

        logging.getLogger("mail.log").setLevel(logging.WARNING)  # below, it tells every command, tokens and all
        known, handler = self._open, _Handler(self, self._desk, self._aside)

        class Door(SMTP):
            """One connection."""

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                """Not more than a few at once."""
                if len(known) >= CONNECTIONS_MAX and isinstance(transport, asyncio.Transport):
                    transport.write(b"421 4.3.2 too many connections, come again\r\n")
                    transport.close()
                    return
                known.add(self)
                super().connection_made(transport)

            def connection_lost(self, error: Exception | None) -> None:
                """It has ended."""
                if self in known:
                    known.discard(self)
                    super().connection_lost(error)

        loop = asyncio.get_running_loop()

        def make() -> Door:
            return Door(
                handler,
                loop=loop,
                data_size_limit=BYTES_MAX,
                enable_SMTPUTF8=True,
                hostname="ticketd",
                ident="ticketd",
                timeout=IDLE_S_MAX,
            )

        return make


class _Handler:
    """What the library asks at each step; it gives the answers."""

    def __init__(self, receiver: Receiver, desk: Desk, aside: SetAside) -> None:
        self._receiver = receiver
        self._desk = desk
        self._aside = aside

    async def handle_RCPT(  # noqa: N802 - the library calls it so
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        """Whether the address is one that a message of ours asked to answer to."""
        if self._receiver.draining:
            return "451 4.3.2 shutting down, come again"
        if not token_of(address):
            return "550 5.1.1 no such address: replies go to the address that a message of ticketd came with"
        if len(envelope.rcpt_tos) >= RECIPIENTS_MAX:
            return "452 4.5.3 too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """The mail, for each of its recipients."""
        content = bytes(envelope.original_content or envelope.content or b"")
        sender = str(envelope.mail_from or "").strip("<>")
        try:
            for recipient in {token_of(one): one for one in envelope.rcpt_tos}.values():
                await self._desk.take(content, recipient=recipient, sender=sender)
        except LaterError as error:
            _log.warning("a mail waits for the store", reason=error.reason)
            return "451 4.3.0 not taken now, come again"
        except Exception as error:  # noqa: BLE001 - set aside aloud, and the sender learns that it was not taken
            self._aside.tell(error, "handed over by a server, and refused to it")
            return "554 5.3.0 it cannot be dealt with"
        return "250 2.0.0 taken"

    async def handle_exception(self, error: Exception) -> str:
        """What the library itself stumbled over; a connection that broke off is nothing to tell."""
        if not isinstance(error, ConnectionError | asyncio.IncompleteReadError):
            _log.warning("a mail server's words were not understood", error=repr(error)[:200])
        return "451 4.3.0 not understood, come again"
