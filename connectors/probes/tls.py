"""`tls`: what a server shows of itself in a TLS handshake: until when it is good, for whom, by whom, how new.

The one law: OpenSSL decides whether a certificate is trusted. Where it says no, a second handshake without any check
reads what stands there, so that the reason is exact: expired on a day, for other names, self-signed, of an unknown
issuer, in a protocol too old. Nothing is ever said over that second connection.
"""

import asyncio
import ssl
from typing import Annotated, ClassVar, Final

from pydantic import Field

from connectors.net import plain
from connectors.network.reach import Reach
from connectors.network.targets import host_port, host_port_problem
from connectors.network.trial import Credential, Failure, Trial
from connectors.network.wire import Wire
from connectors.probing.base import Probe
from connectors.probing.certificates import Chain, chain_of, lenient, protocol, verdict
from connectors.probing.starttls import PROTOCOLS, begin
from rules.instants import DAY
from rules.typed import OnOff, Shape, WholeText, one_of

VERSIONS: Final = {
    "1.0": None, "1.1": None, "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3,
}  # fmt: skip
_EXAMINE_SHARE: Final = 0.8  # of the time that is left


class Connector(Probe):
    """The probe `tls`."""

    class Options(Shape):
        """What is asked of the certificate and of the session."""

        days_left: WholeText = Field(0, description="so many days at least before the first of the chain expires")
        server_name: str | None = Field(
            None,
            min_length=1,
            max_length=253,
            description="whom the certificate is to name; default: the target's host",
        )
        verify: OnOff = Field("on", description="off: it does not matter who vouches for the certificate, and for whom")
        min_version: Annotated[str, one_of("version of TLS", VERSIONS)] = Field(
            "1.2", description="the oldest version of TLS that is accepted; with 1.0 and 1.1 also weak keys and ciphers"
        )
        starttls: Annotated[str, one_of("protocol with STARTTLS", PROTOCOLS)] | None = Field(
            None, description="the protocol in which TLS is asked for; default: TLS from the first byte on"
        )

    summary: ClassVar[str] = "a server's certificate and its TLS"
    target: ClassVar[str] = "HOST:PORT"
    example: ClassVar[str] = "shop.example.test:443"
    phases: ClassVar[dict[str, str]] = {
        "dns": "the name is resolved",
        "connect": "TCP connects",
        "starttls": "TLS is asked for in the protocol's own words",
        "tls": "the TLS handshake",
        "examine": "a second handshake that trusts anybody, only to read why the first failed",
    }
    fields: ClassVar[dict[str, str]] = {
        "cert_valid": "1 when chain, name and dates are right, else 0; absent where nothing is verified",
        "cert_days_left": "days until the first certificate of the chain expires; negative after that",
        "chain_length": "certificates that the server sends",
        "protocol": "version of TLS, such as 1.3",
        "key_bits": "size of the key of the server's certificate, in bits",
    }
    proof: ClassVar[str] = "ca_bundle (whom to trust), certificate and key (of ours, where the server asks)"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        """Opens nothing."""
        import cryptography.x509  # noqa: F401, PLC0415 - only where TLS is looked at, and no look waits for it

        self._options = options
        self._reach = reach
        self._credential = credential

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must have a host and a port."""
        return host_port_problem(target)

    def host(self, target: str) -> str:
        """The target's."""
        return host_port(target)[0]

    async def look(self, trial: Trial) -> None:
        """One handshake, and a second one where the first fails."""
        host, port = host_port(trial.target)
        name = (self._options.server_name or host).removesuffix(".")  # as it stands in certificates
        wire = await Wire.open(self._reach, trial, host, port)
        try:
            await self._begin(trial, wire)
            try:
                session = await wire.secure(trial, self._context(), name)
                self._judge(trial, session, name)
                return
            except Failure as failed:
                why = failed
        finally:
            wire.close()
        if why.outcome not in {"certificate", "tls", "reset"}:  # some servers just leave where no protocol is in common
            raise why
        await self._examine(trial, wire.place.address, port, name, why)

    async def _begin(self, trial: Trial, wire: Wire) -> None:
        if self._options.starttls is not None:
            with trial.phase("starttls"):
                await begin(wire, self._options.starttls)

    def _context(self) -> ssl.SSLContext:
        verify, oldest = self._options.verify == "on", VERSIONS[self._options.min_version]
        if oldest is None:
            return lenient(self._credential, verify=verify)
        return self._reach.context(self._credential, verify=verify, min_version=oldest)

    async def _examine(self, trial: Trial, address: str, port: int, name: str, why: Failure) -> None:
        """Read what the server has where the handshake failed. Raises `why` where there is nothing to add to it."""
        # Its phases are its own: this second connection says nothing of how fast the first was.
        second = Trial(trial.target, labels={}, timeout_s=trial.left_s, now=trial.now, monotonic=trial.monotonic)
        with trial.phase("examine"):
            try:
                async with asyncio.timeout(trial.left_s * _EXAMINE_SHARE):
                    wire = await Wire.open(self._reach, second, address, port)
                    try:
                        await self._begin(second, wire)
                        session = await wire.secure(second, lenient(self._credential), name)
                        chain, spoken = chain_of(session), protocol(session)
                    finally:
                        wire.close()
            except (Failure, TimeoutError):
                raise why from None
        self._judge_chain(trial, chain, name, why)
        self._judge_protocol(trial, spoken)
        trial.failed(why.outcome, why.reason)  # where it was none of all that

    def _judge(self, trial: Trial, session: ssl.SSLSocket, name: str) -> None:
        trial.values["cipher"] = (session.cipher() or ("none",))[0]
        self._judge_chain(trial, chain_of(session), name, None)
        self._judge_protocol(trial, protocol(session))

    def _judge_protocol(self, trial: Trial, spoken: float) -> None:
        trial.fields["protocol"] = spoken
        wanted = self._options.min_version
        held = spoken >= float(wanted)
        said = f"the server speaks TLS {spoken}"
        # Whoever answers can be reached: this is no "tls", which our own network could be the cause of.
        trial.check("protocol", held, said if held else f"{said} at most; at least {wanted} is wanted", "value")

    def _judge_chain(self, trial: Trial, chain: Chain, name: str, why: Failure | None) -> None:
        try:
            self._judge_certificates(trial, chain, name, why)
        except ValueError as error:  # parts of a certificate are read when they are asked for
            raise Failure("certificate", f"the certificate cannot be read: {plain(error)}") from None

    def _judge_certificates(self, trial: Trial, chain: Chain, name: str, why: Failure | None) -> None:
        trial.fields["cert_days_left"] = chain.days_left(trial.now)
        trial.fields["chain_length"] = float(len(chain))
        if chain.key_bits is not None:
            trial.fields["key_bits"] = float(chain.key_bits)
        trial.values |= {"names": ", ".join(chain.names), "issuer": chain.issuer}
        trial.check("expiry", *chain.expiry(trial.now, self._options.days_left * DAY), "certificate")
        if self._options.verify == "off":
            return
        distrusted = why is not None and why.outcome == "certificate"
        code, said = (verdict(why), why.reason) if why is not None and distrusted else (0, "")
        if why is None or distrusted:
            named = trial.check("name", *chain.name(name, code, trusted=why is None), "certificate")
            trusted = trial.check("trust", *chain.trust(code, said), "certificate")
            trial.fields["cert_valid"] = float(named and trusted and trial.fields["cert_days_left"] >= 0)
