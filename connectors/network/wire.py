"""One connection as an exchange needs it: a non-blocking socket of its own, bare or with TLS, and nothing around it.

The one law: it connects through `Reach` alone, so every address was asked about; it reads only when it is asked to, so
nothing piles up; and what fails, fails as a `Failure`. Probes are many, so there is no transport and no stream between
the socket and whoever reads.
"""

import asyncio
import socket
import ssl
from typing import Final

from connectors.network.reach import Place, Reach, failure
from connectors.network.trial import Failure, Trial

READ_BYTES: Final = 16 << 10
READS_AT_ONCE_MAX: Final = 16  # while data is there at once; then others have their turn


class Wire:
    """A connection to one place. Whoever opened it closes it."""

    __slots__ = ("_loop", "_reads", "_socket", "_tls", "place")

    def __init__(self, place: Place, sock: socket.socket) -> None:
        """Takes over a connected, non-blocking socket. `place`: where it leads."""
        self.place = place
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._tls: ssl.SSLSocket | None = None
        self._reads = 0

    @classmethod
    async def open(cls, reach: Reach, trial: Trial, host: str, port: int) -> "Wire":
        """A connection to a host. Phases `dns` and `connect`. Raises Failure."""
        return cls(*await reach.connected(trial, host, port))

    async def secure(self, trial: Trial, context: ssl.SSLContext, server_name: str) -> ssl.SSLSocket:
        """Begin TLS. Raises Failure `certificate`, `tls` or `reset`. Phase `tls`."""
        with trial.phase("tls"):
            try:
                # The dot that ends a name is the resolver's, and stands in no certificate.
                name = server_name.removesuffix(".")
                secured = context.wrap_socket(
                    self._socket,
                    server_hostname=name,
                    do_handshake_on_connect=False,
                    suppress_ragged_eofs=False,  # an end that TLS does not vouch for may be a cut
                )
                self._socket = self._tls = secured
                await self._shaken(secured)
            except (OSError, ValueError) as error:
                raise _in_handshake(error) from None
        return secured

    async def send(self, data: bytes) -> None:
        """All of it. Raises Failure `reset` when the connection is cut."""
        rest = memoryview(data)
        try:
            while rest:
                try:
                    rest = rest[self._socket.send(rest) :]
                except (BlockingIOError, ssl.SSLWantWriteError):
                    await self._writable()
                except ssl.SSLWantReadError:
                    await self._readable()
        except OSError as error:
            raise failure(error, "while sending the request") from None

    async def read(self, size: int = READ_BYTES) -> bytes:
        """What comes next, `size` at most; b"": the other side has ended. Raises Failure `reset`."""
        try:
            # Bare: a request was just sent, or all was read that was there. Within TLS something may lie ready.
            if self._tls is None:
                await self._readable()
            else:
                self._reads += 1
                if self._reads % READS_AT_ONCE_MAX == 0:
                    await asyncio.sleep(0)
            data = await self._taken(size)
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLEOFError:
            raise Failure("reset", "while reading the answer: the connection ended without the end of TLS") from None
        except OSError as error:
            raise failure(error, "while reading the answer") from None
        return data

    async def _taken(self, size: int) -> bytes:
        while True:
            try:
                return self._socket.recv(size)
            except (BlockingIOError, ssl.SSLWantReadError):
                await self._readable()
            except ssl.SSLWantWriteError:
                await self._writable()

    async def _shaken(self, secured: ssl.SSLSocket) -> None:
        while True:
            try:
                secured.do_handshake()
                return
            except ssl.SSLWantReadError:
                await self._readable()
            except ssl.SSLWantWriteError:
                await self._writable()

    async def _readable(self) -> None:
        descriptor, waiter = self._socket.fileno(), self._loop.create_future()
        self._loop.add_reader(descriptor, _wake, waiter)
        try:
            await waiter
        finally:
            self._loop.remove_reader(descriptor)

    async def _writable(self) -> None:
        descriptor, waiter = self._socket.fileno(), self._loop.create_future()
        self._loop.add_writer(descriptor, _wake, waiter)
        try:
            await waiter
        finally:
            self._loop.remove_writer(descriptor)

    def close(self) -> None:
        """At once, without farewell."""
        self._socket.close()


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def _in_handshake(error: OSError | ValueError) -> Failure:
    if "no application protocol" in str(error):  # Python knows no word for it
        said = "in the TLS handshake: the other side speaks none of the protocols that were offered"
        return Failure("tls", said)
    return failure(error, "in the TLS handshake")
