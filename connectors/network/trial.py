"""What one look at one target gathers: phases, checks, fields, and in which word and sentence it failed.

The one law: a look that does not hold says so in a word of `OUTCOMES`, which is counted, and in a sentence for people
without secrets; a look that holds says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from rules.model import Noun

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from rules.instants import Instant
    from rules.model import Labels

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

    def hidden(self, text: str) -> str:
        """What the other side said, without the secrets that it may have repeated. To be asked before it is cut."""
        for secret in filter(None, (self.password, self.token)):
            text = text.replace(secret, "…")
        return text


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
