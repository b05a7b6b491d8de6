"""Lets old bodies of the journal go, a little at a time.

The one law: retention never holds up a commit: one bounded chunk, then everybody else's turn.
"""

from typing import Final, Protocol

import structlog

from daemon.clock import Clock
from daemon.executor import Executor
from daemon.health import Health
from daemon.store.errors import StoreUnavailableError
from rules.instants import Instant, Span

EVERY_S: Final = 600.0
FIRST_S: Final = 30.0
BETWEEN_S: Final = 0.1

_log = structlog.get_logger("daemon.retention")


class Prunable(Protocol):
    """What retention needs of the store; called on the writer's thread."""

    def prune(self, now: Instant, keep: Span, max_bytes: int) -> bool:
        """One chunk. True: there is more to do."""
        ...


class Retention:
    """The loop that prunes."""

    def __init__(
        self, store: Prunable, executor: Executor, clock: Clock, health: Health, *, keep: Span, max_bytes: int
    ) -> None:
        self._store = store
        self._executor = executor
        self._clock = clock
        self._health = health
        self._keep = keep
        self._max_bytes = max_bytes

    async def run(self) -> None:
        """The loop."""
        await self._clock.sleep(FIRST_S)
        while True:
            try:
                more = await self._executor.run(self._store.prune, self._clock.now(), self._keep, self._max_bytes)
            except StoreUnavailableError as error:
                self._health.store_failed(error.reason)
                more = False
            await self._clock.sleep(BETWEEN_S if more else EVERY_S)
