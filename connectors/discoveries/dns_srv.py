"""`dns_srv`: targets from DNS SRV records, HOST:PORT of each.

The one law: a name that does not exist, or whose servers do not answer, says what it said last, since that is what a
mistake looks like; one that exists without SRV records, or that says "." as the service's host, has no targets.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import Field

from connectors.net import plain
from connectors.network.reach import Reach
from connectors.network.targets import host_port
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Discovery
from connectors.probing.target_groups import once
from rules.instants import SECOND
from rules.policy import ProbeTarget
from rules.typed import LongSpanText, Shape
from rules.words import on_a_line

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

PORT: Final = 53
NAMES_MAX: Final = 100


class Connector(Discovery):
    """The discovery `dns_srv`."""

    class Options(Shape):
        """Which names, and who is asked."""

        names: list[str] = Field(
            min_length=1, max_length=NAMES_MAX, description="whole names of SRV records, such as _web._tcp.example.test"
        )
        server: str = Field("", description="who is asked, HOST or HOST:PORT; default: the system's resolvers")
        refresh: LongSpanText = Field(30 * SECOND, description="how often they are asked for")

    summary: ClassVar[str] = "DNS SRV records"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:  # noqa: ARG002 - DNS knows none
        """Opens nothing."""
        self._names = tuple(dict.fromkeys(options.names))
        self._server = options.server
        self._reach = reach
        self._last: dict[str, tuple[ProbeTarget, ...]] = {}

    async def find(self, trial: Trial) -> Sequence[ProbeTarget]:
        """The targets of all names. A name that fails fails the look, and what it said last is among them."""
        resolver = await self._resolver(trial)
        found: list[ProbeTarget] = []
        for name in self._names:
            try:
                self._last[name] = await _asked(resolver, name, trial)
            except Failure as failure:
                trial.failed(failure.outcome, failure.reason)
            found += self._last.get(name, ())
        return once(found)

    async def _resolver(self, trial: Trial) -> "Resolver":
        import dns.asyncresolver  # noqa: PLC0415 - heavy: only where somebody discovers by DNS
        import dns.exception  # noqa: PLC0415 - the same
        import dns.resolver  # noqa: PLC0415 - the same

        try:
            if not self._server:
                return dns.asyncresolver.Resolver()
            host, port = host_port(self._server, PORT)
            resolver = dns.asyncresolver.Resolver(configure=False)
            resolver.nameservers = [one.address for one in await self._reach.resolve(trial, host, port)]
            resolver.port = port
            return resolver
        except (dns.exception.DNSException, ValueError) as error:
            raise Failure("name", f"it is not known whom to ask: {plain(error)}") from None

    async def close(self) -> None:
        """Holds nothing."""


async def _asked(resolver: "Resolver", name: str, trial: Trial) -> tuple[ProbeTarget, ...]:
    """The targets that one name has. Raises Failure."""
    import dns.exception  # noqa: PLC0415 - loaded by then
    import dns.resolver  # noqa: PLC0415 - the same

    shown = on_a_line(name)
    try:
        # No search list: a name is whole. What is left of the time is the resolver's.
        answer = await resolver.resolve(f"{name.rstrip('.')}.", "SRV", lifetime=max(0.1, trial.left_s), search=False)
    except dns.resolver.NoAnswer:
        return ()
    except dns.resolver.NXDOMAIN:
        raise Failure("name", f"{shown} does not exist") from None
    except dns.exception.Timeout:
        raise Failure("timeout", f"nobody answered in time what SRV records {shown} has") from None
    except (dns.exception.DNSException, OSError, UnicodeError, ValueError) as error:
        raise Failure("name", f"{shown} cannot be looked up: {plain(error) or type(error).__name__}") from None
    places = sorted({(str(one.target).rstrip(".").lower(), int(one.port)) for one in answer})
    return once(ProbeTarget(f"{host}:{port}") for host, port in places if host and port)
