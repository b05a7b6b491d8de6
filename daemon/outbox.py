"""Delivers what was committed: marks it, sends it, commits what came of it.

The one law: nothing is sent but what a commit has just marked as `sending`, and what the channel answered is put on the
path until it commits. A channel, or one address of it, that hangs holds up only itself.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final, Protocol

import structlog

from daemon.batch import QuarantinedError
from daemon.clock import Clock
from daemon.executor import Executor
from daemon.health import Health
from daemon.ingest import BusyError, Ingest
from daemon.sending import Telling
from daemon.store.errors import StoreUnavailableError
from daemon.tasks import Supervisor, Wake, within
from daemon.timers import FOREVER, PAUSE_S_MIN, POLL_S_MAX, HeldOff
from rules.commands import Attempt, Decision, Deliver, PutDelivery
from rules.events import Delivered, DeliveryDue, Event
from rules.instants import SECOND, Instant
from rules.model import Delivery, Sending
from rules.state import Concerns, State

LOOK: Final = 64  # rows at one look
LOOKS_MAX: Final = 8  # looks in a round, past channels that are busy
SLOTS_KIND: Final = 16  # attempts at once, of a kind with one peer
SLOTS_KIND_MANY: Final = 64  # of a kind with many
SLOTS_ADDRESS: Final = 8  # of these, for one address
RETRY_S_MIN: Final = 0.25
RETRY_S_MAX: Final = 5.0

_log = structlog.get_logger("daemon.outbox")


class OutboxStore(Protocol):
    """What the outbox needs of the store; called on the writer's thread."""

    def due_deliveries(self, now: Instant, limit: int, busy: Collection[tuple[str, str | None]] = ()) -> list[str]:
        """Keys of rows due, and of rows whose deadline while sending has passed; gravest first.

        Without those of the `busy` (kind, address); address None is the whole kind.
        """
        ...

    def load(self, concerns: Concerns) -> State:
        """The deliveries by their keys."""
        ...

    def oldest_delivery(self) -> Instant | None:
        """When the oldest waiting one was due."""
        ...

    def next_due(self) -> Instant | None:
        """The earliest timer or delivery."""
        ...

    def expire_sendings(self) -> int:
        """What a process that is gone was sending has an unknown outcome now."""
        ...


class Outbox:
    """The loop that takes due rows, and the attempts in flight."""

    def __init__(
        self,
        store: OutboxStore,
        executor: Executor,
        ingest: Ingest,
        clock: Clock,
        health: Health,
        supervisor: Supervisor,
        telling: Telling,
        *,
        poll_s_max: float = POLL_S_MAX,
    ) -> None:
        self.draining = False
        self._store = store
        self._executor = executor
        self._ingest = ingest
        self._clock = clock
        self._health = health
        self._supervisor = supervisor
        self._telling = telling
        self._poll_s_max = poll_s_max
        self._wake = Wake(clock)
        self._look_at: Instant = FOREVER  # when it will look again; a hint of something sooner rings
        self._starved = False  # something due found no free slot
        self._held = HeldOff(clock)
        self._flight: dict[str, tuple[Delivery, asyncio.Task[None]]] = {}
        self._trouble_s = 0.0
        self._not_before_s = float("-inf")
        ingest.listen(self._hint)

    async def recover(self) -> None:
        """At start: the attempts of the process before are over, and their outcome is unknown."""
        count = await self._executor.run(self._store.expire_sendings)
        if count:
            _log.warning("deliveries were in flight when ticketd last stopped", count=count)

    async def run(self) -> None:
        """The loop."""
        while True:
            wait_s = await self._round()
            if wait_s > 0:
                await self._wake.wait(wait_s)

    async def drain(self, seconds: float) -> None:
        """Start nothing more, and let what is in flight end; what has not ended by then has an unknown outcome."""
        self.draining = True
        tasks = [task for _, task in self._flight.values()]
        if not tasks:
            return
        try:
            await within(self._clock, seconds, asyncio.gather(*map(asyncio.shield, tasks), return_exceptions=True))
        except TimeoutError:
            self._telling.cut_short = True
            left = [task for task in tasks if not task.done()]
            _log.warning("deliveries are cut short", count=len(left))
            for task in left:
                task.cancel()
            await within(self._clock, RETRY_S_MAX, asyncio.gather(*left, return_exceptions=True))

    # ---- taking
    def _hint(self, decisions: Sequence[tuple[Event, Decision]]) -> None:
        """Something was committed: if a delivery is due before the next look, look then."""
        for _, decision in decisions:
            for command in decision.commands:
                if type(command) in {Deliver, PutDelivery}:
                    delivery: Delivery = command.delivery  # type: ignore[union-attr]  # the line above narrows
                    if delivery.state is Sending.DUE and delivery.due_at < self._look_at:
                        self._look_at = delivery.due_at
                        self._wake.ring()

    def _look(
        self, now: Instant, busy: Collection[tuple[str, str | None]]
    ) -> tuple[list[Delivery], bool, Instant | None, Instant | None]:
        """What is due, whether there is more of it, and two times."""
        limit = LOOK + len(self._flight) + len(self._held)
        keys = self._store.due_deliveries(now, limit, busy)
        loaded = self._store.load(Concerns(deliveries=set(keys))).deliveries if keys else {}
        due = [loaded[key] for key in keys if key in loaded]
        return due, len(keys) >= limit, self._store.oldest_delivery(), self._store.next_due()

    async def _round(self) -> float:
        """Start what is due and has a free slot. How long to wait then, in seconds."""
        if self.draining:
            return self._poll_s_max
        if (wait_s := self._not_before_s - self._clock.monotonic()) > 0:
            return wait_s
        now = self._clock.now()
        self._look_at = FOREVER
        soonest: Instant | None = None
        waits = [self._poll_s_max]
        self._starved = bool(self._busy())
        for _ in range(LOOKS_MAX):
            busy = self._busy()
            try:
                due, cut, oldest, soonest = await self._executor.run(self._look, now, busy)
            except StoreUnavailableError as error:
                self._health.store_failed(error.reason)
                self._hold_back()
                return self._trouble_s
            waiting = [delivery.due_at for delivery, _ in self._flight.values()]
            if oldest is not None:
                waiting.append(oldest)
            self._health.outbox_seen(min(waiting, default=None), now)
            started = self._start(due, waits)
            self._starved = self._starved or cut
            if not started or not cut or self._busy() == busy:
                break  # nothing more to be found by another look
        if soonest is not None and soonest > now:
            waits.append((soonest - now) / SECOND)
        wait_s = max(PAUSE_S_MIN, min(waits))
        self._look_at = min(self._look_at, now + int(wait_s * SECOND))
        return wait_s

    def _start(self, due: Sequence[Delivery], waits: list[float]) -> int:
        """Start attempts for as many as there are slots."""
        self._held.keep_only([delivery.key for delivery in due])
        kinds, addresses = self._used()
        started = 0
        for delivery in due:
            if delivery.key in self._flight:
                continue
            wait_s = self._held.wait_s(delivery.key)
            if wait_s > 0:
                waits.append(wait_s)
                continue
            channel = (delivery.kind, delivery.address)
            many = self._telling.many(delivery.kind)
            full = kinds[delivery.kind] >= (SLOTS_KIND_MANY if many else SLOTS_KIND)
            if full or (many and addresses[channel] >= SLOTS_ADDRESS):
                self._starved = True
                continue
            kinds[delivery.kind] += 1
            addresses[channel] += 1
            started += 1
            self._held.dealt_with(delivery.key)
            task = self._supervisor.job(f"delivery to {delivery.kind}", self._deliver(delivery))
            self._flight[delivery.key] = (delivery, task)
        return started

    def _used(self) -> tuple[Counter[str], Counter[tuple[str, str]]]:
        flying = [delivery for delivery, _ in self._flight.values()]
        return Counter(one.kind for one in flying), Counter((one.kind, one.address) for one in flying)

    def _busy(self) -> list[tuple[str, str | None]]:
        """The channels without a free slot."""
        kinds, addresses = self._used()
        busy: list[tuple[str, str | None]] = [
            (kind, None)
            for kind, count in kinds.items()
            if count >= (SLOTS_KIND_MANY if self._telling.many(kind) else SLOTS_KIND)
        ]
        busy += [
            channel for channel, count in addresses.items() if count >= SLOTS_ADDRESS and self._telling.many(channel[0])
        ]
        return busy

    # ---- one delivery
    async def _deliver(self, due: Delivery) -> None:
        try:
            attempt = await self._ingest.submit(DeliveryDue(due.key))
            if not isinstance(attempt, Attempt) or attempt.delivery is None:
                return
            outcome = await self._telling.attempt(attempt.delivery, attempt.ticket, attempt.others)
            await self._commit(outcome)
            self._held.forget(due.key)
            self._trouble_s = 0.0
        except BusyError as error:  # it is still due
            _log.info("delivery waits", delivery=due.key, reason=error.reason)
            self._held.forget(due.key)
            self._hold_back()
        except QuarantinedError as error:
            _log.error("delivery failed", delivery=due.key, error=error.reason)
        finally:
            self._flight.pop(due.key, None)
            if self._starved:
                self._wake.ring()

    async def _commit(self, outcome: Delivered) -> None:
        """Put the outcome on the path until it commits. Should the process end before, the row's deadline tells."""
        pause = RETRY_S_MIN
        while True:
            try:
                await self._ingest.submit(outcome)
            except BusyError as error:
                _log.warning("an outcome waits for the store", delivery=outcome.key, reason=error.reason)
                await self._clock.sleep(pause)
                pause = min(2 * pause, RETRY_S_MAX)
            else:
                return

    def _hold_back(self) -> None:
        """The store takes nothing now: start nothing for a little while."""
        self._trouble_s = min(max(RETRY_S_MIN, 2 * self._trouble_s), self._poll_s_max)
        self._not_before_s = self._clock.monotonic() + self._trouble_s
