"""What a kind of probe is, and what one look at one target gathers.

The one law: a look that does not hold says so in a word of `OUTCOMES`, which is counted, and in a sentence for people
without secrets; a look that holds says nothing. A kind decides what is up and what is down; it never decides what
becomes of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Protocol

from rules.model import Noun

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from connectors.network.reach import Reach
    from rules.instants import Instant
    from rules.model import Labels
    from rules.policy import ProbeTarget
    from rules.typed import Shape

UP: Final = "up"
OUTCOMES: Final[Mapping[str, str]] = {
    UP: "every check held",
    "name": "the name could not be resolved",
    "refused": "the connection was refused",
    "unreachable": "there is no way to the address",
    "reset": "the connection was cut",
    "timeout": "not done within the timeout",
    "tls": "no TLS session came about",
    "certificate": "the certificate is not to be trusted, or not for long",
    "login": "who we are was not accepted",
    "answer": "the answer is not what the protocol allows",
    "status": "the answer says that it does not work",
    "header": "a header is not as it should be",
    "body": "the content is not as it should be",
    "value": "a value is missing or not as it should be",
    "limit": "the answer is larger than is read",
    "forbidden": "the address may not be probed, or what was asked for is not allowed",
    "exit": "the program says that it does not work",
    "failed": "the probe itself failed",
}
# What a failure of our own network looks like. Whoever answers, however badly, can be reached.
NETWORK: Final = frozenset({"name", "refused", "unreachable", "reset", "timeout", "tls"})
SERIES_MAX: Final = 1_000  # samples of one look
FOUND_MAX: Final = 100_000  # targets of one discovery


class Failure(Exception):  # noqa: N818 - what failed is the target
    """The look cannot go on: why, as a word of OUTCOMES and as a sentence."""

    def __init__(self, outcome: str, reason: str) -> None:
        """`reason` is one sentence for people, without secrets."""
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


class Check(NamedTuple):
    """One thing that was looked at: what it is called, whether it held, and what was seen against what is wanted."""

    name: str
    held: bool
    said: str


class Found(Noun, frozen=True):
    """One series among several that one look found: its own labels and fields."""

    labels: Labels
    fields: Mapping[str, float]


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """A table `[credentials.NAME]` of config.toml. It is never shown."""

    name: str
    username: str = ""
    password: str = ""
    token: str = ""
    certificate: Path | None = None  # of ours, PEM
    key: Path | None = None  # of that certificate
    ca: Path | None = None  # whom to trust instead of the system's, PEM


class _Phase:
    """A part of a look, while it lasts. No generator: each look makes some, and that would cost three times as much."""

    __slots__ = ("_began_s", "_name", "_outer", "_trial")

    def __init__(self, trial: Trial, name: str) -> None:
        self._trial = trial
        self._name = name

    def __enter__(self) -> None:
        trial = self._trial
        self._outer = trial.current
        trial.current = self._name
        self._began_s = trial.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        trial, name = self._trial, self._name
        trial.phases[name] = trial.phases.get(name, 0.0) + trial.monotonic() - self._began_s
        if kind is None:
            trial.current = self._outer


class Trial:
    """One look at one target: a kind writes here what it sees.

    `fields` are the sample's, beside `up`, `latency_ms` and one `PHASE_ms` for each phase, which whoever runs the look
    adds. `series`: what becomes a sample of its own (`SERIES_MAX` at most). `values` are texts that only `ticketd probe
    run` shows.
    """

    __slots__ = (
        "checks", "current", "fields", "labels", "monotonic", "note", "now", "outcome", "phases", "series", "started_s",
        "target", "timeout_s", "values",
    )  # fmt: skip

    def __init__(
        self, target: str, *, labels: Labels, timeout_s: float, now: Instant, monotonic: Callable[[], float]
    ) -> None:
        """It begins now: `timeout_s` from here."""
        self.target = target
        self.labels = labels
        self.timeout_s = timeout_s
        self.now = now
        self.monotonic = monotonic
        self.started_s = monotonic()
        self.outcome = UP
        self.note = ""
        self.fields: dict[str, float] = {}
        self.phases: dict[str, float] = {}  # seconds, in the order in which they began
        self.checks: list[Check] = []
        self.series: list[Found] = []
        self.values: dict[str, str] = {}
        self.current = ""  # the phase that is going on

    @property
    def left_s(self) -> float:
        """What is left of the timeout, never below 0."""
        return max(0.0, self.started_s + self.timeout_s - self.monotonic())

    def phase(self, name: str) -> _Phase:
        """Measures a part of the look: `with trial.phase("connect"):`. What bears one name adds up.

        One that is broken off is measured too, and stays `current`, so that a timeout says in which phase it came.
        """
        return _Phase(self, name)

    def check(self, name: str, held: bool, said: str, outcome: str = "answer") -> bool:  # noqa: FBT001 - it is the verdict
        """Notes a check; the first that does not hold is the outcome of the look. Gives `held` back."""
        self.checks.append(Check(name, held, said))
        if not held:
            self.failed(outcome, said)
        return held

    def failed(self, outcome: str, reason: str) -> None:
        """The look does not hold. Only the first reason is kept."""
        if self.outcome == UP:
            self.outcome, self.note = outcome, reason


class Probe(Protocol):
    """A kind of probe: one file in `connectors/probes/`, named after it, with one class `Connector`.

    One instance serves all targets of one probe of a policy file, many at a time.
    """

    Options: ClassVar[type[Shape]]  # what may stand under the kind's name in a policy file
    summary: ClassVar[str]  # what it looks at, in a line
    target: ClassVar[str]  # what a target is: "a URL, such as https://shop.example.test/health"
    example: ClassVar[str]  # a target
    phases: ClassVar[Mapping[str, str]] = {}  # the phases it measures -> what happens in them
    fields: ClassVar[Mapping[str, str]] = {}  # what it writes beside those that all do -> meaning, with its unit
    open_fields: ClassVar[bool] = False  # whether its options, or what it looks at, name further fields
    proof: ClassVar[str] = ""  # what it takes from a credential: "username and password"; "": it knows none
    runs_programs: ClassVar[bool] = False  # then config.toml must allow it

    def __init__(self, options: Any, reach: Reach, credential: Credential | None = None) -> None: ...

    @staticmethod
    def target_problem(target: str) -> str | None:
        """Why this cannot be a target of this kind, or None. It says nothing of whether it is there."""
        ...

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:  # noqa: ARG004 - most have none
        """What is wrong between options that are right by themselves: the path from the kind's map, and why."""
        return None

    def host(self, target: str) -> str:
        """What the limit per host counts by: the host's name or address; "" for what bothers nobody."""
        ...

    async def look(self, trial: Trial) -> None:
        """Look once at `trial.target` and write what is seen. Raises Failure when it cannot go on.

        Whoever calls it ends it after `trial.timeout_s` by cancelling; then, as always, it leaves no connection, no
        process and no thread behind. Every connection comes from `Reach`. Answers are bounded.
        """
        ...

    async def close(self) -> None:
        """Releases what it holds beyond a look."""


class Discovery(Protocol):
    """Where targets are found: one file in `connectors/discoveries/`, named after the kind, with one class `Connector`.

    Options may have `refresh`: how long what was found holds, in µs; without it, it is looked for once a minute.
    """

    Options: ClassVar[type[Shape]]
    summary: ClassVar[str]

    def __init__(self, options: Any, reach: Reach, credential: Credential | None = None) -> None: ...

    async def find(self, trial: Trial) -> Sequence[ProbeTarget]:
        """All targets there are now, FOUND_MAX at most. Raises Failure when that cannot be known."""
        ...

    async def close(self) -> None:
        """Releases what it holds beyond a look."""
