"""What the web needs of the daemon, and nothing more.

The one law: the web reaches the store, the policy and the clock through this alone, so a test can be the daemon.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from connectors.base import Notifier
from connectors.kinds import Kinds
from daemon.auth import Auth
from daemon.clock import Clock
from daemon.config import Settings
from daemon.hearing import Hearing
from daemon.links import Links
from daemon.metrics import Metrics
from daemon.store.journal import Body
from rules.commands import Answer
from rules.events import Event
from rules.instants import Instant
from rules.policy import Policy

T = TypeVar("T")


class Path(Protocol):
    """The one path of events: `daemon.ingest.Ingest`."""

    def submit(self, event: Event, body: Body | None = None) -> Awaitable[Answer]:
        """The answer, after the commit. Raises BusyError or QuarantinedError."""
        ...


class PolicyInForce(Protocol):
    """`daemon.policies.Policies`, for reading."""

    @property
    def current(self) -> Policy:
        """The policy in force."""
        ...

    @property
    def loaded_at(self) -> Instant:
        """When it was loaded."""
        ...


class Judged(Protocol):
    """`daemon.health.Health`, for reading."""

    def problems(self) -> Sequence[str]:
        """Why promises cannot be kept now; empty means ready."""
        ...


class Process(Protocol):
    """A running ticketd, whatever it does."""

    @property
    def policies(self) -> PolicyInForce: ...  # noqa: D102 - the types say it
    @property
    def settings(self) -> Settings: ...  # noqa: D102
    @property
    def metrics(self) -> Metrics: ...  # noqa: D102
    @property
    def health(self) -> Judged: ...  # noqa: D102
    @property
    def auth(self) -> Auth: ...  # noqa: D102
    @property
    def clock(self) -> Clock: ...  # noqa: D102

    async def reload(self) -> Sequence[object]:
        """Load the policy's files again; what is wrong with them (then nothing changed), or nothing."""
        ...


class Daemon(Process, Protocol):
    """The composition root of the daemon that keeps the tickets, as the web sees it."""

    @property
    def ingest(self) -> Path: ...  # noqa: D102
    @property
    def links(self) -> Links: ...  # noqa: D102
    @property
    def kinds(self) -> Kinds: ...  # noqa: D102
    @property
    def notifiers(self) -> Mapping[str, Notifier]: ...  # noqa: D102
    @property
    def hearing(self) -> Hearing: ...  # noqa: D102

    async def read(self, read: Callable[[Any], T]) -> T:
        """`read(reader)` on a reader's thread. Raises BusyError when too many wait."""
        ...
