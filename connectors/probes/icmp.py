"""`icmp`: echoes of a host: how many get lost, and how long they take.

The one law: an echo is ours when its number is one that we sent and its content is the very content; the first of each
number counts, and what comes after `wait` is lost. No more is sent than `packets`, one each `gap`.

A socket that needs no privilege is tried first (the kernel asks `net.ipv4.ping_group_range`), then a raw one.
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import count
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from pydantic import Field

from connectors.network.reach import Place, Reach, failure
from connectors.network.targets import TARGET_CHARS_MAX, host_port_problem
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Probe
from rules.instants import MILLISECOND, SECOND, Span
from rules.typed import PercentText, Shape, SpanText, TextOf, one_of
from rules.words import shown

PACKETS_MAX: Final = 100
SIZE_MIN, SIZE_MAX = 16, 9_000  # of the content; the least holds the token
GAP_MIN: Final = 10 * MILLISECOND
FAMILIES: Final = ("any", "ipv4", "ipv6")
DATAGRAM_BYTES: Final = 65_535
STRANGERS_MAX: Final = 1_000  # packets read that are not ours
TOKEN_BYTES: Final = 16
_TELLING_S: Final = 0.1  # before the timeout, to say what came; of a short one a tenth
_HEAD: Final = struct.Struct("!BBHHH")  # type, code, checksum, id, sequence
_SOL_RAW: Final = 255  # linux/socket.h, as are the next two in icmp.h and icmpv6.h
_ICMP_FILTER: Final = 1
_ICMP6_FILTER: Final = 1
_NIBBLE: Final = 0x0F
_WORD: Final = 0xFFFF
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT})

Opener = Callable[[int, int, int], socket.socket]
_looks = count(1)  # tells our echoes from each other's; the process's number tells them from other programs'


class _Family(NamedTuple):
    protocol: int
    request: int
    reply: int


_FAMILIES: Final = {
    socket.AF_INET: _Family(socket.IPPROTO_ICMP, 8, 0),
    socket.AF_INET6: _Family(socket.IPPROTO_ICMPV6, 128, 129),
}


def _between(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
            raise ValueError(f"{shown(text)} is not a whole number from {least} to {most}")
        return int(text)

    return parse


def _bounded(least: int, most: int) -> TextOf[int]:
    return TextOf(_between(least, most), "whole number", type=["integer", "string"], minimum=least, maximum=most)


class Connector(Probe):
    """The probe `icmp`."""

    class Options(Shape):
        """What is sent, and what of it may get lost."""

        packets: Annotated[int, _bounded(1, PACKETS_MAX)] = Field(3, description="echoes that are asked for")
        size: Annotated[int, _bounded(SIZE_MIN, SIZE_MAX)] = Field(56, description="bytes that each carries")
        gap: SpanText = Field(200 * MILLISECOND, description="from one to the next; at least 10ms")
        wait: SpanText = Field(SECOND, description="how long the last one is waited for; at most the timeout")
        max_loss: PercentText | None = Field(
            None, description="more than this lost is a failure; default: all of them lost"
        )
        max_rtt: SpanText | None = Field(None, description="an average round trip above this is a failure")
        family: Annotated[str, one_of("family", FAMILIES)] = Field("any", description="any, ipv4 or ipv6")

    summary: ClassVar[str] = "echoes of a host (ping)"
    target: ClassVar[str] = "a host or an address"
    example: ClassVar[str] = "gateway.example.test"
    phases: ClassVar[dict[str, str]] = {
        "dns": "the name is resolved",
        "echo": "from the first echo asked for until the last has come, or is not waited for any more",
    }
    fields: ClassVar[dict[str, str]] = {
        "packet_loss_pct": "echoes that did not come, in percent",
        "rtt_min_ms": "shortest round trip, in milliseconds",
        "rtt_avg_ms": "average round trip, in milliseconds",
        "rtt_max_ms": "longest round trip, in milliseconds",
        "packets": "echoes that were asked for: fewer than wanted where the timeout leaves no room",
    }

    def __init__(
        self,
        options: Options,
        reach: Reach,
        credential: Credential | None = None,  # noqa: ARG002 - ICMP knows none
        *,
        opener: Opener = socket.socket,
    ) -> None:
        """`opener`: how a socket comes about. Opens nothing."""
        self._options = options
        self._reach = reach
        self._opener = opener

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must be a host, without a port."""
        bracketed = f"[{target}]" if ":" in target and not target.startswith("[") else target
        if len(target) > TARGET_CHARS_MAX or host_port_problem(f"{bracketed}:1") is not None:
            return "a target is a host or an address, and nothing else: ICMP knows no ports"
        return None

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        """No flood."""
        if options.packets > 1 and options.gap < GAP_MIN:
            return ("gap",), "must be at least 10ms"
        return None

    def host(self, target: str) -> str:
        """The target."""
        return target.strip("[]")

    async def look(self, trial: Trial) -> None:
        """Ask for all echoes, and count those that come."""
        host = trial.target.strip("[]")
        places = await self._reach.resolve(trial, host, 0, family=self._options.family, kind=socket.SOCK_DGRAM)
        place, sock, raw = self._open_first(places)
        try:
            with trial.phase("echo"):
                echoes = _Echoes(trial, place, sock, self._options, raw=raw)
                await echoes.gather()
        finally:
            sock.close()
        trial.values["socket"] = "raw" if raw else "unprivileged"
        self._judge(trial, echoes, place)

    def _open_first(self, places: Sequence[Place]) -> tuple[Place, socket.socket, bool]:
        """Towards the first address to which there is a way. Raises Failure."""
        last: Failure | None = None
        for place in places:
            try:
                return place, *self._open(place)
            except Failure as failed:  # as on a machine without IPv6
                last = last or failed
        raise last or Failure("name", "the host has no address")

    def _open(self, place: Place) -> tuple[socket.socket, bool]:
        """A connected socket, and whether it is a raw one. Raises Failure `forbidden` when neither is allowed."""
        protocol = _FAMILIES[place.family].protocol
        for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
            raw = kind == socket.SOCK_RAW
            try:
                sock = self._opener(place.family, kind, protocol)
            except OSError as error:
                if error.errno not in _REFUSED:  # this machine does not speak IPv6, or has no sockets left
                    raise failure(error, f"connecting to {place.address}") from None
                continue
            try:
                sock.setblocking(False)  # noqa: FBT003 - the standard library's own
                if raw:
                    _only_replies(sock, place.family)
                sock.connect(place.sockaddr)
            except OSError as error:
                sock.close()
                raise failure(error, f"connecting to {place.address}") from None
            return sock, raw
        said = "this system lets us send no ICMP: its group must be within the sysctl net.ipv4.ping_group_range"
        raise Failure("forbidden", f"{said} (such as '0 2147483647'), or ticketd needs the capability CAP_NET_RAW")

    def _judge(self, trial: Trial, echoes: "_Echoes", place: Place) -> None:
        sent, rtts_s = echoes.sent, echoes.rtts_s
        loss = 100 * (sent - len(rtts_s)) / sent
        trial.fields |= {"packet_loss_pct": loss, "packets": float(sent)}
        said = f"{len(rtts_s)} of {sent} echoes came from {place.address}"
        if not rtts_s:
            why = echoes.error or Failure("timeout", f"no echo came from {place.address}, of {sent} asked for")
            trial.check("loss", False, why.reason, why.outcome)  # noqa: FBT003 - it did not hold
            return
        average_s = sum(rtts_s) / len(rtts_s)
        for name, value_s in (("min", min(rtts_s)), ("avg", average_s), ("max", max(rtts_s))):
            trial.fields[f"rtt_{name}_ms"] = value_s * 1e3
        most = self._options.max_loss
        held = most is None or loss <= most
        trial.check("loss", held, said if held else f"{said}: {loss:g}% lost, more than {most:g}%", "value")
        most_rtt: Span | None = self._options.max_rtt
        if most_rtt is not None:
            held = average_s * SECOND <= most_rtt
            said = f"a round trip takes {average_s * 1e3:.3g} ms on average"
            said = said if held else f"{said}, more than {most_rtt / MILLISECOND:g} ms"
            trial.check("rtt", held, said, "value")


class _Echoes:
    """The echoes of one look: asked for by the clock, and taken as they come."""

    def __init__(self, trial: Trial, place: Place, sock: socket.socket, options: Any, *, raw: bool) -> None:
        self.error: Failure | None = None  # what the network said last
        self._trial = trial
        self._place = place
        self._socket = sock
        self._raw = raw
        self._gap_s = options.gap / SECOND
        self._wait_s = options.wait / SECOND
        number = next(_looks)
        self._id = (os.getpid() * 31 + number) & _WORD
        # Tells our echoes from those of other programs on the same raw socket, or of an earlier look.
        seed = f"{os.getpid()} {number} {trial.now} {trial.target}".encode()
        token = blake2b(seed, digest_size=TOKEN_BYTES).digest()
        self._content = (token * (options.size // TOKEN_BYTES + 1))[: options.size]
        self._sent_s: list[float] = []  # when, by sequence number
        self._came_s: dict[int, float] = {}
        self._packets = options.packets

    @property
    def sent(self) -> int:
        """How many were asked for: fewer than `packets` where the timeout leaves no room."""
        return len(self._sent_s)

    @property
    def rtts_s(self) -> list[float]:
        """The round trips of all that came."""
        return list(self._came_s.values())

    async def gather(self) -> None:
        """Ask for all, and take what comes."""
        loop = asyncio.get_running_loop()
        began_s = self._trial.monotonic()
        over_s = began_s + self._trial.left_s - min(_TELLING_S, self._trial.timeout_s / 10)
        for sequence in range(self._packets):
            await self._send(loop, sequence)
            last = sequence == self._packets - 1
            until_s = self._sent_s[-1] + self._wait_s if last else began_s + (sequence + 1) * self._gap_s
            await self._receive(loop, min(until_s, over_s), everything=last)
            if self._trial.monotonic() >= over_s:
                return

    async def _send(self, loop: asyncio.AbstractEventLoop, sequence: int) -> None:
        packet = request(self._place.family, self._id, sequence, self._content)
        self._sent_s.append(self._trial.monotonic())
        try:
            await loop.sock_sendall(self._socket, packet)
        except OSError as error:
            self.error = failure(error, f"connecting to {self._place.address}")

    async def _receive(self, loop: asyncio.AbstractEventLoop, until_s: float, *, everything: bool) -> None:
        """Takes what comes until then; `everything`: no longer than until all have come."""
        for _ in range(STRANGERS_MAX):
            left_s = until_s - self._trial.monotonic()
            if left_s <= 0 or (everything and len(self._came_s) == self._packets):
                return
            try:
                async with asyncio.timeout(left_s):
                    data = await loop.sock_recv(self._socket, DATAGRAM_BYTES)
            except TimeoutError as error:
                if error.errno is None:  # ours, not the network's ETIMEDOUT
                    return
                self.error = failure(error, f"connecting to {self._place.address}")
            except OSError as error:
                self.error = failure(error, f"connecting to {self._place.address}")
            else:
                self._take(data, self._trial.monotonic())

    def _take(self, data: bytes, now_s: float) -> None:
        own_id = self._id if self._raw else None  # the kernel gives an unprivileged socket an id of its own
        sequence = reply(self._place.family, data, own_id, self._content, raw=self._raw)
        if sequence is not None and sequence < len(self._sent_s):
            self._came_s.setdefault(sequence, now_s - self._sent_s[sequence])


def request(family: int, own_id: int, sequence: int, content: bytes) -> bytes:
    """An echo request. For IPv6 the kernel writes the checksum."""
    kind = _FAMILIES[socket.AddressFamily(family)].request
    bare = _HEAD.pack(kind, 0, 0, own_id, sequence) + content
    checked = checksum(bare) if family == socket.AF_INET else 0
    return _HEAD.pack(kind, 0, checked, own_id, sequence) + content


def reply(family: int, data: bytes, own_id: int | None, content: bytes, *, raw: bool) -> int | None:
    """The sequence number of a packet that is an echo of ours; None: it is another's. `own_id` None: any id."""
    if raw and family == socket.AF_INET and data:
        data = data[(data[0] & _NIBBLE) * 4 :]  # a raw IPv4 socket also gives the IP header
    if len(data) < _HEAD.size:
        return None
    kind, code, _, its_id, sequence = _HEAD.unpack_from(data)
    fits = kind == _FAMILIES[socket.AddressFamily(family)].reply and code == 0 and data[_HEAD.size :] == content
    return sequence if fits and own_id in {None, its_id} else None


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > _WORD:
        total = (total & _WORD) + (total >> 16)
    return ~total & _WORD


def _only_replies(sock: socket.socket, family: int) -> None:
    """Keeps all but echo replies and errors away from a raw socket: it would see every ICMP packet of its peer."""
    reply_kind = _FAMILIES[socket.AddressFamily(family)].reply
    if family == socket.AF_INET:
        blocked = ~(1 << reply_kind) & 0xFFFF_FFFF
        sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", blocked))
    else:
        words = [0xFFFF_FFFF] * 8  # a bit set keeps its type away
        words[reply_kind // 32] &= ~(1 << reply_kind % 32)
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))
