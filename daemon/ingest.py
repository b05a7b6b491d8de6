"""The one door to the store: bounded queues, group commit, and the answer only after the commit.

The one law: a future is answered after the transaction that holds its event has committed, or with an exception. One
batch is in flight while the next gathers. People's answers and deliveries stand in a queue of their own and timers in
another, so that a flood of signals neither delays nor refuses them, and many timers delay no answer and no message.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from daemon import own
from daemon.batch import Outcome, QuarantinedError, Writer
from daemon.clock import Clock
from daemon.executor import Executor
from daemon.health import Health
from daemon.metrics import Metrics
from daemon.store.errors import StoreUnavailableError
from daemon.store.journal import Body
from rules.commands import Answer, Decision
from rules.events import AlertsReceived, Delivered, Event, SamplesReceived, TimerFired

BATCH_EVENTS_MAX: Final = 200
BATCH_URGENT_MAX: Final = 150  # of these while alerts wait, so that neither queue starves the other
BATCH_TIMERS_MIN: Final = 50  # of these kept for timers that wait
BATCH_TIMERS_MAX: Final = 300  # where no alert waits: they share one wait for the disk
BATCH_ALERTS_MAX: Final = 2_000
URGENT_MAX: Final = 5_000  # events of each queue but that of signals
BYTES_MAX: Final = 64 << 20  # of bodies waiting
DEADLINE_S: Final = 8.0
SWEEP_S: Final = 0.25
RETRY_FULL_S: Final = 2
SIGNALS: Final = (AlertsReceived, SamplesReceived)  # what floods; a sample counts as an alert does
RETRY_STORE_S: Final = 5
RETRY_DRAINING_S: Final = 10

_log = structlog.get_logger("daemon.ingest")


class BusyError(Exception):
    """Not taken, or not known to be: come again after `retry_after_s`. For senders this is a 503."""

    def __init__(self, reason: str, retry_after_s: int) -> None:
        """`reason` is one sentence for people."""
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


@dataclass(slots=True, eq=False)
class _Item:
    event: Event
    body: Body | None
    future: asyncio.Future[Answer]
    received_s: float
    alerts: int
    size: int


Listener = Callable[[Sequence[tuple[Event, Decision]]], None]


class Ingest:
    """Queues events, hands them to the writer in batches, answers. `inbox_max` counts alerts and samples."""

    def __init__(
        self,
        writer: Writer,
        executor: Executor,
        clock: Clock,
        metrics: Metrics,
        health: Health,
        *,
        inbox_max: int = 10_000,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.draining = False
        self._writer = writer
        self._executor = executor
        self._clock = clock
        self._metrics = metrics
        self._health = health
        self._inbox_max = inbox_max
        self._deadline_s = deadline_s
        self._urgent: deque[_Item] = deque()
        self._timers: deque[_Item] = deque()
        self._alerts: deque[_Item] = deque()
        self._flight: list[_Item] = []
        self._depth = 0  # alerts queued or in flight
        self._bytes = 0
        self._bell = asyncio.Event()  # something is queued
        self._pending = asyncio.Event()  # something may grow too old
        self._settled = asyncio.Event()  # nothing is queued or in flight
        self._settled.set()
        self._listeners: list[Listener] = []
        metrics.inbox_depth.set_function(lambda: float(self._depth))

    def listen(self, listener: Listener) -> None:
        """`listener` gets what was decided, after each commit, on the event loop. It must be quick."""
        self._listeners.append(listener)

    async def submit(self, event: Event, body: Body | None = None) -> Answer:
        """Put an event on the path and wait for its commit.

        Raises BusyError (nothing is known to be committed; the same event may be submitted again) or
        QuarantinedError (it cannot be decided, and was set aside).
        """
        return await self.put(event, body)

    def put(self, event: Event, body: Body | None = None) -> asyncio.Future[Answer]:
        """As `submit`, without waiting: the future holds the answer. Raises BusyError at once when there is no room."""
        if self.draining and type(event) is not Delivered:
            raise BusyError("shutting down", RETRY_DRAINING_S)
        size = 0 if body is None else len(body.data)
        if isinstance(event, SIGNALS):
            alerts = len(event.alerts) if isinstance(event, AlertsReceived) else len(event.samples)
            # A body larger than the inbox must find room some time: it counts as half of it.
            if self._depth + min(alerts, self._inbox_max // 2) > self._inbox_max or self._bytes > BYTES_MAX:
                raise BusyError("inbox full", RETRY_FULL_S)
            queue = self._alerts
        else:
            alerts = 0
            queue = self._timers if type(event) is TimerFired else self._urgent
            if len(queue) >= URGENT_MAX:
                raise BusyError("inbox full", RETRY_FULL_S)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        queue.append(_Item(event, body, future, self._clock.monotonic(), alerts, size))
        self._depth += alerts
        self._bytes += size
        self._settled.clear()
        self._bell.set()
        self._pending.set()
        return future

    async def settled(self) -> None:
        """Until nothing is queued or in flight."""
        await self._settled.wait()

    async def run(self) -> None:
        """The loop: take what is queued, have it committed, answer."""
        while True:
            await self._bell.wait()
            self._flight = self._take()
            if self._flight:
                await self._carry(self._flight)
            self._flight = []
            if not self._urgent and not self._timers and not self._alerts:
                self._bell.clear()
                self._settled.set()

    async def sweep(self) -> None:
        """The loop that lets nobody wait longer than the deadline.

        What is in flight may still commit: harmless, as every event may come twice.
        """
        while True:
            await self._pending.wait()
            self._pending.clear()
            while not self._settled.is_set():
                self._expire()
                await self._clock.sleep(SWEEP_S)

    def _expire(self) -> None:
        oldest = self._clock.monotonic() - self._deadline_s
        for item in self._flight:
            if item.received_s < oldest and not item.future.done():
                item.future.set_exception(BusyError("the store takes too long", RETRY_STORE_S))
        for queue in (self._urgent, self._timers, self._alerts):
            while queue and queue[0].received_s < oldest:
                item = queue.popleft()
                self._leave(item)
                if not item.future.done():
                    item.future.set_exception(BusyError("the store takes too long", RETRY_STORE_S))

    def _take(self) -> list[_Item]:
        """The next batch: urgent ones first, then timers, then alerts, in the order of their coming, within the bounds.

        While others wait too, neither of the first two fills it.
        """
        batch: list[_Item] = []
        share = BATCH_URGENT_MAX if self._alerts else BATCH_EVENTS_MAX
        for queue, most in (
            (self._urgent, share - BATCH_TIMERS_MIN if self._timers else share),
            (self._timers, share if self._alerts else BATCH_TIMERS_MAX),
        ):
            while queue and len(batch) < most:
                self._board(queue.popleft(), batch)
        alerts = 0
        while self._alerts and len(batch) < BATCH_EVENTS_MAX:
            alerts += self._alerts[0].alerts
            if batch and alerts > BATCH_ALERTS_MAX:
                break
            self._board(self._alerts.popleft(), batch)
        return batch

    def _board(self, item: _Item, batch: list[_Item]) -> None:
        if item.future.done():  # whoever asked has gone
            self._leave(item)
        else:
            batch.append(item)

    def _leave(self, item: _Item) -> None:
        self._depth -= item.alerts
        self._bytes -= item.size

    async def _carry(self, batch: list[_Item]) -> None:
        outcome = None
        try:
            outcome = await self._executor.run(self._writer.work, [(item.event, item.body) for item in batch])
        finally:
            for item in batch:
                self._leave(item)
            if outcome is None:  # the loop is being stopped, or has a fault: leave nobody waiting
                for item in batch:
                    if not item.future.done():
                        item.future.set_exception(BusyError("the batch was broken off", RETRY_STORE_S))
        self._answer(batch, outcome)

    def _answer(self, batch: list[_Item], outcome: Outcome) -> None:
        if outcome.unavailable is not None:
            self._health.store_failed(outcome.unavailable)
        elif outcome.commits_s:
            self._health.store_ok()
        now = self._clock.monotonic()
        for item, answer in zip(batch, outcome.answers, strict=True):
            if item.future.done():
                continue
            if not isinstance(answer, Exception):
                item.future.set_result(answer)
            elif isinstance(answer, StoreUnavailableError):
                item.future.set_exception(BusyError(f"the store takes no commit: {answer.reason}", RETRY_STORE_S))
            else:
                item.future.set_exception(answer)
        self._metrics.batch(
            [now - item.received_s for item in batch if item.alerts or isinstance(item.event, SIGNALS)],
            len(batch),
            outcome.commits_s,
            sum(isinstance(answer, QuarantinedError) for answer in outcome.answers),
        )
        self._tell_set_aside(batch, outcome)
        if outcome.decisions:
            self._metrics.observe(outcome.decisions)
            for listener in self._listeners:
                listener(outcome.decisions)

    def _tell_set_aside(self, batch: list[_Item], outcome: Outcome) -> None:
        """What was set aside is an alert of ticketd's own, so that somebody looks (unless it was one itself)."""
        kinds = {
            type(item.event).__name__
            for item, answer in zip(batch, outcome.answers, strict=True)
            if isinstance(answer, QuarantinedError)
            and not (isinstance(item.event, AlertsReceived) and item.event.source == own.SOURCE)
        }
        for kind in sorted(kinds):
            try:
                told = self.put(own.event_set_aside(kind, self._clock.now()))
            except BusyError as error:
                _log.error("what was set aside could not be put on record", event=kind, reason=error.reason)
            else:
                told.add_done_callback(_look)


def _look(told: asyncio.Future[Answer]) -> None:
    if not told.cancelled() and (error := told.exception()) is not None:
        _log.error("what was set aside could not be put on record", reason=str(error)[:200])
