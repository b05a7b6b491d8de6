"""Timeline entries as log lines, each with its reason.

The one law: a flood of tickets is no flood of lines. Beyond `BURST` lines, refilled by `RATE` a second, entries are
only counted, and the count is a line once a second; the timelines hold them all.
"""

from collections.abc import Sequence
from typing import Final

import structlog

from daemon.clock import Clock
from rules.commands import Decision, Record
from rules.events import Event
from rules.tickets.timeline import What

BURST: Final = 200
RATE: Final = 20.0
SUMMARY_S: Final = 1.0
_LOUD: Final = frozenset({What.FAILED, What.UNKNOWN, What.EXHAUSTED, What.NOBODY, What.REFUSED, What.SKIPPED})

_log = structlog.get_logger("daemon.timeline")


class EntryLog:
    """A listener of `Ingest`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._filled_s = clock.monotonic()
        self._untold = 0
        self._summed_s = float("-inf")

    def __call__(self, decisions: Sequence[tuple[Event, Decision]]) -> None:
        """What was committed."""
        entries = [
            command.entry for _, decision in decisions for command in decision.commands if type(command) is Record
        ]
        if not entries:
            return
        now = self._clock.monotonic()
        self._left = min(BURST, self._left + (now - self._filled_s) * RATE)
        self._filled_s = now
        told = min(len(entries), int(self._left))
        self._left -= told
        self._untold += len(entries) - told
        log = _log.bind()
        for entry in entries[:told]:
            tell = log.warning if entry.what in _LOUD else log.info
            tell(entry.what, ticket=f"T-{entry.ticket}", who=entry.who, why=entry.why)
        if self._untold and now - self._summed_s >= SUMMARY_S:
            log.info("more timeline entries than lines", count=self._untold)
            self._untold, self._summed_s = 0, now
