"""Notices that the machine's clock was set back, and has what waits for a time looked at again.

The one law: it decides nothing. What was to happen "in five minutes" by a clock that was hours ahead would happen hours
late; which of it that is, and when it is due now, is judged on the one path, as after a reload.
"""

from collections.abc import Callable
from typing import Final

import structlog

from daemon.clock import Clock
from rules.instants import SECOND, Span, format_span

LOOK_S: Final = 5.0
BACK_MIN: Final[Span] = 30 * SECOND  # less is what keeping a clock right takes

_log = structlog.get_logger("daemon.clock")


class ClockWatch:
    """Compares the wall clock with one that nobody can set."""

    def __init__(self, clock: Clock, turned_back: Callable[[], None]) -> None:
        """`turned_back` is called each time that the clock was set back."""
        self._clock = clock
        self._turned_back = turned_back
        self._ahead = self._now()

    def _now(self) -> Span:
        return self._clock.now() - int(self._clock.monotonic() * SECOND)

    async def run(self) -> None:
        """The loop."""
        while True:
            await self._clock.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Compare them now."""
        ahead, before = self._now(), self._ahead
        self._ahead = ahead
        if before - ahead >= BACK_MIN:
            _log.warning("the machine's clock was set back", by=format_span((before - ahead) // SECOND * SECOND))
            self._turned_back()
