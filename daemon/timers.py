"""Due rows of the timers' table become events.

The one law: the due index is the truth, polled at least every `poll_s_max`; hints only wake the poll sooner. A timer
that stays due after it fired is left alone for a growing while, so that it neither spins nor holds up the others.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from daemon.clock import Clock
from daemon.executor import Executor
from daemon.health import Health
from daemon.ingest import BusyError, Ingest
from daemon.store.errors import StoreUnavailableError
from daemon.tasks import Wake
from rules.commands import Decision, Schedule
from rules.events import Event, TimerFired
from rules.instants import SECOND, Instant

POLL_S_MAX: Final = 1.0
BATCH: Final = 200
HELD_OFF_MAX: Final = 2_000  # timers remembered as failing
BACKOFF_S_MIN: Final = 1.0
BACKOFF_S_MAX: Final = 60.0

PAUSE_S_MIN: Final = 0.001
FOREVER: Final[Instant] = 1 << 62

_log = structlog.get_logger("daemon.timers")


class TimersStore(Protocol):
    """What the timers need of the store; called on the writer's thread."""

    def due_timers(self, now: Instant, limit: int) -> list[TimerFired]:
        """Gravest first, then soonest."""
        ...

    def next_due(self) -> Instant | None:
        """The earliest timer or delivery."""
        ...


class HeldOff:
    """Things that stay due although they were dealt with: each is left alone for a growing while."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[object, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._until)

    def dealt_with(self, thing: object) -> None:
        """Count an attempt; unless `forget` hears otherwise, the next one waits."""
        tries, _ = self._until.get(thing, (0, 0.0))
        pause = min(BACKOFF_S_MIN * 2 ** min(tries, 10), BACKOFF_S_MAX)
        self._until[thing] = (tries + 1, self._clock.monotonic() + pause)

    def keep_only(self, things: Sequence[object]) -> None:
        """Forget all that is no longer due."""
        if self._until:
            self._until = {thing: self._until[thing] for thing in things if thing in self._until}

    def forget(self, thing: object) -> None:
        """It was dealt with for good."""
        self._until.pop(thing, None)

    def wait_s(self, thing: object) -> float:
        """How long to leave it alone."""
        found = self._until.get(thing)
        return 0.0 if found is None else found[1] - self._clock.monotonic()


class Timers:
    """The loop that fires what is due."""

    def __init__(
        self,
        store: TimersStore,
        executor: Executor,
        ingest: Ingest,
        clock: Clock,
        health: Health,
        *,
        poll_s_max: float = POLL_S_MAX,
    ) -> None:
        self._store = store
        self._executor = executor
        self._ingest = ingest
        self._clock = clock
        self._health = health
        self._poll_s_max = poll_s_max
        self._wake = Wake(clock)
        self._look_at: Instant = FOREVER  # when it will look again; a hint of something sooner rings
        self._held = HeldOff(clock)
        self._trouble_s = 0.0
        ingest.listen(self._hint)

    async def run(self) -> None:
        """The loop."""
        while True:
            wait_s = await self._round()
            if wait_s > 0:
                await self._wake.wait(wait_s)

    def _hint(self, decisions: Sequence[tuple[Event, Decision]]) -> None:
        """Something was committed: if a timer is due before the next look, look then."""
        for _, decision in decisions:
            for command in decision.commands:
                if type(command) is Schedule and command.timer.due_at < self._look_at:
                    self._look_at = command.timer.due_at
                    self._wake.ring()

    def _look(self, now: Instant) -> tuple[list[TimerFired], Instant | None]:
        due = self._store.due_timers(now, BATCH + min(len(self._held), HELD_OFF_MAX))
        return due, self._store.next_due()

    async def _round(self) -> float:
        """Fire what is due. How long to wait then, in seconds."""
        now = self._clock.now()
        self._look_at = FOREVER
        try:
            due, soonest = await self._executor.run(self._look, now)
        except StoreUnavailableError as error:
            self._health.store_failed(error.reason)
            return self._later()
        oldest = min((timer.due_at for timer in due), default=None)
        if oldest is not None and len(due) >= BATCH and soonest is not None:
            oldest = min(oldest, soonest)
        self._health.timers_seen(oldest, now)
        self._held.keep_only(due)
        ready = [timer for timer in due if self._held.wait_s(timer) <= 0][:BATCH]
        if not ready:
            self._trouble_s = 0.0
            return self._pause(due, soonest, now)
        if await self._fire(ready):
            self._trouble_s = 0.0
            return 0.0
        return self._later()

    async def _fire(self, timers: Sequence[TimerFired]) -> bool:
        """Put them on the path and wait for their commits. False: there was no room, or no store."""
        futures = []
        try:
            for timer in timers:
                futures.append((timer, self._ingest.put(timer)))  # noqa: PERF401 - keeps those put before the refusal
        except BusyError as error:
            _log.info("timers wait", reason=error.reason)
        outcomes = await asyncio.gather(*(future for _, future in futures), return_exceptions=True)
        taken = len(futures) == len(timers)
        for (timer, _), outcome in zip(futures, outcomes, strict=True):
            if isinstance(outcome, BusyError):
                taken = False
                continue
            self._held.dealt_with(timer)
            if isinstance(outcome, BaseException):
                _log.error("timer failed", subject=timer.subject, kind=timer.kind, error=str(outcome)[:200])
        return taken

    def _pause(self, due: Sequence[TimerFired], soonest: Instant | None, now: Instant) -> float:
        waits = [self._poll_s_max, *(self._held.wait_s(timer) for timer in due)]
        if soonest is not None and soonest > now:
            waits.append((soonest - now) / SECOND)
        wait_s = max(PAUSE_S_MIN, min(waits))
        self._look_at = min(self._look_at, now + int(wait_s * SECOND))
        return wait_s

    def _later(self) -> float:
        self._trouble_s = min(max(0.25, 2 * self._trouble_s), self._poll_s_max)
        return self._trouble_s
