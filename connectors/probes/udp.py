"""`udp`: a datagram, and the answer to it, or at least that nobody refuses it.

The one law: UDP gives no sign of being heard. Where nothing is expected, "up" says no more than that no refusal came
back while it was waited for.
"""

import asyncio
import re
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from connectors.network.datagrams import Datagrams, datagrams
from connectors.network.reach import Reach
from connectors.network.targets import host_port, host_port_problem
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Probe
from connectors.probing.patterns import Expression, excerpt, expression
from rules.instants import SECOND
from rules.typed import LongSpanText, RegexText, Shape, TextOf
from rules.words import shown

SEND_BYTES_MAX: Final = 8 << 10
DATAGRAMS_MAX: Final = 100  # that may come without the one that is expected
_TELLING_S: Final = 0.1  # before the timeout, to say what came instead; of a short one a tenth
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2} ?)+")


def _bytes(text: str) -> str:
    if _HEX.fullmatch(text) is None or len(text) > 3 * SEND_BYTES_MAX:
        raise ValueError(f"{shown(text)} are no bytes in hexadecimal such as 1b0000 or 1b 00 00")
    return text


class Connector(Probe):
    """The probe `udp`."""

    class Options(Shape):
        """What is sent and expected."""

        send: str | None = Field(
            None, max_length=SEND_BYTES_MAX, description="the datagram, as it stands; default: an empty one"
        )
        send_hex: Annotated[str, TextOf(_bytes, "bytes in hexadecimal", pattern=f"^{_HEX.pattern}$")] | None = Field(
            None, description="the same for what is no text, byte by byte in hexadecimal digits"
        )
        expect: RegexText | None = Field(
            None, description="RE2, looked for anywhere in a datagram that comes back; without it none need come"
        )
        wait: LongSpanText = Field(
            SECOND, description="how long a refusal is waited for where nothing is expected; at most the timeout"
        )

    summary: ClassVar[str] = "a UDP port that answers, or at least refuses nothing"
    target: ClassVar[str] = "HOST:PORT"
    example: ClassVar[str] = "time.example.test:123"
    phases: ClassVar[dict[str, str]] = {
        "dns": "the name is resolved",
        "answer": "from sending until the answer, or until no refusal is waited for any more",
    }

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:  # noqa: ARG002 - UDP knows none
        """Opens nothing."""
        self._reach = reach
        self._wait_s = options.wait / SECOND
        plain = (options.send or "").encode("utf-8", "replace")
        self._sent = plain if options.send_hex is None else bytes.fromhex(options.send_hex)
        self._expected = None if options.expect is None else expression(options.expect)

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must have a host and a port."""
        return host_port_problem(target)

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        """It is one datagram."""
        if options.send is not None and options.send_hex is not None:
            return ("send_hex",), "give send or send_hex, not both"
        return None

    def host(self, target: str) -> str:
        """The target's."""
        return host_port(target)[0]

    async def look(self, trial: Trial) -> None:
        """Send it, and see."""
        host, port = host_port(trial.target)
        link = await datagrams(trial, self._reach, host, port)
        try:
            with trial.phase("answer"):
                await link.send(self._sent)
                if self._expected is None:
                    await self._unrefused(trial, link)
                else:
                    await self._answered(trial, link, self._expected)
        finally:
            link.close()

    async def _unrefused(self, trial: Trial, link: Datagrams) -> None:
        try:
            async with asyncio.timeout(min(self._wait_s, _telling_s(trial))):
                came = await link.receive()
        except TimeoutError:
            trial.check("refusal", True, "nothing came back, and no refusal")  # noqa: FBT003 - it held
        else:
            trial.check("refusal", True, f"{excerpt(came)} came back")  # noqa: FBT003 - it held

    @staticmethod
    async def _answered(trial: Trial, link: Datagrams, expected: Expression) -> None:
        came: bytes | None = None
        try:
            async with asyncio.timeout(_telling_s(trial)):
                for _ in range(DATAGRAMS_MAX):
                    came = await link.receive()
                    if expected.search(came) is not None:
                        trial.check("expect", True, f"{excerpt(came)} came back")  # noqa: FBT003 - it held
                        return
        except TimeoutError:
            if came is None:
                raise Failure("timeout", f"nothing came back; /{expected.text}/ was expected") from None
        trial.check("expect", False, f"/{expected.text}/ is not in {excerpt(came or b'')}", "body")  # noqa: FBT003 - it did not


def _telling_s(trial: Trial) -> float:
    return trial.left_s - min(_TELLING_S, trial.timeout_s / 10)
