"""The listening socket: HTTP within limits.

The one law: whatever the other side does (drips, floods, sends garbage, never reads), it costs one connection for a
bounded time, and a bounded number of those.
"""

import asyncio
import logging
import resource
import socket
from collections.abc import Callable
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from daemon.web.errors import problem
from daemon.web.ports import Process
from rules.instants import SECOND

BACKLOG: Final = 64  # also how many asyncio takes in one go, each a descriptor, before we can count them
HEADERS_MAX: Final = 100  # in one request
LINGER_S: Final = 3.0  # reading on after an early answer, so that the sender gets to see it
UNREAD_MS: Final = 30_000  # how long an answer may lie unread by the other side
FILES_OWN: Final = 32  # descriptors left for the store, the log and what is sent
REFUSING_MAX: Final = 64  # connections that are being told of the cap
REFUSING_S: Final = 1.0
_FULL: Final = (
    b'{"type":"urn:ticketd:busy","title":"Not now","status":503,"detail":"too many connections are open; try again"}'
)
_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: " + str(len(_FULL)).encode() + b"\r\n\r\n" + _FULL
)

_log = logging.getLogger("daemon.web.server")


class ListenError(Exception):
    """The address cannot be listened on, or HTTP cannot be parsed safely here."""


class Server:
    """Serves an application of a process on the address of its settings."""

    def __init__(self, daemon: Process, application: Callable[[], web.Application]) -> None:
        """`application` is made when it is served."""
        self._daemon = daemon
        self._application = application
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self.connections = 0
        self.refusing = 0
        files = _files()
        self._backlog = max(1, min(BACKLOG, files // 8))
        self.refusing_max = max(1, min(REFUSING_MAX, files // 8))
        self._connections_max = max(
            1, min(daemon.settings.limits.connections, files - FILES_OWN - self._backlog - self.refusing_max)
        )

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """What is listened on: (host, port), the port that was chosen where 0 was asked for."""
        sockets = self._listener.sockets if self._listener is not None else ()
        return tuple(one.getsockname()[:2] for one in sockets)

    @property
    def port(self) -> int:
        """The first port listened on."""
        return self.addresses[0][1] if self._listener is not None else self._daemon.settings.port

    async def start(self) -> None:
        """Listens. Raises ListenError."""
        if HttpRequestParser is HttpRequestParserPy:
            raise ListenError(
                "aiohttp runs without its compiled HTTP parser, which is not safe towards strangers: reinstall aiohttp "
                "from a wheel, and unset AIOHTTP_NO_EXTENSIONS"
            )
        settings = self._daemon.settings
        runner = web.AppRunner(self._application(), access_log=None)
        await runner.setup()
        if runner.server is None:
            raise ListenError("the HTTP server could not be made")
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                self._factory(runner.server, loop), settings.host or None, settings.port, backlog=self._backlog
            )
        except (OSError, UnicodeError) as error:
            await runner.cleanup()
            reason = getattr(error, "strerror", None) or error
            raise ListenError(f"cannot listen on {settings.listen}: {reason}") from None
        self._runner = runner

    async def stop_accepting(self) -> None:
        """Takes no further connection; open ones go on."""
        if self._listener is not None:
            self._listener.close()

    async def close(self, grace_s: float = 1.0) -> None:
        """Waits for running requests at most so long, then ends every connection."""
        await self.stop_accepting()
        runner, self._runner = self._runner, None
        if runner is not None:
            if runner.server is not None:
                runner.server.pre_shutdown()
                await runner.server.shutdown(grace_s)
            await runner.cleanup()

    def _factory(self, manager: web.Server, loop: asyncio.AbstractEventLoop) -> Callable[[], asyncio.Protocol]:
        limits = self._daemon.settings.limits
        options: dict[str, Any] = {
            "loop": loop,
            "keepalive_timeout": limits.idle / SECOND,
            "max_line_size": limits.headers,
            "max_field_size": limits.headers,
            "max_headers": HEADERS_MAX,
            "lingering_time": LINGER_S,
            "auto_decompress": False,
            "access_log": None,
            "logger": _log,
        }

        def connection() -> asyncio.Protocol:
            if self.connections >= self._connections_max:
                return _Refusing(self, loop)
            return _Connection(self, manager, **options)

        return connection

    def malformed(self) -> None:
        """A request could not be parsed."""
        self._daemon.metrics.refused("http", "malformed")

    def full(self) -> None:
        """A connection was turned away."""
        self._daemon.metrics.refused("http", "connections")


class _Connection(web.RequestHandler):
    """One connection. What cannot be parsed is answered in our words, counted, and never logged with its bytes."""

    __slots__ = ("_server",)

    def __init__(self, server: Server, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Counts it, and bounds how long the other side may leave an answer unread."""
        self._server.connections += 1
        plain = transport.get_extra_info("socket")
        if plain is not None and plain.family != socket.AF_UNIX:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Counts it off."""
        self._server.connections -= 1
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,  # noqa: ARG002 - aiohttp's shape
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it may hold the other side's bytes
    ) -> web.StreamResponse:
        """400 for what is no HTTP; 503 for anything that got past our own last door."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        if isinstance(exc, HttpProcessingError):
            self._server.malformed()
            answer = problem(400, "this is not HTTP as this daemon takes it")
        else:
            _log.error("a request failed outside its handler: %s", type(exc).__name__, exc_info=exc)
            answer = problem(503, "something failed inside; try again", headers={"Retry-After": "5"})
        answer.headers["Server"] = "ticketd"
        answer.force_close()
        return answer


class _Refusing(asyncio.Protocol):
    """A connection beyond the cap: told so, once it has said something, and closed."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server.full()
        self._server.refusing += 1
        self._transport = tcp = cast("asyncio.Transport", transport)
        if self._server.refusing > self._server.refusing_max:
            tcp.abort()
            return
        self._timer = self._loop.call_later(REFUSING_S, tcp.abort)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it is
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_REFUSAL)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
        self._server.refusing -= 1
        if self._timer is not None:
            self._timer.cancel()


def _files() -> int:
    """How many descriptors this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft
