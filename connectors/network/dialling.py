"""How a name becomes addresses and an address a connected socket, below `Reach`: the system's resolver, and the race.

The one law: whatever was begun ends with its caller: cancelled, no socket stays open; and a resolver that hangs holds
threads, never the loop and never the end of the process.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Final, NamedTuple, TypeVar, cast

STAGGER_S: Final = 0.25  # before the next address of a name is tried beside those that have not answered
NO_WAY: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL})
_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EINTR})

T = TypeVar("T")


class Place(NamedTuple):
    """An address that was resolved and may be reached."""

    family: socket.AddressFamily
    address: str  # numeric
    port: int
    sockaddr: tuple[str | int | bytes, ...]


class Threads:
    """So many threads at most, for calls that block. A caller that gives up leaves its thread to end by itself.

    They are daemon threads: the process does not wait for a call that hangs.
    """

    def __init__(self, name: str, threads_max: int) -> None:
        """`name`: of the threads."""
        self._name = name
        self._slots = asyncio.Semaphore(threads_max)
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()  # as long as there are slots
        self._threads = 0
        self._busy = 0

    async def run(self, call: Callable[[], T]) -> T:
        """What the call gives or raises; waits for a thread where all are busy."""
        loop = asyncio.get_running_loop()
        await self._slots.acquire()
        answer: asyncio.Future[T] = loop.create_future()

        def done(result: T | None, error: BaseException | None) -> None:
            self._busy -= 1
            self._slots.release()
            if answer.done():  # nobody waits any more
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(cast("T", result))

        self._busy += 1
        if self._busy > self._threads and not self._started() and not self._threads:
            self._busy -= 1
            self._slots.release()
            raise OSError(errno.EAGAIN, "this machine can start no thread")
        self._work.put(partial(_called, loop, call, done))
        return await answer

    def _started(self) -> bool:
        """Whether there is one thread more; where the machine refuses, those that are there do its work too."""
        thread = Thread(target=_serve, args=(self._work,), name=f"{self._name}_{self._threads + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._threads += 1
        return True

    def close(self) -> None:
        """Ends the threads, each after what it is at. Nothing is waited for."""
        threads, self._threads = self._threads, 0
        for _ in range(threads):
            self._work.put(None)
        self._work = SimpleQueue()  # of those who come later


def _serve(work: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (one := work.get()) is not None:
        one()


def _called(loop: asyncio.AbstractEventLoop, call: Callable[[], T], done: Callable[..., None]) -> None:
    result: T | None = None
    error: BaseException | None = None
    try:
        result = call()
    except BaseException as raised:  # noqa: BLE001 - handed to whoever asked
        error = raised
    try:
        loop.call_soon_threadsafe(done, result, error)
    except RuntimeError:  # the loop is closed, and with it whoever asked
        return


class NoWayError(Exception):
    """No connection to any address: the place that tells most of why, and its error."""

    def __init__(self, place: Place, error: OSError) -> None:
        """`error`: as the system named it."""
        super().__init__(str(error))
        self.place = place
        self.error = error


async def dialled(places: Sequence[Place], left_s: float) -> tuple[Place, socket.socket]:
    """The first TCP connection that comes about; those begun beside it are given up. Raises NoWayError.

    The places are tried in their order: the next when one fails, or `STAGGER_S` after one that does not answer, sooner
    where `left_s` would not give each its turn. While none answers it waits until it is cancelled.
    """
    loop = asyncio.get_running_loop()
    stagger_s = min(STAGGER_S, left_s / (len(places) + 1))
    begun: dict[socket.socket, Place] = {}
    refused: NoWayError | None = None
    try:
        for index, place in enumerate(places, 1):
            try:
                sock, connected = _begun(place)
            except OSError as error:
                refused = _telling(refused, place, error)
                continue
            if connected:  # at once, as is usual on one machine
                return place, sock
            begun[sock] = place
            while begun:
                ready = await _writable(loop, begun, stagger_s if index < len(places) else None)
                if ready is None:
                    break
                code = ready.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    return begun.pop(ready), ready
                refused = _failed(refused, begun, ready, code)
                if index < len(places):
                    break
    finally:
        for sock in begun:
            sock.close()
    if refused is None:
        raise ValueError("there is no place to connect to")
    raise refused


def _begun(place: Place) -> tuple[socket.socket, bool]:
    """A socket on its way there, and whether it has arrived. Raises OSError."""
    # With the protocol's number, asyncio turns Nagle's delays off where it makes a transport of it.
    sock = socket.socket(place.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP)
    try:
        code = sock.connect_ex(place.sockaddr)
        if code and code not in _UNDER_WAY:
            raise OSError(code, os.strerror(code))  # noqa: TRY301 - closed below, as after any other
    except BaseException:
        sock.close()
        raise
    return sock, not code


def _failed(
    refused: NoWayError | None, begun: dict[socket.socket, Place], sock: socket.socket, code: int
) -> NoWayError:
    place = begun.pop(sock)
    sock.close()
    return _telling(refused, place, OSError(code, os.strerror(code)))


def _telling(before: NoWayError | None, place: Place, error: OSError) -> NoWayError:
    """Which of two tells more: the later one, unless it only says that there is no way at all."""
    if before is not None and error.errno in NO_WAY:
        return before
    return NoWayError(place, error)


async def _writable(
    loop: asyncio.AbstractEventLoop, begun: Iterable[socket.socket], within_s: float | None
) -> socket.socket | None:
    """One of the sockets on which something happened; None: nothing did for so long."""
    happened: asyncio.Future[socket.socket | None] = loop.create_future()

    def tell(sock: socket.socket | None) -> None:
        if not happened.done():
            happened.set_result(sock)

    for sock in begun:
        loop.add_writer(sock.fileno(), tell, sock)
    timer = None if within_s is None else loop.call_later(within_s, tell, None)
    try:
        return await happened
    finally:
        if timer is not None:
            timer.cancel()
        for sock in begun:
            loop.remove_writer(sock.fileno())
