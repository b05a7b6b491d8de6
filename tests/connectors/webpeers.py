"""Web servers for the tests of probes, in this process: each says exactly the bytes that it was told to say.

Law: a server answers only once a whole request has come, keeps every request, and ends only where the script says so.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.network.guard import Guard
from connectors.network.reach import Place, Reach
from connectors.network.trial import Credential, Failure, Found, Trial
from rules.instants import parse_instant
from tests.connectors.servers import CERTIFICATE, listening

NOW = parse_instant("2026-11-22T12:00:00Z")
ENDS = object()  # in a script: the connection ends properly
CUTS = object()  # in a script: the connection is reset
DROPS = object()  # in a script: the connection ends below TLS, which does not hear of it
Script = Sequence[Any]


class Scripted(asyncio.Protocol):
    """Says its script after each request: bytes one after the other, each in a turn of the loop of its own."""

    def __init__(self, site: "Site") -> None:
        self.site = site
        self.heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.site.connections += 1

    def data_received(self, data: bytes) -> None:
        self.heard += data
        head, found, body = self.heard.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if len(body) < int(headers.get("content-length", "0")):
            return
        self.site.requests.append((lines[0], headers, body))
        path = lines[0].split(" ")[1]
        self.play(list(self.site.scripts.get(path, self.site.script)))

    def play(self, rest: list[Any]) -> None:
        if not rest or self.transport.is_closing():
            return
        match rest.pop(0):
            case bytes() as data:
                self.transport.write(data)
            case word if word is ENDS:
                self.transport.close()
            case word if word is CUTS:
                sock = self.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.transport.abort()
            case word if word is DROPS:
                self.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
        asyncio.get_running_loop().call_soon(self.play, rest)


@dataclass(slots=True)
class Site:
    """A server's orders and its memory."""

    script: Script = ()
    scripts: Mapping[str, Script] = field(default_factory=dict)  # by path
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @contextlib.asynccontextmanager
    async def serve(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Site"]:
        async with listening(lambda: Scripted(self), tls) as self.port:
            yield self

    def url(self, path: str = "/", scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


def answer(body: bytes = b"ok", status: str = "200 OK", **headers: str) -> bytes:
    """An ordinary answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def redirect(to: str, status: str = "302 Found") -> bytes:
    """A redirect."""
    return answer(b"", status, Location=to)


def packed(body: bytes) -> bytes:
    """As gzip."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(body) + packer.flush()


def names(**known: str) -> Callable[..., Any]:
    """A resolver that knows these names, with _ for the dot."""

    async def resolve(host: str, port: int, family: int, kind: int) -> Sequence[Place]:
        address = known.get(host.replace(".", "_"))
        if address is None:
            raise OSError(-2, "Name or service not known")
        return [Place(socket.AF_INET, address, port, (address, port))]

    return resolve


async def look(
    kind: type[Any],
    target: str,
    options: Mapping[str, Any] | None = None,
    *,
    credential: Credential | None = None,
    timeout_s: float = 10.0,
    resolver: Any = None,
    allow: Sequence[str] = ("loopback",),
    monotonic: Callable[[], float] | None = None,
) -> Trial:
    """One look, as a runner takes it."""
    assert kind.target_problem(target) is None, kind.target_problem(target)
    chosen = kind.Options(**(options or {}))
    assert kind.options_problem(chosen) is None, kind.options_problem(chosen)
    reach = Reach(Guard(allow=allow), resolver=resolver)
    loop = asyncio.get_running_loop()
    trial = Trial(target, labels={}, timeout_s=timeout_s, now=NOW, monotonic=monotonic or loop.time)
    probe = kind(chosen, reach, credential)
    try:
        async with asyncio.timeout(timeout_s):
            await probe.look(trial)
    except Failure as failure:
        trial.failed(failure.outcome, failure.reason)
    except TimeoutError:
        trial.failed("timeout", f"timed out while in {trial.current}")
    finally:
        await probe.close()
        await reach.close()
    return trial


TRUSTED = Credential("test", ca=CERTIFICATE)


def series(trial: Trial) -> list[tuple[dict[str, str], dict[str, float]]]:
    """What was found, in an order of its own."""
    found: list[Found] = trial.series
    return sorted(((dict(one.labels), dict(one.fields)) for one in found), key=lambda one: sorted(one[0].items()))
