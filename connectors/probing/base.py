"""What a kind of probe, and a place where targets are found, must be.

The one law: a kind decides what is up and what is down; it never decides what becomes of that. Every connection comes
from `connectors.network`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

if TYPE_CHECKING:
    from connectors.network.reach import Reach
    from connectors.network.trial import Credential, Trial
    from rules.policy import ProbeTarget
    from rules.typed import Shape

FOUND_MAX: Final = 100_000  # targets of one discovery


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
