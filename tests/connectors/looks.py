"""One look of a kind of probe, as whoever runs it takes one; and what the other side of a look is made of.

Law: everything is on 127.0.0.1, each server on a free port for as long as its block lasts.
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from connectors.network.guard import Guard
from connectors.network.reach import Place, Reach
from connectors.network.trial import Credential, Failure, Trial
from rules.instants import Instant, parse_instant

HOST = "127.0.0.1"
NOW = parse_instant("2026-01-31T10:00:00Z")
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def look(
    kind: Any,
    target: str,
    options: Mapping[str, Any] | None = None,
    *,
    credential: Credential | None = None,
    timeout_s: float = 5.0,
    now: Instant = NOW,
    guard: Guard | None = None,
    **given: Any,
) -> Trial:
    """One look of a class `Connector`; `options` as a policy file has them, `given` goes to the constructor."""
    assert kind.target_problem(target) is None
    parsed = kind.Options.model_validate(options or {})
    assert kind.options_problem(parsed) is None
    reach = Reach(guard or Guard(allow=("loopback",)), resolver=_hosts)
    probe = kind(parsed, reach, credential, **given)
    trial = Trial(target, labels={}, timeout_s=timeout_s, now=now, monotonic=time.monotonic)
    try:
        async with asyncio.timeout(timeout_s):
            await probe.look(trial)
    except Failure as failed:
        trial.failed(failed.outcome, failed.reason)
    except TimeoutError:
        trial.failed("timeout", f"timed out while in {trial.current}")
    finally:
        await probe.close()
        await reach.close()
    assert trial.fields.keys() <= kind.fields.keys()
    assert trial.phases.keys() <= kind.phases.keys()
    assert all(seconds >= 0 for seconds in trial.phases.values())
    return trial


async def _hosts(host: str, port: int, family: int, _kind: int) -> list[Place]:
    """The names that the tests know; no real resolver is asked."""
    if host != "here.test" or family == socket.AF_INET6:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [Place(socket.AF_INET, HOST, port, (HOST, port))]


def mistake(kind: Any, options: Mapping[str, Any]) -> str:
    """What is wrong between these options: `path: why`; "" for nothing."""
    found = kind.options_problem(kind.Options.model_validate(options))
    return "" if found is None else f"{'.'.join(map(str, found[0]))}: {found[1]}"


@contextlib.asynccontextmanager
async def serving(talk: Talk, **settings: Any) -> AsyncIterator[str]:
    """A TCP server that has this talk with everyone; its HOST:PORT. `settings`: of `asyncio.start_server`."""
    open_: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_[writer] = asyncio.current_task()
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await talk(reader, writer)

    server = await asyncio.start_server(met, HOST, 0, **settings)
    try:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer, task in open_.items():
            if task is not None:  # first, since a handshake that is aborted leaves its writer without a transport
                task.cancel()
                await asyncio.wait((task,))
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)  # the transports' last words


def saying(*parts: bytes, then: str = "wait") -> Talk:
    """A server that says this at once, whatever it hears; then it waits, ends, or resets the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
        await writer.drain()
        if then == "reset":
            reset(writer)
            return
        if then == "end":  # and hear the other side out: to leave before that would be a reset
            writer.write_eof()
        await reader.read(-1)

    return talk


def reset(writer: asyncio.StreamWriter) -> None:
    """Cuts a connection as a firewall does."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes], list[bytes]]) -> None:
        self._answer = answer
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for one in self._answer(data):
            self._transport.sendto(one, addr)


@contextlib.asynccontextmanager
async def answering(answer: Callable[[bytes], list[bytes]], port: int = 0) -> AsyncIterator[str]:
    """A UDP server that answers each datagram with these; its HOST:PORT."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(answer), (HOST, port))
    try:
        yield f"{HOST}:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()
        await asyncio.sleep(0)
