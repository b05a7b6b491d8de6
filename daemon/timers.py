"""Due rows of the timers' table become events.

The one law: the due index is the truth, polled at least every `poll_s_max`; hints only wake the poll sooner. While some
fire, the next are looked for, so that the writer never waits for this loop. A timer that stays due after it fired is
left alone for a growing while, so that it neither spins nor holds up the others.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

import structlog

from daemon.clock import Clock
from daemon.executor import Executor
from daemon.health import Health
from daemon.ingest import BusyError, Ingest
from daemon.store.errors import StoreUnavailableError
from daemon.tasks import Wake
from rules.commands import Answer, Decision, Schedule
from rules.events import Event, TimerFired
from rules.instants import SECOND, Instant

POLL_S_MAX: Final = 1.0
FLIGHT_MAX: Final = 1_200  # on the path at once: the batch that commits, the next, and what is looked for meanwhile
FLIGHT_LOW: Final = 600  # from here on the next are looked for
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

    def oldest_timer(self) -> Instant | None:
        """When the earliest is due."""
        ...

    def next_timer(self, now: Instant) -> Instant | None:
        """When the next comes due after `now`."""
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
        self._flight: set[TimerFired] = set()
        self._fired: set[TimerFired] = set()  # since the last look: one that it still finds is held off
        self._refused = False  # one on the path met no room, or no store
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

    def _look(self, now: Instant, limit: int) -> tuple[list[TimerFired], Instant | None, Instant | None]:
        """What is due, the earliest of it, and when more comes due."""
        due = self._store.due_timers(now, limit)
        oldest = min((timer.due_at for timer in due), default=None)
        if len(due) >= limit:
            oldest = self._store.oldest_timer()
        return due, oldest, self._store.next_timer(now)

    async def _round(self) -> float:
        """Fire what is due, as far as there is room. How long to wait then, in seconds."""
        if len(self._flight) > FLIGHT_LOW:
            return self._poll_s_max
        now = self._clock.now()
        self._look_at = FOREVER
        limit = FLIGHT_MAX + min(len(self._held), HELD_OFF_MAX)
        try:
            due, oldest, soonest = await self._executor.run(self._look, now, limit)
        except StoreUnavailableError as error:
            self._health.store_failed(error.reason)
            return self._later()
        self._health.timers_seen(oldest, now)
        stayed = self._hold_off(due)
        ready = [timer for timer in due if timer not in self._flight and self._held.wait_s(timer) <= 0]
        if self._refused or not self._fire(ready[: FLIGHT_MAX - len(self._flight)]):
            self._refused = False
            return self._later()
        if stayed and not ready and len(due) >= limit:
            return 0.0  # behind those that are held off now there may be others
        return self._pause(due, soonest, now)

    def _hold_off(self, due: Sequence[TimerFired]) -> bool:
        """Whether some are due although they fired."""
        self._held.keep_only(due)
        stayed = [timer for timer in due if timer in self._fired]
        for timer in stayed:
            self._held.dealt_with(timer)
        self._fired.clear()
        return bool(stayed)

    def _fire(self, timers: Sequence[TimerFired]) -> bool:
        """Put them on the path. False: there was no room for all."""
        for timer in timers:
            try:
                future = self._ingest.put(timer)
            except BusyError as error:
                _log.info("timers wait", reason=error.reason)
                return False
            self._flight.add(timer)
            future.add_done_callback(partial(self._ended, timer))
        return True

    def _ended(self, timer: TimerFired, future: asyncio.Future[Answer]) -> None:
        """Its commit is done, or refused."""
        self._flight.discard(timer)
        if len(self._flight) == FLIGHT_LOW or not self._flight:
            self._wake.ring()
        if future.cancelled():
            return
        error = future.exception()
        if isinstance(error, BusyError):
            self._refused = True
            return
        self._trouble_s = 0.0
        self._fired.add(timer)
        if error is not None:
            _log.error("timer failed", subject=timer.subject, kind=timer.kind, error=str(error)[:200])

    def _pause(self, due: Sequence[TimerFired], soonest: Instant | None, now: Instant) -> float:
        """Until the next is due, or one that is held off may fire again; whatever is on the path rings when it ends."""
        waits = [self._poll_s_max, *(left for timer in due if (left := self._held.wait_s(timer)) > 0)]
        if soonest is not None:
            waits.append((soonest - now) / SECOND)
        wait_s = max(PAUSE_S_MIN, min(waits))
        self._look_at = min(self._look_at, now + int(wait_s * SECOND))
        return wait_s

    def _later(self) -> float:
        self._trouble_s = min(max(0.25, 2 * self._trouble_s), self._poll_s_max)
        return self._trouble_s
