"""What a connector is: the protocols, their errors, and how kinds are found.

The one law: a kind is one file in `sources/` or `notifiers/`, named after the kind, holding one class `Connector`
whose `Options` (a pydantic model) are its settings, their defaults, their documentation and their validation. Nothing
else lists the kinds: `load` finds them. A file whose name begins with an underscore is no kind.

Options forbid unknown keys and never show their input in an error. A secret is a field of type `SecretStr`; for a
field `NAME` of that type the configuration also takes `NAME_file`, reads that file and hands over its text, so that
a connector never opens one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from rules.events import AlertsReceived
from rules.model import Noun

if TYPE_CHECKING:
    from pydantic import BaseModel

    from rules.instants import Instant, Span
    from rules.model import Message


class ConnectorError(Exception):
    """The outside said no, or not now. `permanent`: trying again is pointless. `after`: the other side's wish, µs."""

    def __init__(self, reason: str, *, permanent: bool, after: Span | None = None) -> None:
        """`reason` is one sentence for people, without secrets."""
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.after = after


class OutcomeUnknownError(Exception):
    """The message may have been taken: the answer was lost after it was handed over."""

    def __init__(self, reason: str) -> None:
        """`reason` is one sentence for people, without secrets."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a body, or one alert of it, is refused: the field's path (`alerts[3].labels.foo`) and a reason."""

    path: str
    reason: str


class RefusedBodyError(Exception):
    """Nothing of the body can be taken: the sender gets 400 with these problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """At least one problem."""
        super().__init__("; ".join(f"{one.path}: {one.reason}" if one.path else one.reason for one in problems[:5]))
        self.problems = tuple(problems)


class Parsed(Noun, frozen=True):
    """What a source made of a body: one event, and the alerts that it refused by name."""

    event: AlertsReceived
    refused: tuple[Problem, ...] = ()


class Source(Protocol):
    """Turns a vendor's bytes into one event. No other file knows the vendor's format. Pure: no I/O."""

    Options: ClassVar[type[BaseModel]]
    path: ClassVar[str]  # where it is served, such as "/webhooks/alertmanager"
    example: ClassVar[bytes]  # a body that it takes; the contract test feeds and mutates it

    def __init__(self, options: Any) -> None: ...

    def parse(self, body: bytes, *, sender: str, received_at: Instant) -> Parsed:
        """Raises RefusedBodyError when nothing can be taken."""
        ...


class Notifier(Protocol):
    """Sends one message to one address, once; short retries only where nothing can have been taken yet.

    One instance serves the whole daemon, many messages at a time. `multiple` False: the table `[section]` holds one set
    of Options, the constructor takes it, and an address is the kind's own (`amina@example.test`). `multiple` True: each
    table `[section.NAME]` holds a set, the constructor takes a mapping of NAME to Options, and an address is a NAME.
    """

    Options: ClassVar[type[BaseModel]]  # one set of settings in config.toml
    multiple: ClassVar[bool]
    section: ClassVar[str]  # the table of config.toml: "smtp", "webhooks"

    def __init__(self, options: Any) -> None: ...

    @staticmethod
    def address_problem(address: str) -> str | None:
        """Why this cannot be an address of this kind, or None."""
        ...

    async def send(self, message: Message) -> str:
        """Hands the message over and returns the provider's reference ("" if it has none).

        Raises ConnectorError (not taken; permanent or not) or OutcomeUnknownError (perhaps taken), within the option
        `timeout_s`, 50 at most: the outbox counts an attempt as lost a minute after it began. Cancelled, it leaves no
        connection behind, and whether the message was taken is unknown.
        """
        ...

    async def close(self) -> None:
        """Releases what it holds."""
        ...


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds found, by family and name."""

    sources: Mapping[str, type[Source]] = field(default_factory=dict)
    notifiers: Mapping[str, type[Notifier]] = field(default_factory=dict)


def _family(name: str) -> dict[str, Any]:
    package = importlib.import_module(f"connectors.{name}")
    return {
        found.name: importlib.import_module(f"connectors.{name}.{found.name}").Connector
        for found in sorted(pkgutil.iter_modules(package.__path__), key=lambda one: one.name)
        if not found.name.startswith("_")
    }


@cache
def load() -> Kinds:
    """Every kind there is, found by file name."""
    return Kinds(sources=_family("sources"), notifiers=_family("notifiers"))
