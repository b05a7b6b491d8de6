"""The daemon's own journal as a history: the bodies that were accepted, read again by the sources that took them.

The one law: a body is read exactly as it was when it came, by the same parser at the same `received_at`, so what was
refused by name then is left out now; a body that can no longer be read is told to `trouble`, and the others go on.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from connectors.base import RefusedBodyError
from connectors.kinds import Kinds, reread
from rules.events import AlertsReceived, SamplesReceived
from rules.instants import Instant, format_instant

Past = AlertsReceived | SamplesReceived


class Body(Protocol):
    """What the journal keeps of a body."""

    @property
    def source(self) -> str:
        """Whose body it is, as the journal names it."""
        ...

    @property
    def sender(self) -> str:
        """Who posted it."""
        ...

    @property
    def received_at(self) -> Instant:
        """When it came."""
        ...

    @property
    def data(self) -> bytes:
        """The bytes as they came."""
        ...


@dataclass(slots=True)
class Connector:
    """The history `journal` over a stream of bodies, oldest commit first."""

    bodies: Iterable[Body]
    kinds: Kinds
    trouble: Callable[[str], None]  # is told a sentence for each body that cannot be read

    def events(self) -> Iterator[Past]:
        """The events, one body at a time. Bodies of one commit may have come in another order: time does not go back.

        Whatever the bodies' iterable raises passes through.
        """
        now: Instant | None = None
        for body in self.bodies:
            try:
                event = reread(self.kinds, body.source, body.sender, body.received_at, body.data).event
            except RefusedBodyError as error:
                at = format_instant(body.received_at)
                self.trouble(f"the body received at {at} from {body.source} {body.sender}: {error}")
                continue
            if now is not None and event.received_at < now:
                event = replace(event, received_at=now)
            now = event.received_at
            yield event
