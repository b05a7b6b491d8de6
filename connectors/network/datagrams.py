"""Datagrams to one address: a connected UDP socket, so that a refusal is seen and nobody else is heard.

The one law: the address was asked about by `Reach`, and the socket is connected to that very one.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from connectors.network.reach import Place, Reach, failure
from connectors.network.trial import Failure, Trial

DATAGRAM_BYTES: Final = 65_535


class Datagrams:
    """One connected UDP socket. Whoever opened it closes it."""

    __slots__ = ("_socket", "place")

    def __init__(self, place: Place, sock: socket.socket) -> None:
        """Takes over the socket."""
        self.place = place
        self._socket = sock

    async def send(self, data: bytes) -> None:
        """One datagram. Raises Failure `refused` or `unreachable`, perhaps about one sent before."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except OSError as error:
            raise _failed(error, self.place) from None

    async def receive(self) -> bytes:
        """The next datagram, whenever it comes. Raises Failure likewise."""
        try:
            return await asyncio.get_running_loop().sock_recv(self._socket, DATAGRAM_BYTES)
        except OSError as error:
            raise _failed(error, self.place) from None

    def close(self) -> None:
        """At once."""
        self._socket.close()


async def datagrams(trial: Trial, reach: Reach, host: str, port: int, *, family: str = "any") -> Datagrams:
    """A socket towards the first address of a host that may be reached, and can. Phase `dns`. Raises Failure."""
    return towards(await reach.resolve(trial, host, port, family=family, kind=socket.SOCK_DGRAM))


def towards(places: Sequence[Place]) -> Datagrams:
    """A socket towards the first of these to which there is a way; they were asked about. Raises Failure."""
    last: Failure | None = None
    for place in places:
        try:
            return _towards(place)
        except Failure as failed:  # as on a machine without IPv6
            last = last or failed
    raise last or Failure("name", "the host has no address")


def _towards(place: Place) -> Datagrams:
    try:
        sock = socket.socket(place.family, socket.SOCK_DGRAM)
    except OSError as error:  # this machine does not speak IPv6
        raise _failed(error, place) from None
    try:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's own
        sock.connect(place.sockaddr)  # UDP: it waits for nothing
    except OSError as error:
        sock.close()
        raise _failed(error, place) from None
    return Datagrams(place, sock)


def _failed(error: OSError, place: Place) -> Failure:
    return failure(error, f"connecting to {place.address} port {place.port}")
