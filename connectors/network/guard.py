"""Which addresses may be reached from here: asked at connect, of the very address that is connected to.

The one law: what is asked about is an address, never a name: a name that resolves twice differently, a redirect, a
decimal or a mapped address all end as an address here. An address that carries another inside it (IPv4-mapped,
-translated and -compatible, 6to4, Teredo, NAT64, ISATAP) is also asked about as that one.

What is decided, in this order:

1. Whatever `forbid` names is refused, whatever else is said of it.
2. Whatever `allow` names may be reached. A metadata address is lifted only by a range of that one address, as each of
   those behind the word `metadata` is: whoever allows link-local neighbours does not hand out the machine's keys.
3. What lies in a range of `FORBIDDEN` is refused.
4. All else may be reached, private ranges included: name them in `forbid` where they are nobody's business.

An address that carries others must pass with each of them. A NAT64 prefix of one's own network cannot be known here: it
belongs into `forbid`.
"""

import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, NamedTuple

from rules.words import meant, shown

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Words for ranges; those of FORBIDDEN are refused unless config.toml allows them.
RANGES: Final[dict[str, tuple[str, ...]]] = {
    # This very machine: what listens there trusts whoever can reach it.
    "loopback": ("127.0.0.0/8", "::1/128"),
    # Neighbours on the same wire, among them most metadata services.
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    # Where a cloud hands out the machine's own keys: the common address with the first cloud's in IPv6 and its
    # container and pod credentials, then the others' own.
    "metadata": (
        "169.254.169.254/32", "fd00:ec2::254/128", "169.254.170.2/32", "169.254.170.23/32", "fd00:ec2::23/128",
        "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "169.254.0.23/32", "169.254.42.42/32",
        "fd00:42::42/128", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fe80::a9fe:a9fe/128",
    ),
    # "This network": Linux takes 0.0.0.0 and :: for this machine.
    "unspecified": ("0.0.0.0/8", "::/128"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    # Never given out; the last one is the broadcast to all.
    "reserved": ("240.0.0.0/4",),
    # What is not of the Internet: private use, carriers' own (100.64.0.0/10), unique local and the old site-local.
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"),
}  # fmt: skip
FORBIDDEN: Final = ("metadata", "loopback", "link-local", "unspecified", "multicast", "reserved")

_PORT: Final = re.compile(r"(?P<range>\[[^\]]*\]|[^:\[\]]+):(?P<port>[1-9][0-9]{0,4})", re.ASCII)
_PORT_MAX: Final = 65_535
_V4: Final = 0xFFFF_FFFF
_V4_BITS: Final = 32
# The 96 bits before an address that is carried at the end.
_MAPPED: Final = 0xFFFF  # ::ffff:0:0/96
_TRANSLATED: Final = 0xFFFF_0000  # ::ffff:0:0:0/96
_NAT64: Final = int(IPv6Address("64:ff9b::")) >> _V4_BITS
_NAT64_LOCAL: Final = int(IPv6Address("64:ff9b:1::")) >> 80  # a /48, in which sites choose their own prefix
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)  # in the middle of the interface's half
_SIXTOFOUR: Final = 0x2002
_TEREDO: Final = 0x2001_0000


@lru_cache(maxsize=4_096)
def _network(text: str) -> Network:
    return ip_network(text)


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses that are allowed or forbidden together; `port` 0: at any port."""

    said: str  # as it was written
    networks: tuple[str, ...]
    port: int = 0

    def holds(self, address: Address, port: int) -> bool:
        """Whether this address is one of them."""
        fits = not self.port or self.port == port
        return fits and any(address in network for network in map(_network, self.networks))


def parse_range(text: str) -> Range:
    """A word of RANGES, an address or a network (10.0.0.0/8), with or without :PORT. Raises ValueError."""
    found = _PORT.fullmatch(text)
    bare, port = (found["range"].strip("[]"), int(found["port"])) if found else (text.strip("[]"), 0)
    if port > _PORT_MAX:
        raise ValueError(f"{shown(text)}: there is no port {port}")
    if bare in RANGES:
        return Range(text, RANGES[bare], port)
    try:
        return Range(text, (str(ip_network("no zones" if "%" in bare else bare)),), port)
    except ValueError:
        said = f"{shown(text)} is no address, no network such as 10.0.0.0/8 and no word for one{meant(bare, RANGES)}"
        raise ValueError(said + _strict(bare)) from None


def _strict(text: str) -> str:
    """Which network was probably meant by one that has bits behind its prefix."""
    try:
        return f"; the network is {ip_network(text, strict=False)}"
    except ValueError:
        return ""


class _Test(NamedTuple):
    """One network of one range, as numbers. `alone`: it holds one address."""

    network: int
    mask: int
    port: int
    said: str
    alone: bool


class _Tests(NamedTuple):
    """What is asked about the addresses of one family, or of one first octet in it."""

    forbid: tuple[_Test, ...]
    allow: tuple[_Test, ...]
    default: tuple[_Test, ...]


class Guard:
    """What may be reached. `allow` lifts what is forbidden by default; what `forbid` names stays forbidden."""

    def __init__(self, allow: Iterable[str] = (), forbid: Iterable[str] = ()) -> None:
        """Texts as `parse_range` takes them. Raises ValueError."""
        given = [tuple(map(parse_range, texts)) for texts in (forbid, allow, FORBIDDEN)]
        met = [_by_first_octet(_tests(ranges, 4)) for ranges in given]
        self._v4 = tuple(_Tests(*map(tuple, tests)) for tests in zip(*met, strict=True))
        self._v6 = _Tests(*(tuple(_tests(ranges, 6)) for ranges in given))

    def refusal(self, address: str, port: int = 0) -> str | None:
        """Why this address may not be reached, as a sentence; None: it may. `port` 0: no port is meant, as in ICMP."""
        try:
            number = int.from_bytes(socket.inet_pton(socket.AF_INET, address))
        except (OSError, ValueError):
            return self._refusal_v6(address, port)
        why = _why(self._v4[number >> 24], number, port)
        return None if why is None else f"{address} is forbidden: {why}"

    def _refusal_v6(self, address: str, port: int) -> str | None:
        try:
            number = int.from_bytes(socket.inet_pton(socket.AF_INET6, address.partition("%")[0]))
        except (OSError, ValueError):
            return f"{shown(address)} is no address"
        why = _why(self._v6, number, port)
        if why is not None:
            return f"{IPv6Address(number)} is forbidden: {why}"
        for inner in _carried(number):
            why = _why(self._v4[inner >> 24], inner, port)
            if why is not None:
                return f"{IPv6Address(number)} (it means {IPv4Address(inner)}) is forbidden: {why}"
        return None


def _tests(ranges: Iterable[Range], version: int) -> Iterator[_Test]:
    for one in ranges:
        for network in map(_network, one.networks):
            if network.version == version:
                alone = network.prefixlen == network.max_prefixlen
                yield _Test(int(network.network_address), int(network.netmask), one.port, one.said, alone)


def _by_first_octet(tests: Iterable[_Test]) -> list[list[_Test]]:
    """For each first octet of an IPv4 address, those that it can meet."""
    met: list[list[_Test]] = [[] for _ in range(256)]
    for one in tests:
        for octet in range(one.network >> 24, ((one.network | ~one.mask & _V4) >> 24) + 1):
            met[octet].append(one)
    return met


def _why(tests: _Tests, number: int, port: int) -> str | None:
    for network, mask, only, said, _ in tests.forbid:
        if number & mask == network and (not only or only == port):
            return f"[probing] forbid names {said}"
    found = None
    for network, mask, _, said, _ in tests.default:
        if number & mask == network:
            found = said  # the first: metadata before link-local
            break
    else:
        return None
    for network, mask, only, _, alone in tests.allow:
        if number & mask == network and (not only or only == port) and (alone or found != "metadata"):
            return None
    article = "an" if found[0] in "aeiou" else "a"
    by = " by its word or address" if found == "metadata" else ""
    return f"it is {article} {found} address; [probing] allow can lift that{by}"


def _carried(number: int) -> Iterator[int]:
    """The IPv4 addresses inside an IPv6 address."""
    prefix, last = number >> _V4_BITS, number & _V4
    at_end = prefix in {_MAPPED, _TRANSLATED, _NAT64} or prefix & _V4 in _ISATAP
    if at_end or (not prefix and last > 1):  # :: and ::1 carry nothing
        yield last
    if number >> 112 == _SIXTOFOUR:
        yield number >> 80 & _V4
    elif number >> 96 == _TEREDO:
        yield number >> 64 & _V4  # its server
        yield ~number & _V4  # its client
    elif number >> 80 == _NAT64_LOCAL:
        # Where in it the address stands depends on the site's prefix, and the octet of bits 64 to 71 is left out. What
        # would begin with 0 is the filling of another form.
        packed = (number >> 64 & 0xFFFF_FFFF_FFFF_FFFF) << 56 | number & 0xFF_FFFF_FFFF_FFFF
        yield from (one for one in (packed >> 40 & _V4, packed >> 32 & _V4, packed >> 24 & _V4, last) if one >> 24)
