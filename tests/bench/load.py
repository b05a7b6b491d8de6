"""The load: N connections over raw asyncio, each posting its next body as soon as the last was answered.

The one law: a body counts when its whole answer is read and says 200; any other answer ends the measurement. The load
is closed (nobody sends faster than he is answered), so latencies say what a sender sees at saturation.
"""

import asyncio
import gc
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import cast

HOST = "127.0.0.1"
ANSWER_S_MAX = 30.0


class LoadError(Exception):
    """A server did not answer as it must."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One round. Latencies from the last byte handed over to the last byte of the answer."""

    bodies: int
    seconds: float
    p50_ms: float
    p99_ms: float
    load: float  # CPU share of the load itself; near 1 it measures itself

    @property
    def rate(self) -> float:
        """Bodies a second."""
        return self.bodies / self.seconds


@dataclass(slots=True)
class _Round:
    head: bytes
    bodies: Iterator[bytes]
    until: float
    done: asyncio.Future[None]
    open: int
    latencies: list[float]

    def fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(LoadError(why))


class _Sender(asyncio.Protocol):
    """One connection."""

    def __init__(self, round_: _Round) -> None:
        self._round = round_
        self._transport: asyncio.Transport | None = None
        self._sent_at = 0.0
        self._have = b""
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def _next(self) -> None:
        round_, transport = self._round, self._transport
        body = next(round_.bodies, None) if time.perf_counter() < round_.until else None
        if transport is None or body is None:
            self._end()
            return
        request = round_.head % len(body) + body if round_.head else body
        self._sent_at = time.perf_counter()
        transport.write(request)

    def data_received(self, data: bytes) -> None:
        have = self._have + data
        at = have.find(b"\r\n\r\n")
        if at < 0:
            self._have = have
            return
        start = have.find(b"Content-Length: ") + 16
        length = int(have[start : have.find(b"\r", start)])
        if len(have) < at + 4 + length:
            self._have = have
            return
        if not have.startswith(b"HTTP/1.1 200"):
            self._round.fail(f"answered {have[:400]!r}")
            return
        self._have = b""
        self._round.latencies.append(time.perf_counter() - self._sent_at)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over:
            self._round.fail(f"a connection was closed by the server: {exc!r}")

    def _end(self) -> None:
        self._over = True
        if self._transport is not None:
            self._transport.close()
        self._round.open -= 1
        if self._round.open == 0 and not self._round.done.done():
            self._round.done.set_result(None)


def _posting(port: int, path: str) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nUser-Agent: Alertmanager/0.27.0\r\n"
        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    ).encode()


async def _drive(port: int, head: bytes, bodies: Iterator[bytes], connections: int, seconds: float) -> Measured:
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    cpu = _cpu_s()
    round_ = _Round(head, bodies, started + seconds, loop.create_future(), connections, [])
    for _ in range(connections):
        await loop.create_connection(lambda: _Sender(round_), HOST, port)
    async with asyncio.timeout(seconds + ANSWER_S_MAX):
        await round_.done
    took = time.perf_counter() - started
    latencies = sorted(round_.latencies)
    if not latencies:
        raise LoadError("nothing was answered")
    return Measured(
        bodies=len(latencies),
        seconds=took,
        p50_ms=latencies[len(latencies) // 2] * 1e3,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1e3,
        load=(_cpu_s() - cpu) / took,
    )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def drive(port: int, path: str, bodies: Iterator[bytes], connections: int, seconds: float) -> Measured:
    """Posts for so long. Raises LoadError, or TimeoutError for an answer that never came."""
    return _driven(port, _posting(port, path), bodies, connections, seconds)


def ask(port: int, requests: Iterator[bytes], connections: int, seconds: float) -> Measured:
    """The same with whole requests, head and body, for so long or until there are no more of them."""
    return _driven(port, b"", requests, connections, seconds)


def _driven(port: int, head: bytes, bodies: Iterator[bytes], connections: int, seconds: float) -> Measured:
    gc.collect()
    gc.disable()  # a pause of the load's own is nobody's latency
    try:
        return asyncio.run(_drive(port, head, bodies, connections, seconds))
    finally:
        gc.enable()


def post(port: int, path: str, bodies: Iterator[bytes], count: int, connections: int) -> Measured:
    """Posts exactly `count` bodies, however long it takes (at most ten minutes)."""
    return drive(port, path, islice(bodies, count), connections, 600.0)
