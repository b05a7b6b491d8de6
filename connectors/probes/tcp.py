"""`tcp`: a connection, with TLS where that is asked for, and what is said over it.

The one law: what is expected is looked for in all that has come since it was last found, and no more than 64 KiB of
it are kept. What never came is told by what came instead, just before the time is over.
"""

import asyncio
from typing import Any, ClassVar, Final

from pydantic import Field

from connectors.network.reach import Link, Reach
from connectors.network.targets import host_port, host_port_problem
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Probe
from connectors.probing.patterns import Expression, excerpt, expression
from rules.typed import OnOff, RegexText, Shape

ANSWER_BYTES_MAX: Final = 64 << 10
STEPS_MAX: Final = 100
SEND_CHARS_MAX: Final = 64 << 10
_TELLING_S: Final = 0.1  # before the timeout, to say what came instead; of a short one a tenth


class Step(Shape):
    """One step of the dialogue: first something is sent, then something is expected, then TLS begins."""

    send: str | None = Field(
        None, max_length=SEND_CHARS_MAX, description='sent as it stands; a line end is written in it: "QUIT\\r\\n"'
    )
    expect: RegexText | None = Field(
        None, description="RE2, looked for anywhere in what has come since the last that was; ^ and $ are ends of lines"
    )
    starttls: OnOff = Field("off", description="on: TLS begins after this step")


class Connector(Probe):
    """The probe `tcp`."""

    class Options(Shape):
        """What is said and expected, and whether within TLS."""

        dialogue: tuple[Step, ...] = Field((), max_length=STEPS_MAX, description="steps, in order")
        tls: OnOff = Field("off", description="on: TLS from the first byte on")
        server_name: str | None = Field(
            None,
            min_length=1,
            max_length=253,
            description="whom the certificate is to name; default: the target's host",
        )
        verify: OnOff = Field("on", description="off: any certificate will do")

    summary: ClassVar[str] = "a TCP connection, and what is said over it"
    target: ClassVar[str] = "HOST:PORT"
    example: ClassVar[str] = "db.example.test:5432"
    phases: ClassVar[dict[str, str]] = {
        "dns": "the name is resolved",
        "connect": "TCP connects",
        "tls": "the TLS handshake, where there is one",
        "dialogue": "the dialogue, without TLS handshakes in it",
    }
    proof: ClassVar[str] = "ca_bundle (whom to trust), certificate and key (of ours, where the server asks)"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        """Opens nothing."""
        self._options = options
        self._reach = reach
        self._credential = credential
        self._steps = tuple((one, _compiled(one.expect)) for one in options.dialogue)

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must have a host and a port."""
        return host_port_problem(target)

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        """A step does something, and TLS begins once."""
        within = options.tls == "on"
        for index, step in enumerate(options.dialogue):
            if step.send is None and step.expect is None and step.starttls == "off":
                return ("dialogue", index), "this step neither sends nor expects anything"
            if step.starttls == "on":
                if within:
                    return ("dialogue", index, "starttls"), "TLS has begun before"
                within = True
        if not within and (options.server_name is not None or options.verify == "off"):
            given = "verify" if options.server_name is None else "server_name"
            return (given,), f"{given} is of no use without tls: on, or starttls: on in the dialogue"
        return None

    def host(self, target: str) -> str:
        """The target's."""
        return host_port(target)[0]

    async def look(self, trial: Trial) -> None:
        """Connect, and go through the dialogue."""
        host, port = host_port(trial.target)
        link = await self._reach.connect(trial, host, port)
        try:
            if self._options.tls == "on":
                await self._secure(trial, link, host)
            heard = _Heard(link)
            for number, (step, expected) in enumerate(self._steps, 1):
                with trial.phase("dialogue"):
                    await self._step(trial, heard, step, expected, number)
                if step.starttls == "on":
                    heard.nothing_more()
                    await self._secure(trial, link, host)
        finally:
            link.close()

    async def _secure(self, trial: Trial, link: Link, host: str) -> None:
        context = self._reach.context(self._credential, verify=self._options.verify == "on")
        await self._reach.secure(trial, link, context, self._options.server_name or host)

    @staticmethod
    async def _step(trial: Trial, heard: "_Heard", step: Step, expected: Expression | None, number: int) -> None:
        if step.send is not None:
            await heard.link.send(step.send.encode("utf-8", "replace"))
        if expected is None:
            return
        try:
            async with asyncio.timeout(trial.left_s - min(_TELLING_S, trial.timeout_s / 10)):
                came = await heard.until(expected)
        except TimeoutError:
            if not heard.rest:
                raise Failure("timeout", f"step {number}: nothing came; /{expected.text}/ was expected") from None
            came = None
        if came is not None:
            trial.check(f"step {number}", True, f"step {number}: {excerpt(came)} came")  # noqa: FBT003 - it held
            return
        said = f"step {number}: /{expected.text}/ is not in {excerpt(heard.rest)}"
        trial.check(f"step {number}", False, said, "body")  # noqa: FBT003 - it did not
        raise Failure("body", said)


class _Heard:
    """What has come and was not yet expected."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.rest = b""

    async def until(self, expected: Expression) -> bytes | None:
        """What the expression matched; None: the other side ended without it. Raises Failure for too much."""
        while (found := expected.search(self.rest)) is None:
            data = await self.link.read()
            if not data:
                return None
            if len(self.rest) + len(data) > ANSWER_BYTES_MAX:
                said = f"more than {ANSWER_BYTES_MAX} bytes came without /{expected.text}/"
                raise Failure("limit", said)
            self.rest += data
        start, end = found
        matched = self.rest[start:end]
        line_end = self.rest.find(b"\n", end)
        self.rest = self.rest[line_end + 1 if line_end >= 0 else end :]
        return matched

    def nothing_more(self) -> None:
        """What came in plain text is never read as if it came in TLS."""
        if self.rest:
            raise Failure("answer", f"before TLS more came than was expected: {excerpt(self.rest)}")


def _compiled(text: str | None) -> Expression | None:
    return None if text is None else expression(text, lines=True)
