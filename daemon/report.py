"""What the daemon itself has to say on the one path: told again while the path is full, until it is committed.

The one law: of one matter only the newest is told; what was overtaken while the store was away is never heard of, so a
hundred reloads cost one event and the last one counts.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from daemon.clock import Clock
from daemon.ingest import BusyError
from daemon.tasks import Supervisor
from rules.commands import Answer
from rules.events import Event

AGAIN_S: Final = 5.0

Submit = Callable[[Event], Awaitable[Answer]]


class Report:
    """One matter."""

    def __init__(self, name: str, submit: Submit, supervisor: Supervisor, clock: Clock) -> None:
        """`name`: of the job that tells it."""
        self._name = name
        self._submit = submit
        self._supervisor = supervisor
        self._clock = clock
        self._untold: Event | None = None
        self._telling = False

    def tell(self, event: Event) -> None:
        """See to it that this is committed, unless something newer comes first."""
        self._untold = event
        if not self._telling:
            self._telling = True
            self._supervisor.start(self._name, self._tell())

    async def _tell(self) -> None:
        try:
            while (event := self._untold) is not None:
                try:
                    await self._submit(event)
                except BusyError:
                    await self._clock.sleep(AGAIN_S)
                else:
                    self._told(event)
        finally:
            self._telling = False

    def _told(self, event: Event) -> None:
        if self._untold is event:
            self._untold = None
