"""What `/-/ready` and `/-/healthy` say.

The one law: ready means that promises can be kept now (commits are taken, what is due is told in time), each reason
against it is named, and all is judged when asked, so that a part which died cannot leave a good word behind.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from daemon.clock import Clock
from daemon.executor import Executor
from daemon.metrics import Metrics
from daemon.notify import Notify
from daemon.store.errors import StoreUnavailableError
from daemon.tasks import Supervisor
from rules.instants import SECOND, Instant

PING_S: Final = 5.0  # after a commit this old, a ping asks whether the store takes another
PING_FAILED_S: Final = 1.0
PING_PAUSE_S_MIN: Final = 0.01  # a remainder of rounding must not make it spin
STORE_S_MAX: Final = 9.0
LATE_S_MAX: Final = 10.0  # I4: a first attempt within this of its time
BEHIND_S_MAX: Final = 5.0  # how long lateness may last before it counts: catching up after an outage is no failure
LAG_S_MAX: Final = 5.0
BEAT_S: Final = 1.0

_log = structlog.get_logger("daemon.health")


class Pinged(Protocol):
    """What a ping needs of the store."""

    def ping(self, now: Instant) -> None:
        """A tiny durable write."""
        ...


class Health:
    """Collects what the parts report, and judges it."""

    def __init__(
        self,
        clock: Clock,
        supervisor: Supervisor,
        metrics: Metrics,
        poll_s_max: float = 1.0,
        *,
        keeps_tickets: bool = True,
        also: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """`keeps_tickets`: whether timers and deliveries are to be looked at here. `also`: further reasons."""
        self._keeps_tickets = keeps_tickets
        self._also = also
        self.draining = False
        self.policy_loaded = False
        self._clock = clock
        self._supervisor = supervisor
        self._metrics = metrics
        self._poll_s_max = poll_s_max
        self._store_error: str | None = None
        self._store_ok_s: float | None = None
        self._polled_s: float | None = None
        self._outbox_s: float | None = None
        self._behind_s: float | None = None
        self._late_s = 0.0
        self._lag_s = 0.0
        self._beat_s: float | None = None
        self._was_ready: bool | None = None
        metrics.ready.set_function(lambda: float(self.ready))

    # ---- reported by the parts
    def store_ok(self) -> None:
        """A commit was taken."""
        if self._store_error is not None:
            _log.info("the store takes commits again")
        self._store_error = None
        self._store_ok_s = self._clock.monotonic()

    def store_failed(self, reason: str) -> None:
        """A commit was not taken, or it is not known."""
        if self._store_error is None:
            _log.error("the store takes no commit", reason=reason)
        self._store_error = reason

    def timers_seen(self, oldest: Instant | None, now: Instant) -> None:
        """The timers were looked at; `oldest` is when the oldest due one was due."""
        self._polled_s = self._clock.monotonic()
        self._late_s = 0.0 if oldest is None else max(0, now - oldest) / SECOND
        self._metrics.timers_overdue_seconds.set(self._late_s)
        if self._late_s <= LATE_S_MAX:
            self._behind_s = None
        elif self._behind_s is None:
            self._behind_s = self._polled_s

    def outbox_seen(self, oldest: Instant | None, now: Instant) -> None:
        """The outbox was looked at; `oldest` is when the oldest waiting delivery was due."""
        self._outbox_s = self._clock.monotonic()
        self._metrics.outbox_oldest_seconds.set(0.0 if oldest is None else max(0, now - oldest) / SECOND)

    # ---- judged when asked
    def problems(self) -> tuple[str, ...]:
        """Every reason why promises cannot be kept now; empty means ready."""
        now = self._clock.monotonic()
        found: list[str] = []
        if self.draining:
            found.append("shutting down")
        if not self.policy_loaded:
            found.append("no policy is loaded")
        if self._store_error is not None:
            found.append(f"the store takes no commit: {self._store_error}")
        elif self._store_ok_s is None:
            found.append("the store has not taken a commit yet")
        elif now - self._store_ok_s > STORE_S_MAX:
            found.append(f"the store has not taken a commit for {now - self._store_ok_s:.0f} s")
        looks = (("timers", self._polled_s), ("outbox", self._outbox_s)) if self._keeps_tickets else ()
        for what, seen_s in looks:
            if seen_s is None:
                found.append(f"no look at the {what} yet")
            elif now - seen_s > self._poll_s_max + STORE_S_MAX:
                found.append(f"no look at the {what} for {now - seen_s:.0f} s")
        if self._behind_s is not None and now - self._behind_s > BEHIND_S_MAX:
            found.append(f"timers are {self._late_s:.0f} s overdue")
        if self._lag_s > LAG_S_MAX:
            found.append(f"the event loop came {self._lag_s:.1f} s late")
        if self._beat_s is not None and now - self._beat_s > BEAT_S + LAG_S_MAX:
            found.append(f"the event loop has not come round for {now - self._beat_s:.0f} s")
        found += self._supervisor.problems()
        found += self._also()
        return tuple(found)

    @property
    def ready(self) -> bool:
        """Whether promises can be kept now."""
        return not self.problems()

    @property
    def healthy(self) -> bool:
        """Whether the process is worth keeping: it answers, so the loop runs."""
        return True

    # ---- loops
    async def beat(self, notify: Notify) -> None:
        """Measures the loop's lag, feeds the watchdog, tells changes of readiness."""
        while True:
            started = self._clock.monotonic()
            await self._clock.sleep(BEAT_S)
            self._beat_s = self._clock.monotonic()
            self._lag_s = max(0.0, self._beat_s - started - BEAT_S)
            self._metrics.loop_lag_seconds.set(self._lag_s)
            notify.watchdog()
            problems = self.problems()
            if self._was_ready is not (not problems):
                self._was_ready = not problems
                if problems:
                    _log.warning("not ready", problems=problems)
                else:
                    _log.info("ready")
                notify.status("; ".join(problems) or "ready")

    async def ping(self, executor: Executor, store: Pinged) -> None:
        """Asks the store for a small commit when none was taken for a while, so that trouble shows, and its end too."""
        while True:
            await self._clock.sleep(max(self._until_ping(), PING_PAUSE_S_MIN))
            if self._until_ping() > PING_PAUSE_S_MIN and self._store_error is None:
                continue
            try:
                await executor.run(store.ping, self._clock.now())
            except StoreUnavailableError as error:
                self.store_failed(error.reason)
            else:
                self.store_ok()

    def _until_ping(self) -> float:
        if self._store_error is not None:
            return PING_FAILED_S
        if self._store_ok_s is None:
            return 0.0
        return max(0.0, PING_S - (self._clock.monotonic() - self._store_ok_s))
